"""The report: one HTML file with the results of an evaluation.

The page makes no network request and works without scripts. Data is escaped, and a content
security policy blocks anything else. A path in predictions becomes a link only if it is a playable
file below the roots of its manifest or the folders given.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from earwitness import __version__
from earwitness.core.io import write_text
from earwitness.evaluation.schema import Metrics, Mistake
from earwitness.report import formatting
from earwitness.report.blocks import Section, Stat
from earwitness.report.charts.renderer import palette_css
from earwitness.report.decisions import FindAudio, decisions, mistakes, operating
from earwitness.report.headline import Headline, write_headline
from earwitness.report.leaderboard import grid, leaderboard
from earwitness.report.localisation import localisation
from earwitness.report.provenance import audit, checks, coverage, provenance
from earwitness.report.scores import curves, scores
from earwitness.report.selective import abstention
from earwitness.report.spectra import spectra


@dataclass(frozen=True)
class Served:
    """What a page has besides when a server sends it, which its policy then allows.

    Attributes:
        panel: Markup above the sections, with forms and players.
        script: Path of a script on the server.
        style: Path of a style sheet on the server.
    """

    panel: Markup
    script: str
    style: str


def write_report(
    metrics: Metrics,
    path: str | Path,
    *,
    audio_roots: Sequence[str | Path] = (),
    n_spectra: int = 0,
    more: Sequence[Section] = (),
) -> None:
    """Write the page, atomically.

    Args:
        metrics: Results of an evaluation.
        path: The HTML file.
        audio_roots: Folders to search for the audio of mistakes, besides the roots of the
            manifests; files that are found get a player.
        n_spectra: Flagged files of each detector to read again, for pictures of what it found.
        more: Sections after those of the evaluation.
    """
    path = Path(path)
    pictures = spectra(metrics, n_spectra, audio_roots=audio_roots)
    text = render_page(
        write_headline(metrics),
        [*report_sections(metrics, audio_finder(metrics, path, audio_roots), pictures), *more],
        stats=report_stats(metrics),
        detectors=[detector.name for detector in metrics.detectors],
    )
    write_text(path, text)


def report_sections(
    metrics: Metrics, find_audio: FindAudio, pictures: Section | None = None
) -> list[Section]:
    """Return the sections of a report.

    Args:
        metrics: Results of an evaluation.
        find_audio: Links the audio of mistakes.
        pictures: Section of spectra, if asked for.
    """
    found = (
        leaderboard(metrics),
        grid(metrics),
        decisions(metrics),
        curves(metrics),
        abstention(metrics),
        scores(metrics),
        operating(metrics),
        localisation(metrics),
        mistakes(metrics, find_audio),
        pictures,
        coverage(metrics),
        checks(metrics),
        audit(metrics),
        provenance(metrics),
    )
    return [section for section in found if section is not None]


def open_templates(package: str) -> jinja2.Environment:
    """Return the templates of a package, which escape all data."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(
    headline: Headline,
    sections: Sequence[Section],
    *,
    stats: Sequence[Stat],
    detectors: Sequence[str],
    title: str | None = None,
    brand: str = "report",
    served: Served | None = None,
) -> str:
    """Return a page as HTML.

    Args:
        headline: What the page says first.
        sections: At least one.
        stats: Numbers below the headline.
        detectors: Names by which a reader can filter the page.
        title: Title of the page; ``None`` names the detectors.
        brand: What the page is, after the name of the package.
        served: What a server adds; ``None`` for a page that is a file.
    """
    environment = open_templates("earwitness.report")
    style = environment.get_template("page.css").render(
        light=palette_css(dark=False), dark=palette_css(dark=True)
    )
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html").render(
        headline=headline,
        title=title,
        brand=brand,
        stats=stats,
        detectors=detectors,
        sections=sections,
        style=Markup(style),  # noqa: S704 - ours, without data
        script=Markup(script),  # noqa: S704 - ours, without data
        served=served,
        policy=_security_policy(style, script, is_served=served is not None),
        version=__version__,
    )


def _security_policy(style: str, script: str, *, is_served: bool) -> str:
    """Return a policy that allows our own style and script, local audio, and nothing else."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    own, files = (" 'self'", "") if is_served else ("", " file:")
    forms = "'self'; connect-src 'self'" if is_served else "'none'"
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'{own}; "
        f"script-src 'sha256-{hashes[1]}'{own}; media-src 'self'{files}; img-src data:; "
        f"base-uri 'none'; form-action {forms}"
    )


def report_stats(metrics: Metrics) -> list[Stat]:
    """Return the size of the evaluation."""
    overall = [part.coverage for part in metrics.where(kind="overall")]
    stats = [
        make_stat(len(metrics.detectors), "detector"),
        make_stat(len(metrics.manifests), "data set"),
    ]
    if not overall:
        return [*stats, make_stat(sum(one.n_items for one in metrics.manifests), "item")]
    largest = max(overall, key=lambda found: found.n_items)
    n_lost = formatting.count(max(found.n_lost for found in overall))
    lost = Stat(n_lost, "lost at most" if len(overall) > 1 else "lost")
    return [*stats, make_stat(largest.n_items, "item"), make_stat(largest.n_groups, "group"), lost]


def make_stat(n: int, noun: str) -> Stat:
    """Return a count and its noun."""
    return Stat(formatting.count(n), noun if n == 1 else f"{noun}s")


_PLAYABLE = (".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".webm")


def audio_finder(metrics: Metrics, page: Path, roots: Sequence[str | Path]) -> FindAudio:
    """Return a function that links a mistake's audio file from the page.

    Relative paths start from the roots of the mistake's manifest or from those given.
    """
    by_set = {one.name: [*one.roots, *roots] for one in metrics.manifests}
    folder = page.absolute().parent

    def find_audio(mistake: Mistake) -> str | None:
        if Path(mistake.filepath).suffix.lower() not in _PLAYABLE:
            return None
        path = _locate(mistake.filepath, by_set.get(mistake.dataset, roots))
        return None if path is None else _link(path, folder)

    return find_audio


def _locate(filepath: str, roots: Iterable[str | Path]) -> Path | None:
    path = Path(filepath)
    candidates = [path] if path.is_absolute() else [Path(root) / path for root in roots]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate.absolute()
        except (OSError, ValueError):  # not a valid file name on this system
            continue
    return None


def _link(path: Path, folder: Path) -> str:
    """Return a relative link if page and file share a tree, so that both can be moved."""
    path = Path(os.path.normpath(path))
    shared = [a for a, b in zip(path.parts, folder.parts, strict=False) if a == b]
    if len(shared) > 2:
        return "./" + quote(Path(os.path.relpath(path, folder)).as_posix())
    return path.as_uri()
