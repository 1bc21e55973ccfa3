"""Where a page finds the files that it names.

Conventions: a path out of predictions is data: it is looked for below the roots of its manifest and
those given, and becomes a link only if it is a file there that browsers play.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from earwitness.evaluation.schema import Metrics, Mistake

PLAYED = frozenset(
    {".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".webm"}
)
"""Suffixes of what browsers play."""


def make_finder(
    metrics: Metrics, page: Path, roots: Sequence[str | Path]
) -> Callable[[Mistake], str | None]:
    """Return what tells where a page finds a file, ``None`` where it cannot.

    Args:
        metrics: Whose manifests tell roots.
        page: Where the page will lie.
        roots: Further folders that relative paths may start from.
    """
    by_set = {one.name: [*one.roots, *roots] for one in metrics.manifests}
    folder = page.absolute().parent

    def find(mistake: Mistake) -> str | None:
        if Path(mistake.filepath).suffix.lower() not in PLAYED:
            return None
        there = _located(mistake.filepath, by_set.get(mistake.dataset, roots))
        return None if there is None else _link(there, folder)

    return find


def _located(filepath: str, roots: Iterable[str | Path]) -> Path | None:
    path = Path(filepath)
    candidates = [path] if path.is_absolute() else [Path(root) / path for root in roots]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate.absolute()
        except (OSError, ValueError):  # a name that no disk takes
            continue
    return None


def _link(there: Path, folder: Path) -> str:
    """Return a relative link where page and file lie in one tree, so that both can move."""
    there = Path(os.path.normpath(there))
    shared = [a for a, b in zip(there.parts, folder.parts, strict=False) if a == b]
    if len(shared) > 2:
        return "./" + quote(Path(os.path.relpath(there, folder)).as_posix())
    return there.as_uri()
