"""Decisions: confusion matrices, the comparison table, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from earwitness.core.estimate import Counts
from earwitness.evaluation.schema import DetectorInfo, Metrics, Mistake, TableRow
from earwitness.evaluation.summarize import is_one_class
from earwitness.report import formatting
from earwitness.report.charts.matrices import SHARES, confusion_chart, heatmap_chart
from earwitness.report.charts.matrices import Cell as HeatCell
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Figure,
    Folded,
    Gallery,
    Row,
    Table,
    Wrong,
    Wrongs,
    count_cell,
    text_cell,
)

_RATES = {
    "accuracy": "accuracy",
    "precision_fake": "precision",
    "recall_fake_sensitivity": "recall",
    "specificity_real": "specificity",
    "f1_fake": "F1",
    "balanced_accuracy": "balanced accuracy",
}
_MARK = "by construction"
_NOTE = (
    "By construction: the set holds one class only, and that alone decides the figure; it says "
    "nothing about the detector."
)
_MOST_MATRICES = 24
_LEAD = (
    "How decisions fell out. Recall is the share of fakes called fake, specificity that of reals "
    "called real; where a set holds one class, the rate of the other does not exist."
)


def decisions(metrics: Metrics) -> Chapter | None:
    """Return matrices and the comparison table; ``None`` where nothing was decided."""
    overall = [
        (part.detector, part.counts) for part in metrics.where(kind="overall") if part.counts
    ]
    if not overall and not metrics.table:
        return None
    blocks: list[Block] = []
    if overall:
        blocks.append(Gallery([_matrix(name, counts, "all items") for name, counts in overall]))
    if metrics.table:
        blocks += [Gallery([_by_set(metrics.table)])] if len(metrics.table) > 1 else []
        blocks.append(_comparison(metrics.table))
        blocks += _matrices(metrics.table, has_overall=bool(overall))
    return Chapter("decisions", "Decisions", _LEAD, blocks)


def _matrices(table: Sequence[TableRow], *, has_overall: bool) -> list[Block]:
    """Return the matrices of data sets, unless one set is all there is or there are very many."""
    if (has_overall and len({row.dataset for row in table}) == 1) or len(table) > _MOST_MATRICES:
        return []
    figures = [_matrix(row.model, row.counts, row.dataset) for row in table if row.counts.n]
    return [Folded("A matrix for each detector and data set", [Gallery(figures)])]


def _matrix(detector: str, counts: Counts, where: str) -> Figure:
    told = (
        f"Confusion matrix of {detector} on {where}: of {counts.n_real} reals {counts.tn} called "
        f"real and {counts.fp} fake; of {counts.n_fake} fakes {counts.fn} called real and "
        f"{counts.tp} fake."
    )
    rows = [
        Row([text_cell(truth), *map(count_cell, cells)], detector)
        for truth, cells in (
            ("real", (counts.tn, counts.fp)),
            ("fake", (counts.fn, counts.tp)),
        )
    ]
    return Figure(
        title=detector,
        pictures=[draw_inline(confusion_chart(counts, normalized=True), told=told)],
        note=f"On {where}: {formatting.count(counts.n)} items.",
        tables=[Table(f"Decisions of {detector}", ["truth", "called real", "called fake"], rows)],
        detector=detector,
    )


def _by_set(table: Sequence[TableRow]) -> Figure:
    cells = []
    for row in table:
        counts = row.counts
        right = (counts.tp + counts.tn) / counts.n if counts.n else None
        told = f"{row.model} on {row.dataset}: {counts.tp + counts.tn} of {counts.n} right"
        cells.append(HeatCell(_set_name(row), row.model, right, told))
    low = min((c for c in cells if c.value is not None), key=lambda c: c.value or 0, default=None)
    told = "Share of right decisions of each detector on each data set"
    note = "Share of right decisions."
    if low is not None:
        note += f" Lowest: {low.told}."
        told += f". Lowest: {low.told}"
    return Figure(
        title="Right decisions by data set",
        pictures=[draw_inline(heatmap_chart(cells, steps=SHARES), told=told)],
        note=note,
        is_wide=True,
    )


def _set_name(row: TableRow) -> str:
    """Return a data set's name, with the class that it holds where that is one alone."""
    if is_one_class(row.counts):
        return f"{row.dataset} · {'fakes' if row.counts.n_fake else 'reals'}"
    return row.dataset


def _comparison(table: Sequence[TableRow]) -> Table:
    rows = []
    for row in table:
        counts = row.counts
        cells = [
            text_cell(row.dataset, look="name"),
            text_cell(row.model, look="name"),
            *map(count_cell, (counts.n, counts.tp, counts.tn, counts.fp, counts.fn)),
            *(_rate(row, name) for name in _RATES),
            count_cell(row.n_lost),
        ]
        rows.append(Row(cells, row.model))
    columns = ["data set", "detector", "n", "TP", "TN", "FP", "FN", *_RATES.values(), "lost"]
    notes = [_NOTE] if any(row.by_construction for row in table) else []
    return Table("The comparison table", columns, rows, notes, texts=2, has_filter=True)


def _rate(row: TableRow, name: str) -> Cell:
    value = row.values.get(name)
    if value is None:
        return Cell(formatting.UNDEFINED, None, _why(row.counts), is_none=True)
    if name in row.by_construction:
        return Cell(f"{formatting.figure(value)} †", value, _MARK, is_none=True)
    return Cell(formatting.figure(value), value)


def _why(counts: Counts) -> str:
    if is_one_class(counts):
        return "only fakes" if counts.n_fake else "only reals"
    return "nothing called fake" if counts.n else "no items"


Finder = Callable[[Mistake], str | None]
"""Returns where the page finds a file, ``None`` where it cannot."""

_MISTAKES_LEAD = (
    "What each detector was surest of and wrong about. Names are as the predictions have them."
)


def mistakes(metrics: Metrics, find: Finder) -> Chapter | None:
    """Return a list a detector; ``None`` where the file tells of no rows."""
    if metrics.basis == "counts":
        return None
    blocks: list[Block] = [
        Folded(
            _summary(detector),
            [
                _list(
                    "Reals called fake", detector.worst_false_alarms, find, "No real was flagged."
                ),
                _list("Fakes called real", detector.worst_misses, find, "No fake was missed."),
            ],
            detector=detector.name,
            is_open=at == 0,
        )
        for at, detector in enumerate(metrics.detectors)
    ]
    return Chapter("mistakes", "Worst mistakes", _MISTAKES_LEAD, blocks)


def _summary(detector: DetectorInfo) -> str:
    n_shown = len(detector.worst_false_alarms) + len(detector.worst_misses)
    return f"{detector.name} ({n_shown} shown)"


def _list(title: str, found: Sequence[Mistake], find: Finder, none: str) -> Wrongs:
    return Wrongs(title, [_wrong(one, find) for one in found], none)


def _wrong(one: Mistake, find: Finder) -> Wrong:
    made = " · ".join(part for part in (one.corpus, one.generator, one.dataset) if part)
    return Wrong(one.filepath or "no file name", made, _score(one), find(one))


def _score(one: Mistake) -> str:
    if one.pred_prob is not None:
        return f"score {formatting.figure(one.pred_prob)}"
    return formatting.UNDEFINED if one.logit is None else f"logit {one.logit:.2f}"
