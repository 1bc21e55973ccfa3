"""Figures with intervals: on the terminal and as a CSV.

Conventions: a lone ``–`` is an undefined figure, and the reasons stand below the table; in the CSV
undefined cells are empty and ``reason`` says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.estimate import Estimate
from earwitness.core.io import atomic_write
from earwitness.evaluation.compare import Line, Pair
from earwitness.evaluation.estimates import labels
from earwitness.evaluation.schema import Baseline, Metrics, OperatingPoint, Slice
from earwitness.metrics.measures import METRICS
from earwitness.report import formatting
from earwitness.report.formatting import BASELINES

CSV_TYPES = {
    "detector": pl.String,
    "kind": pl.String,
    "slice": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_items": pl.Int64,
    "n_groups": pl.Int64,
    "method": pl.String,
    "reason": pl.String,
    "conditional_on": pl.String,
}
"""Columns of the CSV beside ``metrics.json``."""

SHOWN = ("auroc", "eer", "recall", "specificity")
_IN_ONE_LINE = 105
"""Columns that figures and intervals side by side take."""


def write_estimates(metrics: Metrics, path: str | Path) -> None:
    """Write the CSV, one row a slice and metric, atomically."""
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
    with atomic_write(Path(path)) as temporary:
        pl.DataFrame(rows, schema=CSV_TYPES).write_csv(temporary)


def estimates_tables(
    slices: Iterable[Slice], baselines: Sequence[Baseline] = (), *, width: int
) -> list[Table]:
    """Return the tables for the terminal, one a detector; what files alone give away beside it.

    An interval stands behind its figure where the terminal is wide enough, else below it.

    Args:
        slices: What to show.
        baselines: What to show of them: those over all items.
        width: Columns of the terminal; 80 do.
    """
    by_detector: dict[str, list[Slice]] = {}
    for part in slices:
        by_detector.setdefault(part.detector, []).append(part)
    is_wide = width >= _IN_ONE_LINE
    alone = [one for one in baselines if one.kind == "overall"]
    return [
        _estimates_table(name, parts, alone, is_wide=is_wide) for name, parts in by_detector.items()
    ]


def _estimates_table(
    detector: str, slices: Sequence[Slice], alone: Sequence[Baseline], *, is_wide: bool
) -> Table:
    gap = " " if is_wide else "\n"
    names = [*SHOWN, *(name for name in slices[0].estimates if name not in METRICS)]
    reasons = [part.estimates[name].reason for part in slices for name in names]
    reasons += [one.auroc.reason for one in alone]
    told = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    table = Table(
        title=Text(detector, style="bold"),
        title_justify="left",
        caption=Text(f"no interval or –: {told}" if told else ""),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, int(is_wide), 0, 0),
    )
    table.add_column("slice", overflow="fold", min_width=18)
    headings = [formatting.short(name, labels()) for name in names]
    for heading in ("items", "groups", "lost", *headings):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in slices:
        table.add_row(*_cells(part, names, gap))
        if part.kind == "overall":
            for one in alone:
                table.add_row(*_alone(one, gap), style="dim")
    return table


def comparison_tables(pair: Pair) -> list[Table]:
    """Return the tables of two detectors for the terminal, one a dataset, 80 columns wide."""
    by_dataset: dict[str, list[Line]] = {}
    for line in pair.lines:
        by_dataset.setdefault(line.dataset, []).append(line)
    return [_comparison_table(lines) for lines in by_dataset.values()]


def _comparison_table(lines: Sequence[Line]) -> Table:
    size = f"{lines[0].dataset}: {lines[0].n_items} items, {lines[0].n_groups} groups"
    tests: dict[str, list[str]] = {}
    for line in lines:
        told = line.difference.method or line.difference.reason or ""
        tests.setdefault(told, []).append(line.metric)
    table = Table(
        title=Text(size, style="bold"),
        title_justify="left",
        caption=Text("\n".join(f"{', '.join(names)}: {told}" for told, names in tests.items())),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("metric", no_wrap=True)
    for heading in ("first", "second", "difference", "p", "Holm"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*_compared(line))
    return table


def _cells(part: Slice, names: Sequence[str], gap: str) -> list[Text]:
    covered = part.coverage
    counts = [covered.n_scored, covered.n_groups, covered.n_lost]
    shown = [Text(_with_interval(part.estimates[name], gap)) for name in names]
    return [Text(part.name), *(Text(str(n)) for n in counts), *shown]


def _alone(baseline: Baseline, gap: str) -> list[Text]:
    found = baseline.auroc
    counts = [str(found.n_items), str(found.n_groups)] if found.is_defined else ["", ""]
    name = BASELINES[baseline.baseline]
    return [Text(cell) for cell in (name, *counts, "", _with_interval(found, gap))]


def _with_interval(estimate: Estimate, gap: str) -> str:
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return _figure(estimate.value)
    low, high = (_end(end) for end in (estimate.low, estimate.high))
    return f"{_figure(estimate.value)}{gap}{low}–{high}"


def _compared(line: Line) -> Sequence[Text]:
    found = line.difference
    gap = _figure(found.value, sign="+")
    if not math.isnan(found.low):
        gap += f" [{found.low:+.3f}, {found.high:+.3f}]"
    cells = (
        line.metric,
        _figure(line.first),
        _figure(line.second),
        gap,
        _chance(found.p),
        _chance(line.p_holm),
    )
    return [Text(cell) for cell in cells]


def _figure(value: float, sign: str = "") -> str:
    return "–" if math.isnan(value) else f"{value:{sign}.3f}"


def _end(value: float) -> str:
    """Write an end of an interval shortly: ``.718``, ``0``, ``1``."""
    written = f"{value:.3f}"
    return {"0.000": "0", "1.000": "1"}.get(written) or written.removeprefix("0")


def _chance(p: float) -> str:
    return "<0.001" if p < 0.001 else _figure(p)


def operating_table(metrics: Metrics) -> Table:
    """Return a line a detector: its threshold, false flags, and what a flag is worth."""
    points = metrics.operating_points
    shares = [entry.prevalence for entry in points[0].prevalences] if points else []
    table = _table("what a flag is worth")
    table.add_column("detector", overflow="fold", min_width=16)
    table.add_column("threshold", justify="right", no_wrap=True)
    table.add_column("false flags\n/ 100 000", justify="right", no_wrap=True)
    for share in shares:
        table.add_column(f"right at\n{share:.1%}".replace(".0%", "%"), justify="right")
    for point in points:
        table.add_row(*(Text(cell) for cell in _threshold_cells(point)))
    table.caption = Text(_claims(points))
    return table


def transfer_table(metrics: Metrics) -> Table:
    """Return a line a detector and pair of corpora; what could not be fitted is told below."""
    rules = dict.fromkeys(line.rule for line in metrics.transfers)
    table = _table(f"thresholds carried to other corpora ({', '.join(rules)})")
    table.add_column("detector", overflow="fold", min_width=18)
    for heading in ("fitted on", "applied to"):
        table.add_column(heading, overflow="fold", min_width=13)
    for heading in ("threshold", "reals\nflagged", "fakes\nflagged"):
        table.add_column(heading, justify="right")
    unfitted: dict[str, None] = {}
    for line in metrics.transfers:
        if line.threshold is None:
            unfitted[f"none fitted on {line.fitted_on}: {line.reason}"] = None
            continue
        rates = (_share(line.fpr), _share(line.recall))
        pair = (line.fitted_on, line.applied_to)
        cells = (line.detector, *pair, f"{line.threshold:.4g}", *rates)
        table.add_row(*(Text(cell) for cell in cells))
    table.caption = Text("\n".join(unfitted))
    return table


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0, 0, 0),
    )


def _threshold_cells(point: OperatingPoint) -> list[str]:
    threshold = point.rule if point.threshold is None else f"{point.threshold:.4g}"
    worth = [_share(entry.precision) for entry in point.prevalences]
    return [point.detector, threshold, _count(point.false_flags_per_100k), *worth]


def _claims(points: Sequence[OperatingPoint]) -> str:
    told = [
        f"{100 * claim.fpr:g}% takes {claim.n_reals}"
        for claim in (points[0].claims if points else [])
    ]
    return (
        "right at 1%: share of flags that are right where 1% of what comes in is fake\n"
        f"independent reals, none flagged, to claim a false positive rate: {'; '.join(told)}"
    )


def _count(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return formatting.UNDEFINED
    if estimate.value == 0:
        return f"< {estimate.high:.0f}"
    return f"{estimate.value:.0f}\n{estimate.low:.0f}–{estimate.high:.0f}"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return formatting.UNDEFINED
    if estimate.low is None or estimate.high is None:
        return formatting.UNDEFINED if estimate.value in (0, 1) else f"{estimate.value:.1%}"
    if estimate.value in (0, 1):
        return f"> {estimate.low:.1%}" if estimate.value else f"< {estimate.high:.1%}"
    return f"{estimate.value:.1%}\n{100 * estimate.low:.1f}–{100 * estimate.high:.1f}"
