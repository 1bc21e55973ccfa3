"""Pages as HTML: all text is escaped by templates, and what is new on top is a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from earwitness.datasets.catalog import AUDIO_SUFFIXES
from earwitness.listen.answer import brief_answer, clock, full_answer, song_state
from earwitness.listen.song_sections import ALTERNATIVES
from earwitness.listen.text import NO_PROOF
from earwitness.report import formatting
from earwitness.report.blocks import Note, Section, Stat
from earwitness.report.headline import Headline, write_headline
from earwitness.report.page import (
    Served,
    open_templates,
    render_page,
    report_sections,
    report_stats,
)
from earwitness.report.tables import Table, make_row, name_cell, text_columns
from earwitness.web.runs import Run
from earwitness.web.songs import UploadedSong

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
    panel = _panel("runs.html", runs=runs)
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
        panel=_panel("nav.html"),
        title=run.name,
        detectors=[detector.name for detector in metrics.detectors],
    )


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
