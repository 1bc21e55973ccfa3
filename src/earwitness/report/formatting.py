"""Figures in words and digits, as pages show them.

Conventions: shares have three decimals; what is neither 0 nor 1 is not rounded to either; ``–`` is
undefined, and the reason stands with it.
"""

from __future__ import annotations

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import BaselineName

UNDEFINED = "–"

BASELINES: dict[BaselineName, str] = {
    "container": "file alone: container",
    "channel": "file alone: channel",
}
"""What baselines that hear nothing are called beside detectors."""

OF_BASELINES = (
    "“File alone” is no detector: it goes by length, rate, codec, tag and level (container), or by "
    "bandwidth, silence and stereo as well (channel), and was fitted on other groups of the same "
    "sets. What a detector hears is what it has above it."
)


def figure(value: float) -> str:
    """Write a figure with three decimals."""
    text = f"{value:.3f}".replace("-", "−")
    if text == "0.000" and value > 0:
        return "<0.001"
    if text == "1.000" and value < 1:
        return ">0.999"
    return text


def percent(value: float) -> str:
    """Write a share in per cent, without rounding it to none or all."""
    text = f"{100 * value:.1f}" if value < 0.1 or value > 0.9 else f"{100 * value:.0f}"
    if value > 0 and float(text) == 0:
        return "< 0.1 %"
    if value < 1 and float(text) == 100:
        return "> 99.9 %"
    return f"{text.removesuffix('.0')} %"


def set_percent(value: float) -> str:
    """Write a share that somebody set, in per cent, as it was set."""
    return f"{100 * value:.6g} %"


def tell_share(estimate: Estimate) -> str:
    """Write a share in per cent; all or none are written as the bound that its items give."""
    if estimate.value is None:
        return UNDEFINED
    if estimate.value not in (0, 1):
        return percent(estimate.value)
    bound = estimate.low if estimate.value == 1 else estimate.high
    if bound is None:
        return UNDEFINED
    return f"{'over' if estimate.value == 1 else 'under'} {percent(bound)}"


def share_note(estimate: Estimate) -> str:
    """Write what stands below a share: its interval, or why there is none, and of how many."""
    if estimate.value is None:
        return estimate.reason or ""
    few = f"{count(estimate.n_items)} items"
    if estimate.low is None or estimate.high is None:
        said = percent(estimate.value)
        if estimate.value in (0, 1):
            said = "all" if estimate.value else "none"
        return f"{said} of {few}: {estimate.reason}"
    if estimate.value in (0, 1):
        return f"{'all' if estimate.value else 'none'} of {few}"
    return f"{percent(estimate.low)} to {percent(estimate.high)}, {few}"


def count(n: int) -> str:
    """Write a count with a narrow gap that does not break every three digits."""
    return f"{n:,}".replace(",", "\u202f")


def interval(estimate: Estimate) -> str:
    """Write an interval in brackets that no line breaks; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{figure(estimate.low)},\u00a0{figure(estimate.high)}]"


def tell(estimate: Estimate) -> str:
    """Write a figure with its interval, or with why it has none."""
    if estimate.value is None:
        return f"undefined, {estimate.reason}"
    told = interval(estimate)
    if told:
        return f"{figure(estimate.value)} {told}"
    return f"{figure(estimate.value)} ({estimate.reason})"


def brief(estimate: Estimate) -> str:
    """Write a figure with its interval where it has one."""
    if estimate.value is None:
        return UNDEFINED
    return f"{figure(estimate.value)} {interval(estimate)}".rstrip()


def tell_size(estimate: Estimate) -> str:
    """Say what a figure is made of."""
    items = f"{count(estimate.n_items)} items"
    return f"{items} of {count(estimate.n_groups)} groups" if estimate.n_groups else items


def short(metric: str, named: dict[str, str]) -> str:
    """Return a metric's name without what stands in brackets."""
    return named.get(metric, metric).split(" (")[0]
