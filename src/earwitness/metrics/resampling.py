"""Bootstrap intervals and permutation tests over groups.

Conventions: whole groups are drawn with replacement within strata: groups of reals, of fakes, and
of both. Resamples give the variance and degrees of freedom of ``intervals.score_interval``, as
percentile intervals are too narrow with few groups. Differences are first minus second; p-values
are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.compute import Metric, compute
from earwitness.metrics.intervals import (
    CONFIDENCE,
    NO_VARIATION,
    Interval,
    clustered_variance,
    freedom_of,
    place,
    score_interval,
    t_quantile,
)
from earwitness.metrics.measures import select
from earwitness.metrics.sample import Floats, Items, Options, Values

N_RESAMPLES = 2000
N_SWAPS = 2000


@dataclass(frozen=True)
class Spread:
    """Distribution of a metric over resamples.

    Attributes:
        value: Value on the sample.
        shifts: ``(n_resamples,)`` value on each resample minus ``value``; NaN if undefined.
        moments: ``(2, n_groups)`` of ``_moments``.
        n_groups: Number of groups of the smaller class.
        bounds: Minimum and maximum possible.
        bias: ``(n_resamples,)`` values of the metric's ``bias``; empty without one.
    """

    value: float
    shifts: Floats
    moments: Floats
    n_groups: int
    bounds: tuple[float, float]
    bias: Floats

    @cached_property
    def defined(self) -> Floats:
        """Shifts of the resamples with a defined metric."""
        return self.shifts[np.isfinite(self.shifts)]

    @property
    def shift(self) -> float:
        """Mean shift, the bias of resampling."""
        return float(self.defined.mean())

    @property
    def variance(self) -> float:
        """Variance over samples of groups."""
        return float(self.defined.var()) * self.n_groups / (self.n_groups - 1)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance."""
        parts = self.moments[0] - self.shift * self.moments[1]
        return freedom_of(parts / len(self.defined))


