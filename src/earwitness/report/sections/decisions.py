"""Decisions: confusion matrices, the comparison table, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.evaluation.schema import DetectorInfo, Metrics, Mistake
from earwitness.evaluation.slice_schema import TableRow
from earwitness.evaluation.summarize import is_one_class
from earwitness.report import formatting
from earwitness.report.blocks import (
    Block,
    Details,
    Figure,
    Gallery,
    Misclassified,
    MisclassifiedList,
    Section,
)
from earwitness.report.charts.matrices import SHARES, HeatCell, confusion_chart, heatmap_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.comparison import comparison_table
from earwitness.report.tables import Column, Row, Table, count_cell, number_columns, text_cell

_MAX_MATRICES = 24

FindAudio = Callable[[Mistake], str | None]
"""Returns a link to the audio of a mistake; ``None`` where the page cannot reach it."""


def decisions(metrics: Metrics) -> Section | None:
    """Return matrices and the comparison table; ``None`` if there are no decisions."""
    overall = [
        (part.detector, part.counts) for part in metrics.where(kind="overall") if part.counts
    ]
    if not overall and not metrics.table:
        return None
    blocks: list[Block] = []
    if overall:
        blocks.append(Gallery([_matrix(name, counts, "all items") for name, counts in overall]))
    if metrics.table:
        rows = [ComparisonRow(row.model, row.dataset, row.counts) for row in metrics.table]
        n_lost = {(row.model, row.dataset): row.n_lost for row in metrics.table}
        blocks += [Gallery([_by_data_set(metrics.table)])] if len(rows) > 1 else []
        blocks.append(comparison_table(rows, n_lost=n_lost))
        blocks += _matrices(rows, has_overall=bool(overall))
    lead = (
        "Confusion matrices and rates at the decision threshold. Recall is the share of fakes "
        "called fake, specificity the share of reals called real; if a data set has one class "
        "only, the rate of the other is undefined."
    )
    return Section("decisions", "Decisions", lead, blocks)


def _matrices(rows: Sequence[ComparisonRow], *, has_overall: bool) -> list[Block]:
    """Return the matrices of data sets, unless one set is all there is or there are very many."""
    if (has_overall and len({row.dataset for row in rows}) == 1) or len(rows) > _MAX_MATRICES:
        return []
    figures = [_matrix(row.model, row.counts, row.dataset) for row in rows if row.counts.n]
    return [Details("A confusion matrix per detector and data set", [Gallery(figures)])]


def _matrix(detector: str, counts: Counts, where: str) -> Figure:
    label = (
        f"Confusion matrix of {detector} on {where}: of {counts.n_real} reals, {counts.tn} called "
        f"real and {counts.fp} fake; of {counts.n_fake} fakes, {counts.fn} called real and "
        f"{counts.tp} fake."
    )
    rows = [
        Row([text_cell("real"), count_cell(counts.tn), count_cell(counts.fp)], detector),
        Row([text_cell("fake"), count_cell(counts.fn), count_cell(counts.tp)], detector),
    ]
    columns = [Column("truth", "text"), *number_columns("called real", "called fake")]
    return Figure(
        title=detector,
        charts=[draw_inline(confusion_chart(counts, normalized=True), aria_label=label)],
        note=f"On {where}: {formatting.count(counts.n)} items.",
        tables=[Table(f"Decisions of {detector}", columns, rows)],
        detector=detector,
    )


def _by_data_set(table: Sequence[TableRow]) -> Figure:
    cells = []
    for row in table:
        counts, name = row.counts, row.dataset
        if is_one_class(counts):
            name += f" · {'fakes' if counts.n_fake else 'reals'}"
        accuracy = (counts.tp + counts.tn) / counts.n if counts.n else None
        tooltip = f"{row.model} on {row.dataset}: {counts.tp + counts.tn} of {counts.n} correct"
        cells.append(HeatCell(name, row.model, accuracy, tooltip))
    low = min((c for c in cells if c.value is not None), key=lambda c: c.value or 0, default=None)
    lowest = f" Lowest: {low.tooltip}." if low else ""
    label = f"Accuracy of each detector on each data set.{lowest}"
    return Figure(
        title="Accuracy by data set",
        charts=[draw_inline(heatmap_chart(cells, steps=SHARES), aria_label=label)],
        note=f"Share of correct decisions.{lowest}",
        is_wide=True,
    )


def mistakes(metrics: Metrics, find_audio: FindAudio) -> Section | None:
    """Return two lists per detector; ``None`` if the metrics come from counts."""
    if metrics.basis == "counts":
        return None
    blocks: list[Block] = [
        _mistakes_of(detector, find_audio, is_open=at == 0)
        for at, detector in enumerate(metrics.detectors)
    ]
    lead = (
        "The most confident wrong decisions of each detector, by file name as in the predictions."
    )
    return Section("mistakes", "Worst mistakes", lead, blocks)


def _mistakes_of(detector: DetectorInfo, find_audio: FindAudio, *, is_open: bool) -> Details:
    flagged, missed = (
        [_misclassified(one, find_audio) for one in found]
        for found in (detector.worst_false_alarms, detector.worst_misses)
    )
    lists = [
        MisclassifiedList("Reals called fake", flagged, "No real was flagged."),
        MisclassifiedList("Fakes called real", missed, "No fake was missed."),
    ]
    summary = f"{detector.name} ({len(flagged) + len(missed)} shown)"
    return Details(summary, lists, detector.name, is_open)


def _misclassified(one: Mistake, find_audio: FindAudio) -> Misclassified:
    origin = " · ".join(part for part in (one.corpus, one.generator, one.dataset) if part)
    score = formatting.UNDEFINED if one.logit is None else f"logit {one.logit:.2f}"
    if one.pred_prob is not None:
        score = f"score {formatting.number(one.pred_prob)}"
    return Misclassified(one.filepath or "no file name", origin, score, find_audio(one))
