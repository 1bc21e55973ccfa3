"""Pages as HTML: all text is escaped by templates, and what is new on top is a panel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from earwitness.bench.diff import diff_runs
from earwitness.bench.diff_tables import diff_parts
from earwitness.core.errors import EarwitnessError, RunError, first_line
from earwitness.datasets.catalog import AUDIO_SUFFIXES
from earwitness.listen.answer import brief_answer, clock, full_answer, song_state
from earwitness.listen.song_sections import ALTERNATIVES
from earwitness.listen.text import NO_PROOF
from earwitness.report import formatting
from earwitness.report.blocks import Note, Section, Stat
from earwitness.report.headline import Headline, write_headline
from earwitness.report.page import (
    Served,
    make_stat,
    open_templates,
    render_page,
    report_sections,
    report_stats,
)
from earwitness.report.tables import Table, make_row, name_cell, text_columns
from earwitness.web.items import LABELS, OUTCOMES, PAGE_SIZE
from earwitness.web.runs import Run
from earwitness.web.songs import UploadedSong

_N_DIFFERENCES = 100
_TEMPLATES = open_templates("earwitness.web")


def describe_song(song: UploadedSong) -> dict[str, str | None]:
    """Return the state of a song for the list, as the script reads it."""
    return {
        "token": song.token,
        "name": song.name,
        "state": song.state,
        "progress": song.progress if song.state == "scoring" else song.state,
        "changes": song.changes_state,
        "answer": _answer(song) if song.state == "done" else None,
    }


def _answer(song: UploadedSong) -> str:
    if song.error is not None or song.result is None:
        return f"no answer: {song.error or 'stopped'}"
    return brief_answer(song.result)


def home_page(songs: Sequence[UploadedSong], *, csrf: str, max_mb: int, n_detectors: int) -> str:
    """Return the page on which songs are dropped, with the list of songs."""
    panel = _panel(
        "home.html",
        songs=[describe_song(song) for song in songs],
        csrf=csrf,
        max_mb=max_mb,
        max_bytes=max_mb * 1_000_000,
        suffixes=" ".join(sorted(AUDIO_SUFFIXES)),
    )
    section = Section(
        "about",
        "What this does",
        "",
        [
            Note(
                "Files stay on this machine: the page asks no other server for anything, and "
                "uploads are deleted after an hour and at the end, unless the server keeps them."
            ),
            Note(NO_PROOF),
        ],
    )
    return _render(
        Headline("Drop a song to see what the detectors find.", []),
        [section],
        stats=[Stat(formatting.count(n_detectors), "detectors")],
        panel=panel,
        title="Songs",
    )


def song_page(song: UploadedSong, *, csrf: str) -> str:
    """Return the page of a song: findings, places, limits, and changes on request."""
    panel = _panel("song.html", song=song, about=describe_song(song), csrf=csrf)
    sections = [*song.sections, *song.changes]
    lead, caveats, stats = f"{song.name}: {song.progress or song.state}", [], []
    if song.state == "done":
        lead = f"No answer: {song.error or 'stopped'}"
    if song.state == "done" and song.result is not None and song.result.error is None:
        result = song.result
        lead = full_answer(result).replace(str(song.path), "the file")
        caveats = [NO_PROOF, ALTERNATIVES[song_state(result)]]
        stats = [
            Stat("–" if result.duration_s is None else clock(result.duration_s), "length"),
            Stat(formatting.count(len(result.opinions)), "detectors"),
        ]
    if not sections:
        sections = [Section("about", "The file", "", [Note(f"Name as uploaded: {song.name}")])]
    detectors = [one.card.name for one in song.result.opinions] if song.result else []
    headline = Headline(lead, caveats)
    return _render(
        headline, sections, stats=stats, panel=panel, title=song.name, detectors=detectors
    )


def runs_page(runs: Sequence[Run]) -> str:
    """Return the list of runs."""
    panel = _panel("runs.html", runs=runs, comparable=[run for run in runs if run.has_items])
    note = Note("A run is a folder with a metrics.json; --runs DIR names the folder of all runs.")
    headline = Headline("Runs, with their reports and mistakes.", [])
    stats = [Stat(formatting.count(len(runs)), "runs")]
    section = Section("about", "Which runs", "", [note])
    return _render(headline, [section], stats=stats, panel=panel, title="Runs")


def run_page(run: Run) -> str:
    """Return the report of a run, with players for mistakes whose audio is found."""
    metrics = run.read()
    run.audio.clear()
    return _render(
        write_headline(metrics),
        report_sections(metrics, lambda mistake: run.link_audio(metrics, mistake)),
        stats=report_stats(metrics),
        panel=_panel("run.html", run=run),
        title=run.name,
        detectors=[detector.name for detector in metrics.detectors],
    )


def compare_page(first: Run, second: Run) -> str:
    """Return what differs between two runs."""
    with _named(first, second):
        diff = diff_runs(first.folder, second.folder)
    blocks = [
        Note(part.strip()) if isinstance(part, str) else part
        for part in diff_parts(diff, n_shown=_N_DIFFERENCES)
    ]
    n_flips = sum(len(part.flips) for part in diff.scores)
    lead = f"{first.name} and {second.name}: " + (
        "nothing differs." if diff.is_same else f"{formatting.plural(n_flips, 'decision')} flipped."
    )
    stats = [make_stat(len(diff.scores), "common detector"), make_stat(len(diff.rows), "data set")]
    section = Section("differences", "Differences", "Second minus first.", blocks)
    title = f"{first.name} and {second.name}"
    return _render(
        Headline(lead, []), [section], stats=stats, panel=_panel("nav.html"), title=title
    )


def items_page(run: Run, asked: Mapping[str, str]) -> str:
    """Return the items of a run that match the filters of a query, a hundred a page."""
    with _named(run):
        items = run.read_items()
    found = items.select(asked)
    page = int(text) if (text := asked.get("page", "")).isdecimal() and len(text) < 9 else 0
    first = min(page, max(0, found.height - 1) // PAGE_SIZE) * PAGE_SIZE
    shown = [
        row
        | {
            "shown_score": formatting.number(row["score"]),
            "has_audio": items.file(row["number"]) is not None,
        }
        for row in found[first : first + PAGE_SIZE].iter_rows(named=True)
    ]
    choices = {
        "detector": items.frame["detector"].unique(maintain_order=True).to_list(),
        "label": LABELS,
        "outcome": OUTCOMES,
    }
    kept = {name: asked.get(name, "") for name in (*choices, "name")}

    def link(at: int) -> str | None:
        is_page = 0 <= at * PAGE_SIZE < found.height
        return f"/runs/{run.token}/items?{urlencode(kept | {'page': at})}" if is_page else None

    at = first // PAGE_SIZE
    caption = f"{first + bool(shown)} to {first + len(shown)} of {formatting.count(found.height)}"
    panel = _panel(
        "items.html",
        run=run,
        choices=choices,
        asked=kept,
        items=shown,
        caption=caption,
        previous=link(at - 1),
        next=link(at + 1),
    )
    note = Note("Items that are wrong with the most confidence are first; scores from 0 to 1.")
    stats = [make_stat(found.height, "item")]
    section = Section("about", "Order", "", [note])
    headline = Headline(f"Items of {run.name}.", [])
    return _render(headline, [section], stats=stats, panel=panel, title=f"items of {run.name}")


@contextlib.contextmanager
def _named(*runs: Run) -> Iterator[None]:
    """Raise errors with names of runs in place of their folders."""
    try:
        yield
    except EarwitnessError as error:
        text = first_line(error)
        for run in runs:
            text = text.replace(str(run.folder), run.name)
        raise RunError(text) from error


def error_page(status: int, reason: str) -> str:
    """Return a page that says why a request was refused."""
    rows = [make_row(name_cell(str(status)), reason)]
    table = Table("Refused", text_columns("status", "reason"), rows)
    section = Section("refused", "Refused", "", [table])
    headline = Headline(f"{reason[:1].upper()}{reason[1:]}.", [])
    return _render(headline, [section], stats=[], panel=_panel("nav.html"), title="Refused")


def _panel(template: str, **values: Any) -> Markup:
    return Markup(_TEMPLATES.get_template(template).render(**values))  # noqa: S704 - autoescaped


def _render(
    headline: Headline,
    sections: Sequence[Section],
    *,
    stats: Sequence[Stat],
    panel: Markup,
    title: str,
    detectors: Sequence[str] = (),
) -> str:
    served = Served(panel, script="/static/serve.js", style="/static/serve.css")
    return render_page(
        headline,
        sections,
        stats=stats,
        detectors=detectors,
        title=f"earwitness: {title}",
        brand="serve",
        served=served,
    )
