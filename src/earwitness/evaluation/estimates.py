"""Estimates of all metrics of a slice, and its curves, histograms and reliability bins.

Conventions: an undefined metric has no value and a reason. Thresholds are on ``pred_prob``, if any.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from earwitness.core.estimate import Counts, Estimate
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.slices import (
    Curves,
    Det,
    Histogram,
    ReliabilityBin,
    RiskCoverage,
    Roc,
    SliceKind,
)
from earwitness.metrics import sweep
from earwitness.metrics.compute import Metric, count_decisions
from earwitness.metrics.intervals import Interval, mean_interval, rate_interval
from earwitness.metrics.measures import known_metrics, names_needing, point_values, select
from earwitness.metrics.resampling import bootstrap_intervals
from earwitness.metrics.sample import Floats, Items, bin_of
from earwitness.metrics.selective import risk_coverage


def labels() -> dict[str, str]:
    """Return the label of every metric, in display order."""
    return {name: metric.label for name, metric in known_metrics().items()}


def count(items: Items) -> Counts | None:
    """Return the confusion counts; ``None`` without decisions."""
    if items.decision is None:
        return None
    return count_decisions(items.target, items.decision)


def estimate_all(
    items: Items,
    settings: Settings,
    given: Mapping[str, str] | None = None,
    answers: Items | None = None,
) -> dict[str, Estimate]:
    """Return the estimates of every metric.

    Args:
        items: Scored items.
        settings: Settings.
        given: The fit that a metric is conditional on, by metric.
        answers: Scored items and those abstained from, for metrics that need answers; ``None`` is
            ``items``.
    """
    names = tuple(known_metrics())
    selective = names_needing("answer")
    others = [name for name in names if name not in selective]
    found = estimate_some(others, items, settings, given)
    found |= estimate_some(selective, items if answers is None else answers, settings, given)
    return {name: found[name] for name in names}


def estimate_some(
    names: Collection[str],
    items: Items,
    settings: Settings,
    given: Mapping[str, str] | None = None,
) -> dict[str, Estimate]:
    """Return the estimates of some metrics; see ``estimate_all``."""
    conditions, metrics = given or {}, select(names)
    values = point_values(items, metrics, settings.options)
    defined = {n: one for n, one in metrics.items() if not math.isnan(values.get(n, math.nan))}
    intervals, found = _intervals(items, defined, settings), {}
    for name, one in metrics.items():
        part = one.part_of(items)
        n, n_groups = len(part), part.n_groups
        if name in defined:
            found[name] = _estimate(
                values[name], intervals[name], n, n_groups, conditions.get(name)
            )
        else:
            reason = _why_undefined(one, items)
            found[name] = Estimate(reason=reason, n_items=n, n_groups=n_groups)
    return found


def estimate_rate(
    hit: ArrayLike,
    group: ArrayLike,
    *,
    confidence: float,
    reason: str,
    conditional_on: str | None = None,
) -> Estimate:
    """Return the estimate of a share of ``hit``, 0 or 1 per item; ``reason`` if without items."""
    hits, groups = np.asarray(hit, dtype=np.int64), np.asarray(group)
    n_items, n_groups = len(hits), len(np.unique(groups))
    if not n_items:
        return Estimate(reason=reason)
    interval = rate_interval(hits, groups, confidence)
    return _estimate(float(hits.mean()), interval, n_items, n_groups, conditional_on)


def estimate_mean(
    values: ArrayLike, group: ArrayLike, *, confidence: float, reason: str
) -> Estimate:
    """Return the estimate of a mean of finite values; ``reason`` if there are none."""
    numbers, groups = np.asarray(values, dtype=np.float64), np.asarray(group)
    if not len(numbers):
        return Estimate(reason=reason)
    interval = mean_interval(numbers, groups, confidence)
    n_groups = len(np.unique(groups))
    return _estimate(float(numbers.mean()), interval, len(numbers), n_groups, None)


def _intervals(
    items: Items, metrics: Mapping[str, Metric], settings: Settings
) -> dict[str, Interval]:
    found = {
        name: one.interval(one.part_of(items), settings.options)
        for name, one in metrics.items()
        if one.interval is not None and items.weight is None
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
    value: float, interval: Interval, n_items: int, n_groups: int, given: str | None
) -> Estimate:
    has_ends = not math.isnan(interval.low)
    return Estimate(
        value=value,
        low=min(interval.low, value) if has_ends else None,  # the value, in spite of rounding
        high=max(interval.high, value) if has_ends else None,
        n_items=n_items,
        n_groups=n_groups,
        method=interval.method,
        reason=interval.reason,
        conditional_on=given,
    )


def _why_undefined(metric: Metric, items: Items) -> str:
    if not len(items):
        return "no scored items in this slice"
    if getattr(items, metric.needs) is None:
        if metric.needs in ("decision", "answer"):
            return "no decisions"
        if metric.needs == "margin" and items.logit is not None:
            return "no threshold on logits that gives the decisions"
        return "labels alone, no scores" if items.score is None else "no pred_prob"
    if not items.has_both:
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} in this slice"
    return metric.undefined.replace("{n_real}", str(int((items.target == 0).sum())))


def make_charts(
    items: Items, kind: SliceKind, settings: Settings, n_abstained: int = 0
) -> dict[str, Any]:
    """Return the fields of ``Slice`` for its charts."""
    if kind not in ("overall", "dataset"):
        return {"no_curves": "curves are drawn overall and by dataset only"}
    if items.score is None:
        return {"no_curves": "no scores to draw curves of"}
    histograms = _histograms(items)
    if not items.has_both:
        word = "fakes" if items.target[0] == 1 else "reals"
        return {"no_curves": f"only {word} in this slice", "histograms": histograms}
    reliability = [] if items.prob is None else _reliability(items, items.prob, settings)
    curves = _curves(items, n_abstained)
    return {"curves": curves, "histograms": histograms, "reliability": reliability}


def _curves(items: Items, n_abstained: int) -> Curves:
    counted = sweep.count_steps(items.ranking)
    kept = _thinned(counted.fpr, counted.tpr)
    fpr, tpr = counted.fpr[kept], counted.tpr[kept]
    thresholds = [None if step == 0 else float(counted.thresholds[step - 1]) for step in kept]
    inner = (fpr > 0) & (fpr < 1) & (tpr > 0) & (tpr < 1)
    alarms, misses = fpr[inner], 1 - tpr[inner]
    return Curves(
        roc=Roc(fpr=fpr.tolist(), tpr=tpr.tolist(), threshold=thresholds),
        det=Det(
            fpr=alarms.tolist(),
            fnr=misses.tolist(),
            probit_fpr=norm.ppf(alarms).tolist(),
            probit_fnr=norm.ppf(misses).tolist(),
        ),
        risk_coverage=_risk_coverage(items, n_abstained),
    )


def _risk_coverage(items: Items, n_abstained: int) -> RiskCoverage | None:
    """Return the risk-coverage curve; ``None`` without a known threshold."""
    if items.margin is None:
        return None
    steps = sweep.count_steps(items.confidence_ranking)
    coverage, risk = risk_coverage(steps)
    kept = np.unique(np.linspace(0, len(risk) - 1, 200).round().astype(np.int64))
    share = len(items) / (len(items) + n_abstained)
    return RiskCoverage(
        coverage=(share * coverage[kept]).tolist(),
        risk=risk[kept].tolist(),
        confidence=steps.thresholds[kept].tolist(),
    )


def _thinned(fpr: Floats, tpr: Floats) -> list[int]:
    """Return up to 200 steps at even distances along the curve, both ends included."""
    along = fpr + tpr
    wanted = np.linspace(0, along[-1], 200)
    steps = np.searchsorted(along, wanted).clip(0, len(along) - 1)
    return [int(step) for step in np.unique(steps)]


def _histograms(items: Items) -> list[Histogram]:
    found = []
    if items.prob is not None:
        found.append(_histogram("pred_prob", items, items.prob, (0.0, 1.0)))
    if items.logit is not None and np.ptp(items.logit) > 0:
        span = (float(items.logit.min()), float(items.logit.max()))
        found.append(_histogram("logit", items, items.logit, span))
    return found


def _histogram(
    scale: Literal["pred_prob", "logit"], items: Items, values: Floats, span: tuple[float, float]
) -> Histogram:
    edges = np.histogram_bin_edges(values, 40, span)
    real, fake = (np.histogram(values[items.target == label], edges)[0] for label in (0, 1))
    return Histogram(scale=scale, edges=edges.tolist(), real=real.tolist(), fake=fake.tolist())


def _reliability(items: Items, prob: Floats, settings: Settings) -> list[ReliabilityBin]:
    n_bins = settings.n_ece_bins
    cell = bin_of(prob, n_bins)
    return [
        _bin(items.where(cell == index), prob[cell == index], index, settings)
        for index in np.unique(cell).tolist()
    ]


def _bin(items: Items, prob: Floats, index: int, settings: Settings) -> ReliabilityBin:
    return ReliabilityBin(
        low=index / settings.n_ece_bins,
        high=(index + 1) / settings.n_ece_bins,
        n=len(items),
        mean_prob=float(prob.mean()),
        share_fake=estimate_rate(
            items.target, items.group, confidence=settings.confidence, reason="no items"
        ),
    )
