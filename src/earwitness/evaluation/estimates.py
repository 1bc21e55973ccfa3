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

from earwitness.core.counts import Counts
from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import Settings
from earwitness.metrics import measures
from earwitness.metrics.bootstrap import TPR_AT_FPR, bootstrap_intervals
from earwitness.metrics.intervals import (
    Interval,
    auroc_interval,
    mixed_interval,
    rate_interval,
    tpr_interval,
)
from earwitness.metrics.sample import Costs, Items

METRICS = {
    "auroc": "AUROC",
    "eer": "EER",
    "balanced_accuracy": "balanced accuracy",
    "recall": "recall (fakes found)",
    "specificity": "specificity (reals let pass)",
    "precision": "precision",
    "f1": "F1",
    "f1_macro": "macro F1",
    "accuracy": "accuracy",
    "mcc": "MCC",
    "average_precision": "average precision",
    "tpr_at_fpr_1pct": "TPR at 1 % FPR",
    "tpr_at_fpr_5pct": "TPR at 5 % FPR",
    "eer_threshold": "threshold at the EER",
    "min_dcf": "minDCF",
    "act_dcf": "actDCF",
    "cllr": "Cllr (bits)",
    "brier": "Brier score",
    "log_loss": "log loss (nats)",
    "ece": "ECE",
}
"""Metrics in the order to show them, in words for people."""

OF_RATES = ("accuracy", "balanced_accuracy", "precision", "recall", "specificity")
OF_DECISIONS = (*OF_RATES, "f1", "f1_macro", "mcc")
OF_PROBS = ("brier", "log_loss", "ece")
A_SETTING = "a setting of the detector: no interval"

_ONE_CLASS_DOES = ("accuracy", "recall", "specificity")
_CLOSED = (*OF_RATES, "auroc", "act_dcf", *TPR_AT_FPR)
_WHY = {
    "precision": "nothing was called fake",
}


def count(items: Items) -> Counts | None:
    """Return how decisions fell out; ``None`` without decisions."""
    if items.decision is None:
        return None
    return measures.count_decisions(items.target, items.decision)


def estimate_all(
    items: Items, settings: Settings, given: Mapping[str, str] | None = None
) -> dict[str, Estimate]:
    """Return every metric of ``METRICS`` on the scored items of a slice.

    Args:
        items: The scored items.
        settings: Level, costs, bins and resampling.
        given: Metric → what was fitted elsewhere and is taken for granted.
    """
    return estimate_some(tuple(METRICS), items, settings, given)


