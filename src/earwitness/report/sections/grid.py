"""The crossed grid: each corpus of reals against each generator's fakes, a heat map a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Baseline, Metrics
from earwitness.evaluation.slice_schema import Slice
from earwitness.report import formatting
from earwitness.report.blocks import Block, Figure, Gallery, Note, Section
from earwitness.report.charts.matrices import GIVEN_AWAY, SHARES, HeatCell, Steps, heatmap_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.metric_tables import metric_table
from earwitness.report.tables import Cell, Column, Row, Table, estimate_cell, name_cell
from earwitness.splits.grouping import ALL

_RANKED_BY = ("auroc", "balanced_accuracy")
_METRICS = ("auroc", "eer", "tpr_at_fpr_1pct", "tpr_at_fpr_5pct", "balanced_accuracy")
_MAX_CELLS = 400


def grid(metrics: Metrics) -> Section | None:
    """Return a heat map per detector; ``None`` without reals and fakes to cross."""
    cells = metrics.where(kind="grid")
    metric = next((m for m in _RANKED_BY if any(s.estimates[m].is_defined for s in cells)), None)
    if metric is None:
        return None
    name = formatting.metric_name(metric, metrics.metrics)
    figures = [
        _figure(detector.name, own, metric, metrics)
        for detector in metrics.detectors
        if (own := metrics.where(kind="grid", detector=detector.name))
    ]
    baselines = _baselines(metrics)
    blocks: list[Block] = [Gallery([*figures, *baselines])]
    if metrics.baselines and not baselines:
        reasons = dict.fromkeys(filter(None, (b.auroc.reason for b in metrics.baselines)))
        blocks.append(
            Note(f"The metadata baselines are undefined for all pairs: {'; '.join(reasons)}.")
        )
    if metrics.basis == "counts":
        note = (
            "Computed from counts: the mean of the recall on a set of fakes and the specificity "
            "on a set of reals."
        )
        blocks.insert(0, Note(note))
    lead = (
        "Fakes of one generator against reals of one corpus, which data sets of one class cannot "
        f"show. The metric is {name}; 1 is perfect, 0.5 is chance."
    )
    return Section("grid", "Reals against fakes", lead, blocks)


def _figure(detector: str, cells: Sequence[Slice], metric: str, metrics: Metrics) -> Figure:
    cells = sorted(cells, key=_fake_corpus)
    name = formatting.metric_name(metric, metrics.metrics)
    defined = [part for part in cells if part.estimates[metric].is_defined]
    low = min(defined, key=lambda part: part.estimates[metric].number, default=None)
    note = ""
    if low is not None:
        note = f"Lowest: {low.name}, {formatting.brief_estimate(low.estimates[metric])}."
    label = f"{name} of {detector} for {len(cells)} pairs of real corpus and generator. {note}"
    if len(cells) > _MAX_CELLS:
        note += f" The first {_MAX_CELLS} of {len(cells)} cells are shown."
    return Figure(
        title=detector,
        charts=[_heatmap([(one, one.estimates[metric]) for one in cells], SHARES, label)],
        note=note,
        tables=[_table(detector, cells, metrics)],
        detector=detector,
    )


def _heatmap(
    found: Sequence[tuple[Slice | Baseline, Estimate]], steps: Steps, label: str
) -> Markup:
    cells = [_cell(one.name, one.keys, estimate) for one, estimate in found[:_MAX_CELLS]]
    return draw_inline(heatmap_chart(cells, steps=steps), aria_label=label)


def _cell(name: str, keys: dict[str, str], found: Estimate) -> HeatCell:
    corpus = keys.get("real_corpus", "")
    row = name.split(" × ", 1)[-1] if " × " in name else keys.get("generator", "")
    tooltip = f"{name}: {formatting.full_estimate(found)}, {formatting.sample_size(found)}"
    return HeatCell(row, "all reals" if corpus == ALL else corpus, found.value, tooltip)


def _baselines(metrics: Metrics) -> list[Figure]:
    """Return a heat map of each metadata baseline."""
    figures = []
    for baseline, name in formatting.BASELINES.items():
        cells = [b for b in metrics.baselines if b.kind == "grid" and b.baseline == baseline]
        cells.sort(key=_fake_corpus)
        if not any(one.auroc.is_defined for one in cells):
            continue
        label = f"AUROC of {name}, for {len(cells)} pairs of real corpus and generator"
        rows = [Row([name_cell(one.name), estimate_cell(one.auroc)]) for one in cells]
        columns = [Column("reals × fakes", "text"), Column("AUROC")]
        figures.append(
            Figure(
                title=name,
                charts=[_heatmap([(one, one.auroc) for one in cells], GIVEN_AWAY, label)],
                note="A metadata baseline, not a detector: the lower, the better the data.",
                tables=[Table(f"Reals against fakes, {name}", columns, rows)],
            )
        )
    return figures


def _fake_corpus(part: Slice | Baseline) -> str:
    """Sort key that keeps generators of one corpus together."""
    return part.keys.get("fake_corpus", "")


def _table(detector: str, cells: Sequence[Slice], metrics: Metrics) -> Table:
    """Return the metrics of each cell and the AUROC of baselines that have one for every cell."""
    by_label: dict[str, dict[str, Estimate]] = {}
    for one in metrics.baselines:
        if one.kind == "grid":
            label = f"AUROC, {formatting.BASELINES[one.baseline]}"
            by_label.setdefault(label, {})[one.name] = one.auroc
    names = {part.name for part in metrics.where(kind="grid")}

    def lookup(found: dict[str, Estimate]) -> Callable[[Slice], Cell]:
        return lambda part: estimate_cell(found[part.name])

    return metric_table(
        f"Reals against fakes, {detector}",
        cells,
        _METRICS,
        metrics.metrics,
        lead={Column("reals × fakes", "text"): lambda part: name_cell(part.name)},
        trail={Column(name): lookup(own) for name, own in by_label.items() if own.keys() == names},
    )
