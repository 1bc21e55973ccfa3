"""Numbers, shares, counts and intervals as text.

An undefined value is ``–``. A value between 0 and 1 is never rounded to either: it becomes
``<0.001`` or ``>0.999``.
"""

from __future__ import annotations

import math

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import BaselineName

UNDEFINED = "–"

BASELINES: dict[BaselineName, str] = {
    "container": "file alone: container",
    "channel": "file alone: channel",
}
"""Labels of the metadata baselines."""


def number(value: float | None, *, decimals: int = 3, signed: bool = False) -> str:
    """Format a number with fixed decimals; ``None`` and NaN are undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    if not signed and value > 0 and float(text) == 0:
        return f"<{10**-decimals:.{decimals}f}"
    if not signed and value < 1 and float(text) == 1:
        return f">{1 - 10**-decimals:.{decimals}f}"
    return text.replace("-", "−")


def short_number(value: float | None) -> str:
    """Format a number from 0 to 1 with two decimals and no leading zero: ``.72``, ``>.99``."""
    return number(value, decimals=2).replace("0.", ".", 1)


def p_value(p: float | None) -> str:
    """Format a p-value; below one in a thousand it is ``<0.001``."""
    return "<0.001" if p is not None and p < 0.001 else number(p)


def percent(value: float, *, decimals: int | None = None) -> str:
    """Format a share as a percentage: whole, or one decimal below 10 % and above 90 %."""
    n_decimals = decimals if decimals is not None else int(value < 0.1 or value > 0.9)
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    text = f"{100 * value:.{n_decimals}f}"
    return f"{text if decimals else text.removesuffix('.0')} %"


def exact_percent(value: float) -> str:
    """Format a share set by the user, with all its digits."""
    return f"{100 * value:.6g} %"


def count(n: int) -> str:
    """Format a count with narrow no-break spaces between thousands."""
    return f"{n:,}".replace(",", "\u202f")


def plural(n: int, noun: str) -> str:
    """Format a count and its noun: ``1 item``, ``2 items``."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def interval(estimate: Estimate) -> str:
    """Format an interval in brackets without a line break; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low)},\u00a0{number(estimate.high)}]"


def short_interval(estimate: Estimate) -> str:
    """Format an interval without leading zeros, ``.650–.770``; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    ends = (f"{end:.3f}" for end in (estimate.low, estimate.high))
    return "–".join({"0.000": "0", "1.000": "1"}.get(e, e.removeprefix("0")) for e in ends)


def brief_estimate(estimate: Estimate) -> str:
    """Format an estimate with its interval where it has one."""
    return f"{number(estimate.value)} {interval(estimate)}".rstrip()


def full_estimate(estimate: Estimate) -> str:
    """Format an estimate with its interval, or with the reason why it has none."""
    if estimate.value is None:
        return f"undefined, {estimate.reason}"
    return f"{number(estimate.value)} {interval(estimate) or f'({estimate.reason})'}"


def sample_size(estimate: Estimate) -> str:
    """Format the number of items and groups behind an estimate."""
    items = f"{count(estimate.n_items)} items"
    return f"{items} of {count(estimate.n_groups)} groups" if estimate.n_groups else items


def share(estimate: Estimate) -> str:
    """Format a share as a percentage; all or none becomes the bound of its interval."""
    if estimate.value is None:
        return UNDEFINED
    if estimate.value not in (0, 1):
        return percent(estimate.value)
    bound = estimate.low if estimate.value == 1 else estimate.high
    if bound is None:
        return UNDEFINED
    return f"{'over' if estimate.value == 1 else 'under'} {percent(bound)}"


def share_interval(estimate: Estimate) -> str:
    """Format the interval of a share, ``40 % to 60 %``; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def share_note(estimate: Estimate) -> str:
    """Format a share's interval, or why it has none, and its number of items."""
    if estimate.value is None:
        return estimate.reason or ""
    items = f"{count(estimate.n_items)} items"
    counted = {0: "none", 1: "all"}.get(estimate.value)  # type: ignore[call-overload]
    if estimate.low is None:
        return f"{counted or percent(estimate.value)} of {items}: {estimate.reason}"
    return f"{counted} of {items}" if counted else f"{share_interval(estimate)}, {items}"


def metric_name(metric: str, labels: dict[str, str]) -> str:
    """Return a metric's label without its explanation in parentheses."""
    return labels.get(metric, metric).split(" (")[0]