def estimate_some(
    names: Collection[str],
    items: Items,
    settings: Settings,
    given: Mapping[str, str] | None = None,
) -> dict[str, Estimate]:
    """Return some metrics; see ``estimate_all``."""
    taken, values = given or {}, point_values(items, settings)
    defined = [name for name, value in values.items() if name in names and not math.isnan(value)]
    intervals = _intervals(items, defined, settings)
    return {
        name: _estimate(
            name, values.get(name, math.nan), intervals.get(name), items, taken.get(name)
        )
        for name in names
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


def point_values(items: Items, settings: Settings) -> dict[str, float]:
    """Return the metrics that the items have what it takes for; NaN where undefined."""
    target, costs = items.target, costs_of(settings)
    values: dict[str, float] = {}
    counts = count(items)
    if counts is not None:
        values |= {name: getattr(measures, name)(counts) for name in OF_DECISIONS}
    if items.score is not None:
        for name in ("auroc", "average_precision", "eer"):
            values[name] = getattr(measures, name)(target, items.score)
        values["min_dcf"] = measures.min_dcf(target, items.score, costs)
        values["eer_threshold"] = _eer_threshold(items)
        for name, fpr in TPR_AT_FPR.items():
            values[name] = measures.tpr_at_fpr(target, items.score, fpr)
    if items.logit is not None:
        values["cllr"] = measures.cllr(target, items.logit)
        values["act_dcf"] = measures.act_dcf(target, items.logit, costs)
    if items.prob is not None:
        values |= {
            name: getattr(measures, name)(target, items.prob) for name in ("brier", "log_loss")
        }
        values["ece"] = measures.ece(target, items.prob, settings.n_ece_bins)
    return _without_one_class(values, items)


def costs_of(settings: Settings) -> Costs:
    """Return the prior and costs that were asked for."""
    return Costs(settings.p_fake, settings.c_false_alarm, settings.c_miss)


def part_of(name: str, items: Items) -> Items:
    """Return the items that a metric is made of: fakes alone for recall."""
    if name == "recall":
        return items.where(items.target == 1)
    if name == "specificity":
        return items.where(items.target == 0)
    if name == "precision" and items.decision is not None:
        return items.where(items.decision == 1)
    return items


def _eer_threshold(items: Items) -> float:
    """Return it as ``pred_prob`` where there is one, whatever items are ordered by."""
    threshold = measures.eer_threshold(items.target, items.score if items.score is not None else [])
    if math.isnan(threshold) or items.prob is None:
        return threshold
    return float(items.prob[np.asarray(items.score) == threshold].min())


def _without_one_class(values: Mapping[str, float], items: Items) -> dict[str, float]:
    """Undefine what takes both classes where there is one."""
    if measures.has_both(items.target):
        return dict(values)
    return {name: v if name in _ONE_CLASS_DOES else math.nan for name, v in values.items()}


def _intervals(items: Items, names: list[str], settings: Settings) -> dict[str, Interval]:
    found = {name: _closed(name, items, settings) for name in names if name in _CLOSED}
    if "eer_threshold" in names:
        found["eer_threshold"] = Interval(reason=A_SETTING)
    others = [name for name in names if name not in found]
    if not others:
        return found
    return found | bootstrap_intervals(
        items,
        others,
        seed=settings.seed,
        n_resamples=settings.n_resamples,
        confidence=settings.confidence,
        costs=costs_of(settings),
        n_bins=settings.n_ece_bins,
    )


def _closed(name: str, items: Items, settings: Settings) -> Interval:
    confidence, target = settings.confidence, items.target
    if name == "auroc" and items.score is not None:
        return auroc_interval(target, items.score, items.group, confidence)
    if name in TPR_AT_FPR:
        return tpr_interval(items, TPR_AT_FPR[name], confidence)
    if name == "act_dcf" and items.logit is not None:
        costs = costs_of(settings)
        wrong = (items.logit > costs.threshold) != (target == 1)
        weights = (costs.normalised(1.0, 0.0), costs.normalised(0.0, 1.0))
        return mixed_interval(wrong.astype(np.int64), target, items.group, weights, confidence)
    part = part_of(name, items)
    hit = np.asarray(part.decision == part.target, dtype=np.int64)
    if name in ("accuracy", "balanced_accuracy") and measures.has_both(target):
        share = 0.5 if name == "balanced_accuracy" else float(target.mean())
        return mixed_interval(hit, target, items.group, (1 - share, share), confidence)
    return rate_interval(hit, part.group, confidence)


def _estimate(
    name: str, value: float, interval: Interval | None, items: Items, given: str | None
) -> Estimate:
    part = part_of(name, items)
    if math.isnan(value) or interval is None:
        value, interval = math.nan, Interval(reason=_why_undefined(name, items))
    ends = (min(interval.low, value), max(interval.high, value))  # rounding may part them
    value_or_none, low, high = (None if math.isnan(number) else number for number in (value, *ends))
    return Estimate(
        value=value_or_none,
        low=low,
        high=high,
        n_items=len(part),
        n_groups=part.n_groups,
        method=interval.method,
        reason=interval.reason,
        conditional_on=given if value_or_none is not None else None,
    )


def _why_undefined(name: str, items: Items) -> str:
    if not len(items):
        return "no scored items in this slice"
    lacking = _lacking(name, items)
    if lacking is not None:
        return lacking
    if not measures.has_both(items.target):
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} in this slice"
    if name in TPR_AT_FPR:
        n_real = int((items.target == 0).sum())
        return f"takes {measures.reals_needed(TPR_AT_FPR[name])} reals, {n_real} in this slice"
    return why_undefined(name)


def why_undefined(name: str) -> str:
    """Return why a figure of decisions is not defined where there are reals and fakes."""
    return _WHY[name]


def _lacking(name: str, items: Items) -> str | None:
    """Return which of the detector's answers a metric lacks."""
    if name in OF_DECISIONS:
        return "no decisions" if items.decision is None else None
    if items.score is None:
        return "labels alone, no scores"
    return "no pred_prob" if name in OF_PROBS and items.prob is None else None
