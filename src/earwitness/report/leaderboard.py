"""Sections on metrics: the leaderboard with all slices, and the grid of reals against fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from markupsafe import Markup

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Baseline, Metrics
from earwitness.evaluation.slices import Slice
from earwitness.report import formatting
from earwitness.report.blocks import Block, ChartCard, Details, Gallery, Note, Section
from earwitness.report.charts.curves import Interval, forest_chart
from earwitness.report.charts.matrices import GIVEN_AWAY, SHARES, HeatCell, Steps, heatmap_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.headline import WITH_CHANCE
from earwitness.report.metric_tables import metric_table
from earwitness.report.ranking import Ranking, rank_detectors, values_by_detector
from earwitness.report.tables import (
    Cell,
    Column,
    Table,
    estimate_cell,
    interval_notes,
    make_row,
    name_cell,
    number_columns,
    text_cell,
)
from earwitness.splits.grouping import ALL

_RATES = ("recall", "specificity", "tpr_at_fpr_1pct")
_OVERALL = ("auroc", "eer", "balanced_accuracy", *_RATES, "coverage")
_IN_SLICES = ("auroc", "eer", "balanced_accuracy", "recall", "specificity", "f1_macro")
_BASELINE_NOTE = (
    "“File alone” is a baseline and not a detector: a classifier on length, rate, codec, "
    "tags and level (container), or on bandwidth, silence and stereo as well (channel), fitted on "
    "other groups of the same data sets. A detector that does not exceed it may rely on the same "
    "properties."
)


def leaderboard(metrics: Metrics) -> Section:
    """Return the leaderboard and the metrics of all slices."""
    ranking = rank_detectors(metrics)
    blocks: list[Block] = [Gallery(_forests(metrics, ranking))]
    overall = {part.detector: part for part in metrics.where(kind="overall")}
    if overall:
        parts = [overall[place.detector] for place in ranking.places if place.detector in overall]
        table = metric_table(
            "Detectors over all items",
            parts,
            _OVERALL,
            metrics.metrics,
            lead={Column("detector", "text"): lambda part: name_cell(part.detector)},
            baselines=[one for one in metrics.baselines if one.kind == "overall"],
            notes=[_BASELINE_NOTE] if metrics.baselines else [],
        )
        blocks += [table, Details("All metrics over all items", [_all_metrics(metrics, overall)])]
    blocks.append(Details("All slices: data sets, corpora, generators", [_slices(metrics)]))
    return Section("leaderboard", "Leaderboard", _lead(metrics, ranking), blocks)


def _lead(metrics: Metrics, ranking: Ranking) -> str:
    name = formatting.metric_name(ranking.metric, metrics.metrics)
    if not ranking.is_mean:
        confidence = formatting.exact_percent(metrics.provenance.settings.confidence)
        return (
            f"Ordered by {name} over all scored items, each counted once. Brackets are "
            f"{confidence} confidence intervals over groups: a track and everything made from it "
            "count once. A dot is a value and the bar its interval; a hollow dot has none."
        )
    if metrics.where(kind="grid"):
        return (
            f"Ordered by mean {name} over pairs of a set of reals and a set of fakes, all pairs "
            "weighted equally. Counts give no intervals, so small differences mean nothing."
        )
    return f"Ordered by mean {name} over data sets, all weighted equally."


def _forests(metrics: Metrics, ranking: Ranking) -> list[ChartCard]:
    """Return charts of the ranking metric and of the two rates, in the same order."""
    ordered = {place.detector: place.estimate for place in ranking.places}
    baselines = {
        formatting.BASELINES[one.baseline]: one.auroc
        for one in metrics.baselines
        if one.kind == "overall" and ranking.metric == "auroc"
    }
    cards = [_forest(metrics, ranking, ranking.metric, ordered, baselines)]
    for metric in ("recall", "specificity"):
        found = values_by_detector(metrics, metric)
        if metric != ranking.metric and any(one.is_defined for one in found.values()):
            own = {name: found[name] for name in ordered}
            cards.append(_forest(metrics, ranking, metric, own, {}))
    return cards


_NOTES = {
    "auroc": "How often a fake scores above a real. The dashed line is chance.",
    "balanced_accuracy": "The mean of recall and specificity. The dashed line is chance.",
    "recall": "The share of fakes that are called fake.",
    "specificity": "The share of reals that are not called fake.",
}


def _forest(
    metrics: Metrics,
    ranking: Ranking,
    metric: str,
    found: dict[str, Estimate],
    baselines: dict[str, Estimate],
) -> ChartCard:
    name = formatting.metric_name(metric, metrics.metrics)
    intervals = [
        Interval(
            *(who, one.value, one.low, one.high),
            tooltip=f"{who}: {name} {formatting.full_estimate(one)}",
            is_baseline=who in baselines,
        )
        for part in (found, baselines)
        for who, one in part.items()
    ]
    title = f"mean {name}" if ranking.is_mean else name
    chart = forest_chart(intervals, title=title, chance=0.5 if metric in WITH_CHANCE else None)
    label = f"{title} of each detector: {'; '.join(one.tooltip for one in intervals)}"
    table = Table(
        title,
        [Column("detector", "text"), Column(title)],
        [make_row(who, one, detector=who) for who, one in found.items()],
        interval_notes(found.values()),
        foot=[make_row(*baseline) for baseline in baselines.items()],
    )
    return ChartCard(
        title=f"{title[0].upper()}{title[1:]}",
        charts=[draw_inline(chart, aria_label=label)],
        note=_NOTES[metric],
        tables=[table],
    )


def _all_metrics(metrics: Metrics, overall: dict[str, Slice]) -> Table:
    rows = [
        make_row(label, *(estimate_cell(part.estimates.get(name)) for part in overall.values()))
        for name, label in metrics.metrics.items()
    ]
    columns = [Column("metric", "text"), *number_columns(*overall)]
    return Table("All metrics over all items", columns, rows)


_MAX_SLICES = 800
_KINDS = {
    "overall": "overall",
    "dataset": "data set",
    "corpus": "corpus",
    "generator": "generator",
    "sonics": "SONICS part",
    "column": "column",
}


def _slices(metrics: Metrics) -> Table:
    parts = [part for part in metrics.slices if part.kind in _KINDS]
    table = metric_table(
        "All slices",
        parts[:_MAX_SLICES],
        _IN_SLICES,
        metrics.metrics,
        lead={
            Column("slice", "text"): lambda part: name_cell(part.name),
            Column("kind", "text"): lambda part: text_cell(_KINDS[part.kind]),
            Column("detector", "text"): lambda part: name_cell(part.detector),
        },
        has_filter=True,
    )
    n_more = len(parts) - _MAX_SLICES
    more = [f"{n_more} more slices are in metrics.json and metrics.csv."] if n_more > 0 else []
    return replace(table, notes=[*table.notes, *more])


_GRID_METRICS = ("auroc", "eer", "tpr_at_fpr_1pct", "tpr_at_fpr_5pct", "balanced_accuracy")
_MAX_CELLS = 400


def grid(metrics: Metrics) -> Section | None:
    """Return a heat map per detector; ``None`` without pairs of reals and fakes."""
    cells = metrics.where(kind="grid")
    metric = next((m for m in WITH_CHANCE if any(s.estimates[m].is_defined for s in cells)), None)
    if metric is None:
        return None
    name = formatting.metric_name(metric, metrics.metrics)
    cards = [
        _grid_card(detector.name, own, metric, metrics)
        for detector in metrics.detectors
        if (own := metrics.where(kind="grid", detector=detector.name))
    ]
    baselines = _baselines(metrics)
    blocks: list[Block] = [Gallery([*cards, *baselines])]
    if metrics.baselines and not baselines:
        reasons = dict.fromkeys(filter(None, (b.auroc.reason for b in metrics.baselines)))
        blocks.append(Note(f"The baselines are undefined for all pairs: {'; '.join(reasons)}."))
    if metrics.basis == "counts":
        note = (
            "Computed from counts: the mean of the recall on a set of fakes and the specificity "
            "on a set of reals."
        )
        blocks.insert(0, Note(note))
    lead = (
        f"{name} of each generator's fakes against each corpus's reals, within and across data "
        "sets; 1 is perfect, 0.5 is chance."
    )
    return Section("grid", "Reals against fakes", lead, blocks)


def _grid_card(detector: str, cells: Sequence[Slice], metric: str, metrics: Metrics) -> ChartCard:
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
    return ChartCard(
        title=detector,
        charts=[_heatmap([(one, one.estimates[metric]) for one in cells], SHARES, label)],
        note=note,
        tables=[_grid_table(detector, cells, metrics)],
        detector=detector,
    )


def _heatmap(
    found: Sequence[tuple[Slice | Baseline, Estimate]], steps: Steps, label: str
) -> Markup:
    cells = []
    for one, estimate in found[:_MAX_CELLS]:
        corpus = one.keys.get("real_corpus", "")
        _, cross, fakes = one.name.partition(" × ")
        size = formatting.sample_size(estimate)
        cells.append(
            HeatCell(
                fakes if cross else one.keys.get("generator", ""),
                "all reals" if corpus == ALL else corpus,
                estimate.value,
                f"{one.name}: {formatting.full_estimate(estimate)}, {size}",
            )
        )
    return draw_inline(heatmap_chart(cells, steps=steps), aria_label=label)


def _baselines(metrics: Metrics) -> list[ChartCard]:
    """Return a heat map of each metadata baseline."""
    cards = []
    for baseline, name in formatting.BASELINES.items():
        cells = [b for b in metrics.baselines if b.kind == "grid" and b.baseline == baseline]
        cells.sort(key=_fake_corpus)
        if not any(one.auroc.is_defined for one in cells):
            continue
        label = f"AUROC of {name}, for {len(cells)} pairs of real corpus and generator"
        rows = [make_row(name_cell(one.name), one.auroc) for one in cells]
        columns = [Column("reals × fakes", "text"), Column("AUROC")]
        cards.append(
            ChartCard(
                title=name,
                charts=[_heatmap([(one, one.auroc) for one in cells], GIVEN_AWAY, label)],
                note="A baseline on file properties: a high AUROC means a shortcut in the data.",
                tables=[Table(f"Reals against fakes, {name}", columns, rows)],
            )
        )
    return cards


def _fake_corpus(part: Slice | Baseline) -> str:
    """Sort key that keeps generators of one corpus together."""
    return part.keys.get("fake_corpus", "")


def _grid_table(detector: str, cells: Sequence[Slice], metrics: Metrics) -> Table:
    """Return the metrics of each cell, with baselines that are defined for every cell."""
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
        _GRID_METRICS,
        metrics.metrics,
        lead={Column("reals × fakes", "text"): lambda part: name_cell(part.name)},
        trail={Column(name): lookup(own) for name, own in by_label.items() if own.keys() == names},
    )
