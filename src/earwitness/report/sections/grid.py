"""The crossed grid: each corpus of reals against each generator's fakes, a heat map a detector."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Metrics, Slice
from earwitness.report import formatting
from earwitness.report.charts.matrices import GIVEN_AWAY, SHARES, Cell, heatmap_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.tables import (
    Block,
    Chapter,
    Figure,
    Gallery,
    Remark,
    Remarks,
    Row,
    Table,
    estimate_cell,
    estimate_columns,
    interval_notes,
    text_cell,
)
from earwitness.splits.grouping import ALL

_BY = ("auroc", "balanced_accuracy")
_SHOWN = ("auroc", "eer", "tpr_at_fpr_1pct", "tpr_at_fpr_5pct", "balanced_accuracy")
_MOST_CELLS = 400
_LEAD = (
    "Fakes of one generator against the reals of one corpus: what sets of one class cannot say. "
    "The figure is {name}, 1 is perfect, 0.5 is a coin."
)


def grid(metrics: Metrics) -> Chapter | None:
    """Return a heat map a detector; ``None`` without reals and fakes to cross."""
    cells = metrics.where(kind="grid")
    metric = next((m for m in _BY if any(s.estimates[m].is_defined for s in cells)), None)
    if metric is None:
        return None
    name = formatting.short(metric, metrics.metrics)
    figures = []
    for detector in metrics.detectors:
        own = sorted(metrics.where(kind="grid", detector=detector.name), key=_made_by)
        if own:
            figures.append(_figure(detector.name, own, metric, metrics))
    alone = _alone(metrics)
    blocks: list[Block] = [Gallery([*figures, *alone])]
    if metrics.baselines and not alone:
        why = "; ".join(dict.fromkeys(filter(None, (b.auroc.reason for b in metrics.baselines))))
        told = f"What files give away unheard could not be told for any of these pairs: {why}."
        blocks.append(Remarks([Remark(told)]))
    if metrics.basis == "counts":
        told = (
            "Made from counts: the recall on a set of fakes and the specificity on a set of reals, "
            "averaged."
        )
        blocks.insert(0, Remarks([Remark(told)]))
    return Chapter("grid", "Reals against fakes", _LEAD.format(name=name), blocks)


def _figure(detector: str, cells: Sequence[Slice], metric: str, metrics: Metrics) -> Figure:
    drawn = cells[:_MOST_CELLS]
    chart = heatmap_chart([_cell(part, metric) for part in drawn], steps=SHARES)
    name = formatting.short(metric, metrics.metrics)
    defined = [part for part in cells if part.estimates[metric].is_defined]
    low = min(defined, key=lambda part: part.estimates[metric].number, default=None)
    told = f"{name} of {detector} for {len(cells)} pairs of a corpus of reals and a generator"
    note = ""
    if low is not None:
        note = f"Lowest: {low.name}, {formatting.brief(low.estimates[metric])}."
        told = f"{told}. {note}"
    if len(drawn) < len(cells):
        note += f" The first {len(drawn)} of {len(cells)} cells are drawn."
    return Figure(
        title=detector,
        pictures=[draw_inline(chart, told=told)],
        note=note,
        tables=[_table(detector, cells, metrics)],
        detector=detector,
    )


def _alone(metrics: Metrics) -> list[Figure]:
    """Return a heat map of each baseline that goes by files alone."""
    figures = []
    for baseline, called in formatting.BASELINES.items():
        cells = [b for b in metrics.baselines if b.kind == "grid" and b.baseline == baseline]
        own = sorted(cells, key=lambda one: one.keys.get("fake_corpus", ""))
        if any(one.auroc.is_defined for one in own):
            drawn = [_drawn(one.name, one.keys, one.auroc) for one in own[:_MOST_CELLS]]
            rows = [
                Row([text_cell(one.name, look="name"), estimate_cell(one.auroc)]) for one in own
            ]
            title = f"Reals against fakes, {called}"
            told = (
                f"AUROC of the {called}, for {len(own)} pairs of a corpus of reals and a generator"
            )
            figures.append(
                Figure(
                    title=called,
                    pictures=[draw_inline(heatmap_chart(drawn, steps=GIVEN_AWAY), told=told)],
                    note="No detector: what files give away unheard, the less the better.",
                    tables=[Table(title, ["reals × fakes", "AUROC"], rows)],
                )
            )
    return figures


def _alone_by_name(metrics: Metrics) -> dict[str, dict[str, Estimate]]:
    """Return the AUROCs of baselines, by what they are called and cell; none where one lacks."""
    names = {part.name for part in metrics.where(kind="grid")}
    found: dict[str, dict[str, Estimate]] = {}
    for one in metrics.baselines:
        if one.kind == "grid":
            found.setdefault(f"AUROC, {formatting.BASELINES[one.baseline]}", {})[one.name] = (
                one.auroc
            )
    return {called: own for called, own in found.items() if own.keys() == names}


def _made_by(part: Slice) -> str:
    """Return what puts generators of one corpus below each other."""
    return part.keys.get("fake_corpus", "")


def _cell(part: Slice, metric: str) -> Cell:
    return _drawn(part.name, part.keys, part.estimates[metric])


def _drawn(name: str, keys: dict[str, str], found: Estimate) -> Cell:
    corpus, made = keys.get("real_corpus", ""), keys.get("generator", "")
    told = f"{name}: {formatting.tell(found)}, {formatting.tell_size(found)}"
    row = name.split(" × ", 1)[-1] if " × " in name else made
    return Cell(row, "all reals" if corpus == ALL else corpus, found.value, told)


def _table(detector: str, cells: Sequence[Slice], metrics: Metrics) -> Table:
    names, notes = estimate_columns(_SHOWN, metrics.metrics, [part.estimates for part in cells])
    alone = _alone_by_name(metrics)
    rows = [
        Row(
            [
                text_cell(part.name, look="name"),
                *(estimate_cell(part.estimates.get(name)) for name in names),
                *(estimate_cell(found[part.name]) for found in alone.values()),
            ],
            detector,
        )
        for part in cells
    ]
    labels = [*(formatting.short(name, metrics.metrics) for name in names), *alone]
    shown = [part.estimates[name] for part in cells for name in names]
    return Table(
        f"Reals against fakes, {detector}",
        ["reals × fakes", *labels],
        rows,
        [*interval_notes(shown), *notes],
    )
