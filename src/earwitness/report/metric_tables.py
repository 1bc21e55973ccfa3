"""Tables of metrics for terminal and page, and ``metrics.csv``.

Rows without a score are excluded from metrics and counted as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from earwitness.core.estimate import Estimate
from earwitness.core.io import atomic_write
from earwitness.evaluation.compare import Line, Pair
from earwitness.evaluation.drift import Drift, DriftLine
from earwitness.evaluation.estimates import labels as metric_labels
from earwitness.evaluation.schema import (
    Baseline,
    Metrics,
    OperatingPoint,
    Transfer,
)
from earwitness.evaluation.slices import Slice, StratumThreshold
from earwitness.metrics.measures import METRICS
from earwitness.report import formatting
from earwitness.report.formatting import BASELINES
from earwitness.report.tables import (
    EMPTY,
    Cell,
    Column,
    Row,
    Table,
    choose_columns,
    count_cell,
    estimate_cell,
    make_row,
    name_cell,
    number_cell,
    number_columns,
    share_cell,
    text_cell,
    text_columns,
    threshold_cell,
)

Columns = Mapping[Column, Callable[[Slice], Cell]]
"""Column → function that makes its cell of a slice."""

_COUNTS: Columns = {
    Column("items", "count"): lambda part: count_cell(part.coverage.n_scored),
    Column("groups", "count"): lambda part: count_cell(part.coverage.n_groups),
    Column("lost", "count"): lambda part: count_cell(part.coverage.n_lost),
}
_ON_TERMINAL = ("auroc", "eer", "recall", "specificity")


def write_estimates(metrics: Metrics, path: str | Path) -> None:
    """Write ``metrics.csv``, one row per slice and metric, atomically.

    Undefined cells are empty and ``reason`` says why.
    """
    rows = [
        {"detector": part.detector, "kind": part.kind, "slice": part.name, "metric": name}
        | estimate.model_dump()
        for part in metrics.slices
        for name, estimate in part.estimates.items()
    ]
    rows += [
        {"detector": BASELINES[one.baseline], "kind": one.kind, "slice": one.name}
        | {"metric": "auroc", **one.auroc.model_dump()}
        for one in metrics.baselines
    ]
    schema = {
        **dict.fromkeys(("detector", "kind", "slice", "metric"), pl.String),
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        **dict.fromkeys(("n_items", "n_groups"), pl.Int64),
        **dict.fromkeys(("method", "reason", "conditional_on"), pl.String),
    }
    with atomic_write(Path(path)) as temporary:
        pl.DataFrame(rows, schema=schema).write_csv(temporary)


def metric_table(
    caption: str,
    parts: Sequence[Slice],
    metrics: Sequence[str],
    labels: dict[str, str],
    *,
    lead: Columns,
    trail: Columns = _COUNTS,
    baselines: Sequence[Baseline] = (),
    notes: Sequence[str] = (),
    has_filter: bool = False,
) -> Table:
    """Return a table with one row per slice and the metrics that any slice has; baselines below."""
    names, missing = choose_columns(metrics, labels, [part.estimates for part in parts])
    rows = [
        make_row(
            *(cell(part) for cell in lead.values()),
            *(estimate_cell(part.estimates.get(name)) for name in names),
            *(cell(part) for cell in trail.values()),
            detector=part.detector,
        )
        for part in parts
    ]
    labelled = number_columns(*(formatting.metric_name(name, labels) for name in names))
    columns = [*lead, *labelled, *trail]
    foot = [_baseline_row(one, columns) for one in baselines]
    return Table(caption, columns, rows, [*missing, *notes], has_filter=has_filter, foot=foot)


def _baseline_row(baseline: Baseline, columns: Sequence[Column]) -> Row:
    found = baseline.auroc
    cells = {
        columns[0].label: text_cell(BASELINES[baseline.baseline]),
        "AUROC": estimate_cell(found),
        "items": count_cell(found.n_items),
        "groups": count_cell(found.n_groups),
    }
    return Row([cells.get(column.label, EMPTY) for column in columns])


def estimates_tables(slices: Iterable[Slice], baselines: Sequence[Baseline] = ()) -> list[Table]:
    """Return the tables for the terminal, one per detector, with baselines over all items."""
    by_detector: dict[str, list[Slice]] = {}
    for part in slices:
        by_detector.setdefault(part.detector, []).append(part)
    overall = [one for one in baselines if one.kind == "overall"]
    lead: Columns = {Column("slice", "text"): lambda part: name_cell(part.name), **_COUNTS}
    return [
        metric_table(
            detector,
            parts,
            [*_ON_TERMINAL, *(name for name in parts[0].estimates if name not in METRICS)],
            metric_labels(),
            lead=lead,
            trail={},
            baselines=overall,
        )
        for detector, parts in by_detector.items()
    ]


def comparison_tables(pair: Pair) -> list[Table]:
    """Return the differences between two detectors, one table per data set."""
    by_dataset = groupby(pair.lines, key=lambda line: line.dataset)
    return [_differences(dataset, list(lines)) for dataset, lines in by_dataset]


def _differences(dataset: str, lines: Sequence[Line]) -> Table:
    tests: dict[str, list[str]] = {}
    for line in lines:
        tests.setdefault(line.difference.method or line.difference.reason or "", []).append(
            line.metric
        )
    size = f"{lines[0].n_items} items, {lines[0].n_groups} groups"
    columns = [Column("metric", "text"), *number_columns("first", "second", "difference", "p")]
    notes = [f"{', '.join(names)}: {test}" for test, names in tests.items()]
    rows = [
        make_row(
            line.metric,
            *(Cell(formatting.number(value), value) for value in (line.first, line.second)),
            _difference_cell(line.difference.value, line.difference.low, line.difference.high),
            *(Cell(formatting.p_value(p), p) for p in (line.difference.p, line.p_holm)),
        )
        for line in lines
    ]
    return Table(f"{dataset}: {size}", [*columns, Column("Holm")], rows, notes)


def drift_table(drift: Drift, *, level: float = 0.05, least: float = 0.0) -> Table:
    """Return what was compared between two runs, and whether it has moved."""
    columns = [
        *text_columns("detector", "compared", "first", "second"),
        *number_columns("shift", "p", "Holm"),
        *text_columns("verdict"),
    ]
    rows = [
        make_row(
            line.detector or "files",
            *map(text_cell, (line.tested, _summary(line, line.first), _summary(line, line.second))),
            Cell(formatting.number(line.shift.value, signed=True), line.shift.value),
            Cell(formatting.p_value(line.shift.p), line.shift.p, line.shift.reason or ""),
            Cell(formatting.p_value(line.p_holm), line.p_holm),
            Cell("moved", tone="warning") if line.has_moved(level, least) else EMPTY,
        )
        for line in drift.lines
    ]
    how = "item by item" if drift.is_paired else "as independent samples"
    names: dict[str, list[str]] = {}
    for line in drift.lines:
        names.setdefault(line.statistic, []).append(line.tested)
    notes = [
        f"shift of {', '.join(dict.fromkeys(tested))}: {statistic}"
        for statistic, tested in names.items()
    ]
    return Table(f"compared {how}, second minus first", columns, rows, notes)


def _summary(line: DriftLine, value: float) -> str:
    if line.summary != "share":
        return f"{line.summary} {value:.4g}"
    share = formatting.percent(value)
    return share if line.category is None else f"{line.category}: {share}"


def _difference_cell(value: float | None, low: float | None, high: float | None) -> Cell:
    """Return a signed difference with its interval, if both ends are defined."""
    text = formatting.number(value, signed=True)
    ends = [formatting.number(end, signed=True) for end in (low, high)]
    if formatting.UNDEFINED not in ends:
        text += f" [{', '.join(ends)}]"
    return Cell(text, value)


def operating_table(metrics: Metrics) -> Table:
    """Return threshold, false flags and precision by prevalence of each detector."""
    points = metrics.operating_points
    prevalences = [entry.prevalence for entry in points[0].prevalences] if points else []
    claims = [
        f"{formatting.exact_percent(claim.fpr)} takes {formatting.count(claim.n_reals)}"
        for claim in (points[0].claims if points else [])
    ]
    return Table(
        "Precision of flags at the decision threshold",
        [
            Column("detector", "text"),
            Column("threshold"),
            Column("false flags per 100 000", short="false flags\nper 100 000"),
            *(
                Column(f"precision at {share} fakes", short=f"precision\nat {share}")
                for share in map(formatting.exact_percent, prevalences)
            ),
        ],
        [Row(_operating_cells(point), point.detector) for point in points],
        [
            "precision at 1 %: share of flags that are correct where 1 % of the input is fake",
            "independent reals, none of them flagged, needed to claim a false positive rate: "
            + "; ".join(claims),
        ],
    )


def _operating_cells(point: OperatingPoint) -> list[Cell]:
    found = point.threshold
    threshold = text_cell(point.rule) if found is None else threshold_cell(found)
    precisions = [share_cell(entry.precision) for entry in point.prevalences]
    return [name_cell(point.detector), threshold, _flags(point.false_flags_per_100k), *precisions]


def _flags(estimate: Estimate) -> Cell:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return number_cell(None, reason=estimate.reason or "")
    ends = (estimate.low, estimate.value, estimate.high)
    low, text, high = (formatting.count(round(n)) for n in ends)
    if estimate.value == 0:
        return Cell(f"under {high}", 0)
    return Cell(text, estimate.value, f"{low} to {high}", f"{text}\n{low}–{high}")


def transfer_table(transfers: Sequence[Transfer]) -> Table:
    """Return one row per detector and pair of corpora, with notes on missing thresholds."""
    fitted = [one for one in transfers if one.threshold is not None]
    missing = dict.fromkeys(
        f"not fitted on {one.fitted_on}: {one.reason}" for one in transfers if one.reason
    )
    rules = ", ".join(dict.fromkeys(one.rule for one in transfers))
    return Table(
        f"Threshold transfer between corpora ({rules})",
        [
            *text_columns("detector", "fitted on", "applied to"),
            Column("threshold"),
            Column("reals flagged", short="reals\nflagged"),
            Column("fakes found", short="fakes\nfound"),
        ],
        [
            make_row(
                *map(name_cell, (one.detector, one.fitted_on, one.applied_to)),
                threshold_cell(one.threshold),
                one.fpr,
                one.recall,
                detector=one.detector,
            )
            for one in fitted
        ],
        list(missing),
    )


def strata_table(strata: Sequence[StratumThreshold]) -> Table:
    """Return one row per detector and stratum; without a threshold, with the reason."""
    rules = ", ".join(dict.fromkeys(one.rule for one in strata))
    return Table(
        f"Thresholds within strata ({rules})",
        [
            *text_columns("detector", *strata[0].stratum),
            *number_columns("threshold", "fitted on", "reals flagged", "fakes found"),
        ],
        [
            make_row(
                *map(name_cell, (one.detector, *one.stratum.values())),
                threshold_cell(one.threshold),
                one.n_fitted,
                one.fpr,
                one.recall,
                detector=one.detector,
            )
            for one in strata
        ],
    )
