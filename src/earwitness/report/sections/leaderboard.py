"""Who stands where, and every slice's figures."""

from __future__ import annotations

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Metrics, Slice
from earwitness.report import formatting
from earwitness.report.charts.forest import Row as Line
from earwitness.report.charts.forest import forest_chart
from earwitness.report.charts.renderer import draw_inline
from earwitness.report.headline import OF_CHANCE
from earwitness.report.ranking import Standings, figures_of, rank_detectors
from earwitness.report.tables import (
    EMPTY,
    Block,
    Chapter,
    Figure,
    Folded,
    Gallery,
    Row,
    Table,
    count_cell,
    estimate_cell,
    estimate_columns,
    interval_notes,
    text_cell,
)

_SHOWN = ("auroc", "eer", "balanced_accuracy", "recall", "specificity", "tpr_at_fpr_1pct")
_IN_SLICES = ("auroc", "eer", "balanced_accuracy", "recall", "specificity", "f1_macro")
_RATES = ("recall", "specificity")
_MOST_SLICES = 800
_NOTES = {
    "auroc": "How often a fake scores above a real. The dashed line is chance.",
    "balanced_accuracy": "The mean of recall and specificity. The dashed line is chance.",
    "recall": "The share of fakes that are called fake.",
    "specificity": "The share of reals that are called real.",
}
_KINDS = {
    "overall": "overall",
    "dataset": "data set",
    "corpus": "corpus",
    "generator": "generator",
    "sonics": "SONICS part",
    "column": "column",
}


def leaderboard(metrics: Metrics) -> Chapter:
    """Return the leaderboard; without figures over all items, the means it is ordered by."""
    standings = rank_detectors(metrics)
    blocks: list[Block] = [Gallery(_forests(metrics, standings))]
    overall = {part.detector: part for part in metrics.where(kind="overall")}
    if overall:
        order = [place.detector for place in standings.places if place.detector in overall]
        blocks.append(_board(metrics, [overall[name] for name in order]))
        blocks.append(Folded("All figures, over all items", [_everything(metrics, overall)]))
    blocks.append(Folded("Every slice: data sets, corpora, generators", [_slices(metrics)]))
    return Chapter("leaderboard", "Leaderboard", _lead(metrics, standings), blocks)


def _lead(metrics: Metrics, standings: Standings) -> str:
    name = formatting.short(standings.metric, metrics.metrics)
    if standings.is_mean:
        return (
            f"In order of mean {name} over pairs of a set of reals and a set of fakes, each pair "
            "counting the same. Counts give no intervals, so small differences mean nothing."
            if metrics.where(kind="grid")
            else f"In order of mean {name} over data sets, each counting the same."
        )
    share = f"{100 * metrics.provenance.settings.confidence:g} %"
    return (
        f"In order of {name} over all scored items, each counted once. Brackets are {share} "
        "intervals over groups: a track and what was made from it count once. A dot is a figure, "
        "the bar its interval; a hollow dot has none."
    )


def _forests(metrics: Metrics, standings: Standings) -> list[Figure]:
    """Return what detectors are ordered by, and the two rates behind it, in the same order."""
    ordered = {place.detector: place.estimate for place in standings.places}
    alone = _alone(metrics) if standings.metric == "auroc" else {}
    figures = [_forest(metrics, standings.metric, ordered, alone, is_mean=standings.is_mean)]
    for metric in _RATES:
        found = figures_of(metrics, metric)
        if metric != standings.metric and any(one.is_defined for one in found.values()):
            own = {name: found[name] for name in ordered}
            figures.append(_forest(metrics, metric, own, {}, is_mean=standings.is_mean))
    return figures


def _alone(metrics: Metrics) -> dict[str, Estimate]:
    """Return what files alone give away over all items, by what that is called."""
    overall = [one for one in metrics.baselines if one.kind == "overall"]
    return {formatting.BASELINES[one.baseline]: one.auroc for one in overall}


