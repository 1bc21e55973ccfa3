"""The figures of one slice: every metric as an estimate, with its interval or the reason why not.

Conventions: a metric is never left out; one that is not defined has no value and says why. Figures
that a lack of one class decides (precision on fakes alone) are not defined here: the published
comparison table alone keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike

from earwitness.core.estimate import Counts, Estimate
from earwitness.evaluation.schema import Settings
from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.compute import Metric, count_decisions
from earwitness.metrics.intervals import Interval, rate_interval
from earwitness.metrics.measures import known_metrics, point_values, select
from earwitness.metrics.sample import Items


def labels() -> dict[str, str]:
    """Return the names of all metrics for people, in the order to show them."""
    return {name: metric.label for name, metric in known_metrics().items()}


def count(items: Items) -> Counts | None:
    """Return how decisions fell out; ``None`` without decisions."""
    if items.decision is None:
        return None
    return count_decisions(items.target, items.decision)


def estimate_all(
    items: Items, settings: Settings, given: Mapping[str, str] | None = None
) -> dict[str, Estimate]:
    """Return every metric on the scored items of a slice.

    Args:
        items: The scored items.
        settings: Level, costs, bins and resampling.
        given: Metric → what was fitted elsewhere and is taken for granted.
    """
    return estimate_some(tuple(known_metrics()), items, settings, given)


def estimate_some(
    names: Collection[str],
    items: Items,
    settings: Settings,
    given: Mapping[str, str] | None = None,
) -> dict[str, Estimate]:
    """Return some metrics; see ``estimate_all``."""
    conditions, metrics = given or {}, select(names)
    values = point_values(items, metrics, settings.options)
    defined = {
        name: one for name, one in metrics.items() if not math.isnan(values.get(name, math.nan))
    }
    intervals = _intervals(items, defined, settings)
    return {
        name: _estimate(one, values[name], intervals[name], items, conditions.get(name))
        if name in defined
        else _undefined(one, items)
        for name, one in metrics.items()
    }


def estimate_rate(
    hit: ArrayLike,
    group: ArrayLike,
    *,
    confidence: float,
    reason: str,
    conditional_on: str | None = None,
) -> Estimate:
    """Return a share with its interval.

    Args:
        hit: ``(n_items,)`` of 0 and 1.
        group: ``(n_items,)`` group of each.
        confidence: Level of the interval.
        reason: Why there is no share where there are no items.
        conditional_on: What is taken for granted.
    """
    hits, groups = np.asarray(hit, dtype=np.int64), np.asarray(group)
    n_items, n_groups = len(hits), len(np.unique(groups))
    if not n_items:
        return Estimate(reason=reason)
    interval = rate_interval(hits, groups, confidence)
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return Estimate(
        value=float(hits.mean()),
        low=low,
        high=high,
        n_items=n_items,
        n_groups=n_groups,
        method=interval.method,
        reason=interval.reason,
        conditional_on=conditional_on,
    )


def _intervals(
    items: Items, metrics: Mapping[str, Metric], settings: Settings
) -> dict[str, Interval]:
    found = {
        name: one.interval(one.part_of(items), settings.options)
        for name, one in metrics.items()
        if one.interval is not None
    }
    others = [name for name in metrics if name not in found]
    if not others:
        return found
    return found | bootstrap_intervals(
        items,
        others,
        seed=settings.seed,
        n_resamples=settings.n_resamples,
        options=settings.options,
    )


def _estimate(
    metric: Metric, value: float, interval: Interval, items: Items, given: str | None
) -> Estimate:
    part = metric.part_of(items)
    low, high = min(interval.low, value), max(interval.high, value)  # rounding may part them
    return Estimate(
        value=value,
        low=None if math.isnan(interval.low) else low,
        high=None if math.isnan(interval.low) else high,
        n_items=len(part),
        n_groups=part.n_groups,
        method=interval.method,
        reason=interval.reason,
        conditional_on=given,
    )


def _undefined(metric: Metric, items: Items) -> Estimate:
    part = metric.part_of(items)
    reason = _why_undefined(metric, items)
    return Estimate(reason=reason, n_items=len(part), n_groups=part.n_groups)


def _why_undefined(metric: Metric, items: Items) -> str:
    if not len(items):
        return "no scored items in this slice"
    if getattr(items, metric.needs) is None:
        if metric.needs == "decision":
            return "no decisions"
        return "labels alone, no scores" if items.score is None else "no pred_prob"
    if not items.has_both:
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} in this slice"
    return metric.undefined.replace("{n_real}", str(int((items.target == 0).sum())))
