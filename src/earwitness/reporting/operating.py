"""What decisions are worth, and what thresholds do elsewhere: on the terminal.

Conventions: an interval stands below its figure; a lone ``–`` is an undefined figure, or all or
none of too few items; all or none of more is the bound that they give.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Metrics, OperatingPoint
from earwitness.reporting import words


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
        table.add_row(*(Text(cell) for cell in _cells(point)))
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


def _cells(point: OperatingPoint) -> list[str]:
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
        return words.UNDEFINED
    if estimate.value == 0:
        return f"< {estimate.high:.0f}"
    return f"{estimate.value:.0f}\n{estimate.low:.0f}–{estimate.high:.0f}"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return words.UNDEFINED
    if estimate.low is None or estimate.high is None:
        return words.UNDEFINED if estimate.value in (0, 1) else f"{estimate.value:.1%}"
    if estimate.value in (0, 1):
        return f"> {estimate.low:.1%}" if estimate.value else f"< {estimate.high:.1%}"
    return f"{estimate.value:.1%}\n{100 * estimate.low:.1f}–{100 * estimate.high:.1f}"