def _forest(
    metrics: Metrics,
    metric: str,
    found: dict[str, Estimate],
    alone: dict[str, Estimate],
    *,
    is_mean: bool,
) -> Figure:
    name = formatting.short(metric, metrics.metrics)
    lines = [
        Line(
            *(who, one.value, one.low, one.high, f"{who}: {name} {formatting.tell(one)}"),
            is_aside=is_aside,
        )
        for part, is_aside in ((found, False), (alone, True))
        for who, one in part.items()
    ]
    title = f"mean {name}" if is_mean else name
    chance = 0.5 if metric in OF_CHANCE else None
    rows = [Row([text_cell(who), estimate_cell(one)], who) for who, one in found.items()]
    foot = [Row([text_cell(who), estimate_cell(one)]) for who, one in alone.items()]
    return Figure(
        title=f"{title[0].upper()}{title[1:]}",
        pictures=[
            draw_inline(
                forest_chart(lines, title=title, chance=chance),
                told=f"{title} of each detector: " + "; ".join(line.told for line in lines),
            )
        ],
        note=_NOTES[metric],
        tables=[Table(title, ["detector", title], rows, interval_notes(found.values()), foot=foot)],
    )


def _board(metrics: Metrics, parts: list[Slice]) -> Table:
    names, notes = estimate_columns(_SHOWN, metrics.metrics, [part.estimates for part in parts])
    rows = []
    for part in parts:
        covered = part.coverage
        figures = [estimate_cell(part.estimates.get(name)) for name in names]
        counts = (covered.n_scored, covered.n_groups, covered.n_lost)
        cells = [text_cell(part.detector, look="name"), *figures, *map(count_cell, counts)]
        rows.append(Row(cells, part.detector))
    foot = [_alone_row(name, found, names) for name, found in _alone(metrics).items()]
    if metrics.baselines:
        notes.append(formatting.OF_BASELINES)
    labels = [formatting.short(name, metrics.metrics) for name in names]
    shown = [part.estimates[name] for part in parts for name in names if name in part.estimates]
    return Table(
        "Detectors over all items",
        ["detector", *labels, "items", "groups", "lost"],
        rows,
        [*interval_notes(shown), *notes],
        foot=foot,
    )


def _alone_row(called: str, found: Estimate, names: list[str]) -> Row:
    figures = [estimate_cell(found) if name == "auroc" else EMPTY for name in names]
    return Row(
        [text_cell(called), *figures, count_cell(found.n_items), count_cell(found.n_groups), EMPTY]
    )


def _everything(metrics: Metrics, overall: dict[str, Slice]) -> Table:
    rows = [
        Row(
            [
                text_cell(label),
                *(estimate_cell(part.estimates.get(name)) for part in overall.values()),
            ]
        )
        for name, label in metrics.metrics.items()
    ]
    return Table("All figures over all items", ["figure", *overall], rows)


def _slices(metrics: Metrics) -> Table:
    parts = [part for part in metrics.slices if part.kind in _KINDS]
    left_out = len(parts) - _MOST_SLICES
    parts = parts[:_MOST_SLICES]
    names, notes = estimate_columns(_IN_SLICES, metrics.metrics, [p.estimates for p in parts])
    if left_out > 0:
        notes.append(f"{left_out} more slices are in metrics.json and metrics.csv.")
    rows = [_slice_row(part, names) for part in parts]
    columns = ["slice", "kind", "detector", *(formatting.short(n, metrics.metrics) for n in names)]
    shown = [p.estimates[n] for p in parts for n in names if n in p.estimates]
    return Table(
        "Every slice",
        [*columns, "items", "groups", "lost"],
        rows,
        [*interval_notes(shown), *notes],
        texts=3,
        has_filter=True,
    )


def _slice_row(part: Slice, names: list[str]) -> Row:
    covered = part.coverage
    counts = (covered.n_scored, covered.n_groups, covered.n_lost)
    cells = [
        text_cell(part.name, look="name"),
        text_cell(_KINDS[part.kind]),
        text_cell(part.detector, look="name"),
        *(estimate_cell(part.estimates.get(name)) for name in names),
        *map(count_cell, counts),
    ]
    return Row(cells, part.detector)
