"""The group bootstrap: intervals for metrics whose variance has no closed form.

Conventions: groups are drawn with replacement, within strata, from a seed. The strata are the
groups that hold reals alone, fakes alone, and both: a group with both is drawn as one, its reals
and its fakes together, and the number of groups of each kind is the same in every resample.

The resamples give a variance and its degrees of freedom for ``intervals.score_interval``, not
percentiles: percentile intervals are too narrow with few groups, and may miss the point itself of a
biased metric.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.compute import Metric, compute
from earwitness.metrics.intervals import NO_VARIATION, Interval, freedom_of, score_interval
from earwitness.metrics.measures import select
from earwitness.metrics.sample import Floats, Items, Options

N_RESAMPLES = 2000
HELD = 4_000_000
"""Weights of groups that are drawn at once."""

MOST_UNDEFINED = 0.05
"""Share of resamples in which a metric may be undefined; they are left out of its variance."""

ROUNDING = 1e-12


@dataclass(frozen=True)
class Spread:
    """How a metric varies over resamples.

    Attributes:
        value: The metric on the sample.
        shifts: ``(n_resamples,)`` the metric on each resample, less ``value``; NaN where undefined.
        moments: ``(2, n_groups)``, of ``_moments``.
        n_groups: Groups of the class that has fewer.
        bounds: Least and greatest possible value.
        bias: ``(n_resamples,)`` of the metric that measures the bias; empty without one.
    """

    value: float
    shifts: Floats
    moments: Floats
    n_groups: int
    bounds: tuple[float, float]
    bias: Floats

    @cached_property
    def defined(self) -> Floats:
        """Shifts where the metric is defined."""
        return self.shifts[np.isfinite(self.shifts)]

    @property
    def shift(self) -> float:
        """Mean shift: the bias that resampling adds."""
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

    def quantile(self, confidence: float) -> float:
        """Return Student's t on these degrees of freedom."""
        freedom = max(min(self.freedom, self.n_groups - 1), 1)
        return float(t.ppf((1 + confidence) / 2, freedom))


def bootstrap_intervals(
    items: Items,
    names: Collection[str],
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    options: Options | None = None,
) -> dict[str, Interval]:
    """Return an interval for every metric, all from the same resamples.

    Args:
        items: The sample, reals and fakes.
        names: Metrics.
        seed: Seed of the draws.
        n_resamples: Number of resamples.
        options: Level, costs and bins.
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
    rng, size = np.random.default_rng(seed), max(1, HELD // items.n_groups)
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
    """Draw how often each group counts: ``(n_resamples, n_groups)``, multinomial by stratum."""
    kinds = _strata(items)
    weights = np.empty((n_resamples, items.n_groups), dtype=np.int16)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        for row in weights:
            drawn = rng.integers(0, len(members), len(members))
            row[members] = np.bincount(drawn, minlength=len(members))
    return weights


def _strata(items: Items) -> NDArray[np.int64]:
    """1 for groups of reals alone, 2 for groups of fakes alone, 3 for groups with both."""
    kinds = np.zeros(items.n_groups, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(items.group[items.target == label])] += label + 1
    return kinds


def _moments(weights: NDArray[np.int16], shifts: Floats) -> Floats:
    """Return each group's sum of shifts, and of their being there: ``(2, n_groups, n_metrics)``.

    From them follows how the metric goes with a group's weight, which is what the group adds to
    it (the infinitesimal jackknife of Efron, 2014).
    """
    defined = np.isfinite(shifts)
    columns = np.hstack([np.where(defined, shifts, 0), defined]).astype(np.float32)
    sums = weights.T.astype(np.float32) @ columns
    return np.stack(np.split(sums.astype(np.float64), 2, axis=1))


def _interval(name: str, metric: Metric, spread: Spread, confidence: float) -> Interval:
    n_undefined = len(spread.shifts) - len(spread.defined)
    if n_undefined > MOST_UNDEFINED * len(spread.shifts):
        return Interval(reason=f"undefined in {n_undefined} of {len(spread.shifts)} resamples")
    least, greatest = spread.bounds
    is_at_bound = metric.worst is None and not least < spread.value < greatest
    if spread.variance <= (ROUNDING * (greatest - least)) ** 2 and not is_at_bound:
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
    """Return the lower end of ECE, which chance alone makes greater than 0.

    It is 0 where the distance is no greater than that of resamples from the sample. Elsewhere
    the bias that resampling adds is taken off first.
    """
    scale = math.sqrt(spread.n_groups / (spread.n_groups - 1))
    if spread.value <= scale * float(np.quantile(spread.bias, (1 + confidence) / 2)):
        return 0.0
    reach = spread.quantile(confidence) * math.sqrt(spread.variance)
    return min(max(spread.value - spread.shift - reach, 0.0), spread.value)
