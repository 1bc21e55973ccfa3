"""The report: one file of HTML that says what an evaluation found.

Conventions: it asks for nothing over the network, works without scripts (which sort, filter and
show tips), follows the reader's light or dark screen, and prints. Whatever comes out of data is
escaped; a content policy keeps out what would not be.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from earwitness import __version__
from earwitness.core.io import write_text
from earwitness.evaluation.schema import Metrics, Mistake
from earwitness.report import formatting
from earwitness.report.charts.renderer import palette_css
from earwitness.report.headline import write_headline
from earwitness.report.sections.decisions import decisions, mistakes
from earwitness.report.sections.grid import grid
from earwitness.report.sections.leaderboard import leaderboard
from earwitness.report.sections.operating import operating
from earwitness.report.sections.provenance import audit, checks, coverage, provenance
from earwitness.report.sections.scores import curves, scores
from earwitness.report.tables import Chapter, Fact


def write_report(
    metrics: Metrics, path: str | Path, *, audio_roots: Sequence[str | Path] = ()
) -> None:
    """Write the page, atomically.

    Args:
        metrics: What an evaluation found.
        path: The HTML file.
        audio_roots: Folders that file names of mistakes may start from, beside those that the
            metrics tell; a file that is found gets a player.
    """
    path = Path(path)
    write_text(path, _render(metrics, _chapters(metrics, path, audio_roots)))


def _chapters(metrics: Metrics, path: Path, roots: Sequence[str | Path]) -> list[Chapter]:
    found = (
        leaderboard(metrics),
        grid(metrics),
        decisions(metrics),
        curves(metrics),
        scores(metrics),
        operating(metrics),
        mistakes(metrics, make_finder(metrics, path, roots)),
        coverage(metrics),
        checks(metrics),
        audit(metrics),
        provenance(metrics),
    )
    return [chapter for chapter in found if chapter is not None]


def _render(metrics: Metrics, chapters: Sequence[Chapter]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earwitness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("page.css").render(
        light=palette_css(dark=False), dark=palette_css(dark=True)
    )
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html").render(
        headline=write_headline(metrics),
        facts=_facts(metrics),
        detectors=[detector.name for detector in metrics.detectors],
        chapters=chapters,
        style=Markup(style),  # noqa: S704 - ours, without data
        script=Markup(script),  # noqa: S704 - ours, without data
        policy=_policy(style, script),
        version=__version__,
    )


def _policy(style: str, script: str) -> str:
    """Allow our own style and script, audio beside the page, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash_of(style)}'",
            f"script-src '{_hash_of(script)}'",
            "media-src 'self' file:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _facts(metrics: Metrics) -> list[Fact]:
    """Return how much was judged."""
    overall = metrics.where(kind="overall")
    facts = [
        Fact(formatting.count(len(metrics.detectors)), _plural(len(metrics.detectors), "detector")),
        Fact(formatting.count(len(metrics.manifests)), _plural(len(metrics.manifests), "data set")),
    ]
    if overall:
        widest = max((part.coverage for part in overall), key=lambda covered: covered.n_items)
        lost = max(part.coverage.n_items - part.coverage.n_scored for part in overall)
        facts += [
            Fact(formatting.count(widest.n_items), _plural(widest.n_items, "item")),
            Fact(formatting.count(widest.n_groups), _plural(widest.n_groups, "group")),
            Fact(formatting.count(lost), "lost at most" if len(overall) > 1 else "lost"),
        ]
    else:
        n_items = sum(one.n_items for one in metrics.manifests)
        facts.append(Fact(formatting.count(n_items), "items in these sets"))
    return facts


def _plural(n: int, word: str) -> str:
    return word if n == 1 else f"{word}s"


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
