"""Sections of pages about one song: findings, places, and what changes do to its scores.

Findings are worded no stronger than the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AudioError, ChartError
from earwitness.detectors.loading import find_explain
from earwitness.evaluation.windows import merge_windows
from earwitness.listen.answer import clock
from earwitness.listen.results import (
    DetectorResult,
    SongResult,
    compare_verdicts,
    found_lines,
)
from earwitness.listen.text import describe_score, describe_verdict
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Gallery, Note, Section
from earwitness.report.charts.comb import comb_picture
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.charts.timeline import Band, timeline_chart
from earwitness.report.tables import (
    Column,
    Table,
    make_row,
    name_cell,
    number_cell,
    text_cell,
    text_columns,
)

ALTERNATIVES = {
    "found": (
        "A trace of a decoder is also left by music that people made and that later went through a "
        "neural codec, a separation, an upmix or a restoration, and by speech or instruments "
        "synthesized within human music; detectors also flag some untouched reals (below)."
    ),
    "nothing_found": (
        "Generators whose traces these detectors do not know, and known ones after re-encoding, "
        "filtering or re-recording, leave nothing that is found here."
    ),
    "not_decidable": (
        "The file has too little that can be analysed, or its coding explains what was found: "
        "neither a human nor a machine origin is supported or excluded."
    ),
    "error": "The file could not be analysed; nothing is known of its origin.",
}


_PREPROCESSING = {
    "correct": "resampled to its rate",
    "published": "as in its published code",
}


class Recoded(NamedTuple):
    """The results of a perturbed copy, or why there is none."""

    perturbation: str
    song: SongResult | None
    error: str | None = None


def findings_section(song: SongResult) -> Section:
    """Return the finding of each detector, and what it does not find."""
    rows = [
        make_row(
            name_cell(result.card.name),
            _verdict(result),
            number_cell(result.prob),
            number_cell(result.card.threshold),
            text_cell(result.card.weights_sha256 or "–", look="hash"),
            text_cell(_PREPROCESSING[result.card.preprocessing]),
            detector=result.card.name,
        )
        for result in song.opinions
    ]
    columns = [
        *text_columns("detector", "finding"),
        Column("score"),
        Column("threshold"),
        *text_columns("SHA-256 of its weights", "preprocessing"),
    ]
    blocks: list[Block] = [Table("Findings of each detector", columns, rows)]
    agreement = compare_verdicts(song.opinions)
    if agreement:
        blocks.append(Note(agreement))
    for result in song.opinions:
        text = f"{result.card.limits} {_training(result.card)}"
        blocks.append(Note(text, label=result.card.name, detector=result.card.name))
        blocks += [Note(remark, label=result.card.name) for remark in result.remarks]
    lead = (
        "Scores from 0 to 1, which are not probabilities; from its threshold up, a detector says "
        "fake, or finds a trace."
    )
    return Section("detectors", "Findings", lead, blocks)


def _training(card: DetectorCard) -> str:
    if card.trained_on is None:
        return "Its training data are unknown."
    return f"Trained on: {', '.join(card.trained_on)}." if card.trained_on else "It is not trained."


def _verdict(result: DetectorResult) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    if result.abstained is not None:
        return f"abstains: {result.abstained}"
    guess = result.details.get("decoder_guess")
    return f"{result.verdict}{f' ({guess})' if guess else ''}"


def places_sections(song: SongResult, *, name: str) -> Iterator[Section]:
    """Yield scores over time, and pictures of combs titled by a name, if there are any."""
    if song.duration_s is None or not song.has_verdict:
        return
    cards = []
    drawn = found_lines(song.opinions)
    for result in song.opinions:
        if result.verdict is None:
            continue
        detector = result.card.name
        said = f"{describe_verdict(result)}, {describe_score(result)}"
        band = Band(
            said, merge_windows(result.windows), result.card.threshold, result.card.one_sided
        )
        chart = timeline_chart([band], title="", subtitle="", duration_s=song.duration_s)
        label = f"Scores of {detector} over {clock(song.duration_s)}: {said}."
        charts = [draw_inline(chart, aria_label=label)]
        cards.append(
            ChartCard(detector, charts, detector=detector, is_wide=True, duration_s=song.duration_s)
        )
        cards += _combs(song, result, name) if result in drawn else []
    lead = "Scores over time; above the threshold they say fake, or a trace. Blank: not analysed."
    yield Section("places", "Where in the file", lead, [Gallery(cards)])


def _combs(song: SongResult, result: DetectorResult, title: str) -> Iterator[ChartCard]:
    """Yield the picture of the comb that a detector found, or why there is none."""
    explain = find_explain(result.card)
    if explain is None:
        return
    name, charts, note = result.card.name, [], ""
    try:
        lines = explain(song.path, result.details, result.card)
        picture = comb_picture(lines, result.details, title=title)
        charts.append(draw_inline(picture, aria_label=f"Spectrum of the comb that {name} found."))
    except (AudioError, ChartError) as error:
        note = f"No picture: {error.reason if isinstance(error, AudioError) else error}"
    yield ChartCard(f"{name}: the comb", charts, note=note, detector=name, is_wide=True)


def changes_sections(song: SongResult, recoded: Sequence[Recoded]) -> Iterator[Section]:
    """Yield the scores of perturbed copies, if there are any."""
    if not recoded:
        return
    names = [result.card.name for result in song.opinions]
    given = [("as it is", song), *((one.perturbation, one.song) for one in recoded)]
    rows = []
    for perturbation, scored in given:
        found = {r.card.name: r for r in (scored.opinions if scored else ())}
        cells = [text_cell(_brief(found[name]) if name in found else "–") for name in names]
        rows.append(make_row(perturbation, *cells))
    failed = [f"{one.perturbation}: {one.error}" for one in recoded if one.error is not None]
    lead = (
        "The file was changed in each of these ways, and scored again: findings that vanish after "
        "an ordinary re-encoding could have vanished before the file came here."
    )
    table = Table("Scores after changes", text_columns("change", *names), rows, failed)
    yield Section("changes", "After re-encoding", lead, [table])


def _brief(result: DetectorResult) -> str:
    if result.prob is None:
        return "abstains" if result.abstained else "failed"
    mark = " (flagged)" if result.prob >= result.card.threshold else ""
    return f"{formatting.number(result.prob)}{mark}"
