"""Files of a manifest from another machine, found by the tails of their paths below a folder.

Conventions: ``/home/user/project/FMA/055/055400.mp3`` is ``<root>/FMA/055/055400.mp3``, or
``<root>/055/055400.mp3``, where exactly one of these is there. A tail that would give one file to
two paths, or that starts with one folder name under two different heads, is ambiguous and finds
nothing: a wrong file would be a wrong label.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from earwitness.core.files import spelled_on_disk
from earwitness.core.spelling import tidy_path


@dataclass(frozen=True)
class Relocated:
    """What was found below a folder.

    Attributes:
        found: Path in the manifest → where its file is.
        ambiguous: Paths that could be several files, or whose file could be that of another.
    """

    found: dict[str, str] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Match:
    """One tail of a path that is there."""

    filepath: str
    head: tuple[str, ...]
    start: str
    file: str


def find_by_tail(filepaths: Iterable[str], root: Path) -> Relocated:
    """Find files below a folder by the tails of their paths.

    Args:
        filepaths: Paths of files that are not where they say, relative or absolute, of any system.
        root: The folder.
    """
    try:
        tops = {unicodedata.normalize("NFC", name) for name in os.listdir(root)}  # noqa: PTH208 - names alone
    except OSError:
        return Relocated()
    matches, ambiguous = [], []
    for filepath in dict.fromkeys(filepaths):
        there = list(_matches(filepath, root, tops))
        if len(there) == 1:
            matches.append(there[0])
        elif there:
            ambiguous.append(filepath)
    owners = Counter(match.file for match in {tidy_path(m.filepath): m for m in matches}.values())
    heads: dict[str, set[tuple[str, ...]]] = {}
    for match in matches:
        heads.setdefault(match.start, set()).add(match.head)
    found = {}
    for match in matches:
        if owners[match.file] > 1 or len(heads[match.start]) > 1:
            ambiguous.append(match.filepath)
        else:
            found[match.filepath] = match.file
    return Relocated(found, ambiguous)


def _matches(filepath: str, root: Path, tops: set[str]) -> Iterable[_Match]:
    parts = tidy_path(filepath).strip("/").split("/")
    if ".." in parts:
        return
    for at, part in enumerate(parts):
        if part not in tops:
            continue
        tail = spelled_on_disk(root, "/".join(parts[at:]))
        if tail is not None and (root / tail).is_file():
            start = part if at + 1 < len(parts) else ""  # names alone share one head
            yield _Match(filepath, tuple(parts[:at]), start, (root / tail).as_posix())