def bootstrap_intervals(
    items: Items,
    names: Collection[str],
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    options: Options | None = None,
) -> dict[str, Interval]:
    """Return an interval for every metric, from the same resamples.

    Args:
        items: The sample, with both classes.
        names: Names of the metrics.
        seed: Random seed.
        n_resamples: Number of resamples.
        options: Confidence level, costs and bins.
    """
    n_groups = min(items.groups_of(0), items.groups_of(1))
    if n_groups < MIN_GROUPS:
        return dict.fromkeys(names, Interval(reason=TOO_FEW_GROUPS))
    options, metrics = options or Options(), select(names)
    biases = {
        f"bias of {name}": one.bias(items, options) for name, one in metrics.items() if one.bias
    }
    taken = metrics | biases
    once = np.ones((1, items.n_groups), dtype=np.int16)
    values = np.concatenate(list(compute(items, once, taken, options).values()))
    rng, size = np.random.default_rng(seed), max(1, 4_000_000 // items.n_groups)  # bounds memory
    moments = np.zeros((2, items.n_groups, len(taken)), dtype=np.float64)
    parts = []
    for start in range(0, n_resamples, size):
        weights = draw_weights(items, min(size, n_resamples - start), rng)
        found = compute(items, weights, taken, options)
        parts.append(np.column_stack(list(found.values())) - values)
        moments += _moments(weights, parts[-1])
    shifts = dict(zip(taken, np.concatenate(parts).T, strict=True))
    return {
        name: _interval(
            name,
            metric,
            Spread(
                value=float(values[column]),
                shifts=shifts[name],
                moments=moments[:, :, column],
                n_groups=n_groups,
                bounds=metric.bounds_on(items),
                bias=shifts.get(f"bias of {name}", np.empty(0)),
            ),
            options.confidence,
        )
        for column, (name, metric) in enumerate(metrics.items())
    }


def draw_weights(items: Items, n_resamples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Draw bootstrap weights of the groups within strata: ``(n_resamples, n_groups)``."""
    kinds = _strata(items)
    weights = np.empty((n_resamples, items.n_groups), dtype=np.int16)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        for row in weights:
            drawn = rng.integers(0, len(members), len(members))
            row[members] = np.bincount(drawn, minlength=len(members))
    return weights


def _strata(items: Items) -> NDArray[np.int64]:
    """Return the stratum of each group: 1 reals, 2 fakes, 3 both."""
    kinds = np.zeros(items.n_groups, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(items.group[items.target == label])] += label + 1
    return kinds


def _moments(weights: NDArray[np.int16], shifts: Floats) -> Floats:
    """Return sums over resamples, by group weight: ``(2, n_groups, n_metrics)``.

    The sums of shifts and of defined resamples give the influence of each group (infinitesimal
    jackknife; Efron, 2014).
    """
    defined = np.isfinite(shifts)
    columns = np.hstack([np.where(defined, shifts, 0), defined]).astype(np.float32)
    sums = weights.T.astype(np.float32) @ columns
    return np.stack(np.split(sums.astype(np.float64), 2, axis=1))


def _interval(name: str, metric: Metric, spread: Spread, confidence: float) -> Interval:
    n_undefined = len(spread.shifts) - len(spread.defined)
    if n_undefined > 0.05 * len(spread.shifts):
        return Interval(reason=f"undefined in {n_undefined} of {len(spread.shifts)} resamples")
    least, greatest = spread.bounds
    is_at_bound = metric.worst is None and not least < spread.value < greatest
    if spread.variance <= (1e-12 * (greatest - least)) ** 2 and not is_at_bound:
        return Interval(reason=NO_VARIATION)
    found = score_interval(
        spread.value,
        spread.variance,
        spread.freedom,
        spread.n_groups,
        confidence,
        bounds=(least, greatest),
        inflation=math.log(spread.n_groups) if name == "average_precision" else 1.0,
    )
    if name == "min_dcf":
        found = replace(found, high=min(found.high + 2 * float(spread.bias.mean()), 1.0))
    if name == "ece":
        found = replace(found, low=min(found.low, _least_ece(spread, confidence)))
    return replace(found, method=f"group bootstrap, {len(spread.shifts)} resamples")


def _least_ece(spread: Spread, confidence: float) -> float:
    """Return the lower end of ECE, whose value is above 0 by chance alone.

    It is 0 if the value is within the distance of resamples from the sample; else the bias of
    resampling is subtracted first.
    """
    scale = math.sqrt(spread.n_groups / (spread.n_groups - 1))
    if spread.value <= scale * float(np.quantile(spread.bias, (1 + confidence) / 2)):
        return 0.0
    freedom = min(spread.freedom, spread.n_groups - 1)
    reach = t_quantile(confidence, freedom) * math.sqrt(spread.variance)
    return min(max(spread.value - spread.shift - reach, 0.0), spread.value)


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two detectors.

    Attributes:
        value: First minus second.
        low: Lower end of the interval; NaN without one.
        high: Upper end of the interval.
        p: P-value; NaN with a ``reason``.
        method: Name of the test.
        reason: Why there is no p-value.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    method: str | None = None
    reason: str | None = None


def auroc_difference(first: Items, second: Items, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for the difference of two AUROCs.

    It is DeLong's with Obuchowski's variance and Student's t, on at most as many degrees of freedom
    as groups of the smaller class minus 1.

    Args:
        first: Items of both classes, scored by the first detector.
        second: The same items in the same order, scored by the second.
        confidence: Confidence level.
    """
    one, two = place(first), place(second)
    value, apart = one.mean - two.mean, one.minus(two)
    n_least = min(first.groups_of(0), first.groups_of(1))
    if n_least < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    variance, freedom = clustered_variance(apart, first.target, first.group)
    if variance == 0:
        return Interval(reason=NO_VARIATION)
    reach = t_quantile(confidence, min(n_least - 1, freedom)) * math.sqrt(variance)
    return Interval(max(value - reach, -1.0), min(value + reach, 1.0), "clustered DeLong")


def compare_by_swaps(
    first: Items,
    second: Items,
    names: Collection[str],
    *,
    seed: int,
    n_swaps: int = N_SWAPS,
    options: Options | None = None,
) -> dict[str, Difference]:
    """Test differences of metrics by a permutation test over groups.

    Under the null hypothesis the outputs of the detectors on a group are exchangeable. The p-value
    is the share of random swaps, the data included, with a difference at least as large; if none
    is, it is that of a normal distribution with the variance of the swaps, if smaller. ``score``
    is replaced by ranks first, as scales may differ; logits and probabilities are not. AUROC also
    has an interval (``auroc_difference``).

    Args:
        first: Items with the columns that the metrics need, scored by the first detector.
        second: The same items in the same order, scored by the second.
        names: Names of the metrics.
        seed: Random seed.
        n_swaps: Number of permutations.
        options: Costs and bins.
    """
    pooled, n_groups = _pooled(first, second), first.n_groups
    swapped = np.random.default_rng(seed).integers(0, 2, (n_swaps + 1, n_groups), dtype=np.int8)
    swapped[0] = 0
    as_first, as_second = (
        compute(pooled, np.hstack(halves), select(names), options)
        for halves in ((1 - swapped, swapped), (swapped, 1 - swapped))
    )
    few = n_groups < MIN_GROUPS
    found = {name: _swap_test(as_first[name] - as_second[name], few) for name in names}
    if "auroc" in found and found["auroc"].reason is None:
        interval = auroc_difference(first, second)
        method = "; ".join(filter(None, (found["auroc"].method, interval.method)))
        found["auroc"] = replace(
            found["auroc"], low=interval.low, high=interval.high, method=method
        )
    return found


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm-corrected p-values (1979), in the same order; NaN is not a test."""
    values = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    raised = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in corrected]


def _swap_test(differences: Floats, few_groups: bool) -> Difference:
    value = float(differences[0])
    if math.isnan(value):
        return Difference(value, reason="undefined for one of the detectors")
    if few_groups:
        return Difference(value, reason=TOO_FEW_GROUPS)
    swaps = np.abs(differences[1:])
    n_great = int((~(swaps < abs(value) - 1e-12)).sum())  # undefined: counted
    method = f"group swaps, {len(swaps)} permutations"
    p = (1 + n_great) / (1 + len(swaps))
    if n_great == 0:  # the least p-value of so many swaps is too large for Holm's correction
        spread = math.sqrt(np.mean(np.square(swaps))) or math.inf
        p = min(p, float(2 * norm.sf(abs(value) / spread)))
        method += " and their normal distribution"
    return Difference(value, p=p, method=method)


def _pooled(first: Items, second: Items) -> Items:
    """Concatenate the items, with separate groups."""
    if not (
        np.array_equal(first.target, second.target) and np.array_equal(first.group, second.group)
    ):
        raise ValueError("targets or groups differ, expected the same items in the same order")
    orders = [None if items.score is None else rankdata(items.score) for items in (first, second)]
    return Items(
        np.concatenate([first.target, second.target]),
        np.concatenate([first.group, second.group + first.n_groups]),
        decision=_stacked(first.decision, second.decision),
        score=_stacked(*orders),
        logit=_stacked(first.logit, second.logit),
        prob=_stacked(first.prob, second.prob),
    )


def _stacked(first: Values | None, second: Values | None) -> Any:
    """Concatenate two columns; ``None`` if either is missing."""
    return None if first is None or second is None else np.concatenate([first, second])
