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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import measures, sums, sweep
from earwitness.metrics.intervals import (
    CONFIDENCE,
    NO_VARIATION,
    Interval,
    freedom_of,
    score_interval,
)
from earwitness.metrics.sample import ASVSPOOF5, Costs, Floats, Items
from earwitness.metrics.sweep import Ranking, Steps

N_RESAMPLES = 2000
HELD = 4_000_000
"""Weights of groups that are drawn at once."""

MOST_UNDEFINED = 0.05
"""Share of resamples in which a metric may be undefined; they are left out of its variance."""

LOSSES = ("cllr", "log_loss")
"""Metrics whose upper bound is taken from the sample (``_greatest_losses``)."""

ROUNDING = 1e-12
BIAS = {"min_dcf": "min_dcf_optimism", "ece": "ece_noise"}
"""Metric → what measures its bias on the same resamples."""


@dataclass(frozen=True)
class Spread:
    """How a metric varies over resamples.

    Attributes:
        value: The metric on the sample.
        shifts: ``(n_resamples,)`` the metric on each resample, less ``value``; NaN where undefined.
        moments: ``(2, n_groups)``, of ``_moments``.
        n_groups: Groups of the class that has fewer.
        bounds: Least and greatest possible value.
        bias: ``(n_resamples,)`` what ``BIAS`` names; empty for other metrics.
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
    confidence: float = CONFIDENCE,
    costs: Costs = ASVSPOOF5,
    n_bins: int = measures.N_BINS,
) -> dict[str, Interval]:
    """Return an interval for every metric, all from the same resamples.

    Args:
        items: The sample, reals and fakes.
        names: Metrics, of ``metrics.json``'s names.
        seed: Where the draws start.
        n_resamples: How many resamples.
        confidence: Level.
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Bins of ``ece``.
    """
    n_groups = min(items.groups_of(0), items.groups_of(1))
    if n_groups < MIN_GROUPS:
        return dict.fromkeys(names, Interval(reason=TOO_FEW_GROUPS))
    taken = [*names, *(BIAS[name] for name in names if name in BIAS)]
    once = np.ones((1, items.n_groups), dtype=np.int16)
    point = resample(items, once, taken, costs=costs, n_bins=n_bins)
    values = np.array([point[name][0] for name in taken])
    rng, size = np.random.default_rng(seed), max(1, HELD // items.n_groups)
    sizes = [min(size, n_resamples - start) for start in range(0, n_resamples, size)]
    moments = np.zeros((2, items.n_groups, len(taken)), dtype=np.float64)
    parts = []
    for n in sizes:
        weights = draw_weights(items, n, rng)
        found = resample(items, weights, taken, costs=costs, n_bins=n_bins)
        parts.append(np.column_stack([found[name] for name in taken]) - values)
        moments += _moments(weights, parts[-1])
    least, greatest = {"mcc": -1.0}, _greatest_losses(items)
    shifts = dict(zip(taken, np.concatenate(parts).T, strict=True))
    return {
        name: _interval(
            name,
            Spread(
                value=float(values[column]),
                shifts=shifts[name],
                moments=moments[:, :, column],
                n_groups=n_groups,
                bounds=(least.get(name, 0.0), greatest.get(name, 1.0)),
                bias=shifts.get(BIAS.get(name, ""), np.empty(0)),
            ),
            confidence,
        )
        for column, name in enumerate(names)
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


def _greatest_losses(items: Items) -> dict[str, float]:
    """Return what the most confident item would cost if it were wrong: the losses' upper bound."""
    found = {}
    both = (items.target, 1 - items.target)
    if items.logit is not None:
        found["cllr"] = max(float(measures.cllr_bits(t, items.logit).max()) for t in both)
    if items.prob is not None:
        found["log_loss"] = max(float(measures.log_losses(t, items.prob).max()) for t in both)
    return found


def _interval(name: str, spread: Spread, confidence: float) -> Interval:
    n_undefined = len(spread.shifts) - len(spread.defined)
    if n_undefined > MOST_UNDEFINED * len(spread.shifts):
        return Interval(reason=f"undefined in {n_undefined} of {len(spread.shifts)} resamples")
    least, greatest = spread.bounds
    if spread.variance <= (ROUNDING * (greatest - least)) ** 2 and (
        name in LOSSES or least < spread.value < greatest
    ):
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


TPR_AT_FPR = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_5pct": 0.05}
"""Figures that allow a share of reals to be called fake."""

ITEMS_AT_ONCE = 100_000
"""Weights of items that are held at once: few enough to stay in a processor's own memory."""

GROUPS_AT_ONCE = 2_000_000
"""Weights of groups that are multiplied at once: many enough for a product of matrices to pay."""


def resample(
    items: Items,
    weights: NDArray[np.integer],
    names: Collection[str],
    *,
    costs: Costs = ASVSPOOF5,
    n_bins: int = measures.N_BINS,
) -> dict[str, Floats]:
    """Return figures under every weighting.

    Args:
        items: The sample, with the decisions, scores or probabilities that the figures take.
        weights: ``(n_samples, n_groups)``, how often each group counts.
        names: Metrics, of ``metrics.json``'s names; also ``min_dcf_optimism`` and ``ece_noise``,
            the biases of two of them.
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Bins of ``ece``.

    Returns:
        Name → ``(n_samples,)``.
    """
    table = sums.tally(items, costs, n_bins)
    of_sums = sums.formulas(costs, table)
    summed = [name for name in names if name in of_sums]
    ordered = [name for name in names if name not in of_sums]
    found: dict[str, list[Floats]] = {name: [] for name in names}
    if summed:
        for block in _blocks(weights, GROUPS_AT_ONCE // max(items.n_groups, 1)):
            totals = _summed(block, table)
            for name in summed:
                found[name].append(of_sums[name](totals))
    if ordered and items.score is not None:
        ranking = sweep.rank(items.target, items.score)
        of_steps = _of_steps(costs, sweep.count_steps(ranking))
        for block in _blocks(weights, ITEMS_AT_ONCE // max(len(items), 1)):
            counted = sweep.count_ordered(ranking, block[:, items.group[ranking.order]])
            for name in ordered:
                found[name].append(of_steps[name](ranking, counted))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _blocks(weights: NDArray[np.integer], size: int) -> Iterator[NDArray[np.integer]]:
    size = max(size, 1)
    return (weights[start : start + size] for start in range(0, len(weights), size))


def _summed(block: NDArray[np.integer], table: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every column's sums in every sample, by one product of matrices."""
    parts = [values.reshape(len(values), -1) for values in table.values()]
    product = block.astype(np.float64) @ np.hstack(parts)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return {
        key: sums if table[key].ndim > 1 else sums[:, 0]
        for key, sums in zip(table, np.split(product, ends, axis=1), strict=True)
    }


def _of_steps(costs: Costs, whole: Steps) -> dict[str, Callable[[Ranking, Steps], Floats]]:
    simple: dict[str, Callable[[Ranking, Steps], Floats]] = {
        "auroc": lambda _, counted: sweep.auroc(counted),
        "average_precision": lambda _, counted: sweep.average_precision(counted),
        "eer": lambda _, counted: sweep.eer(counted),
        "eer_threshold": lambda order, counted: order.thresholds[sweep.eer_step(counted) - 1],
        "min_dcf": lambda _, counted: sweep.min_dcf(counted, costs),
        "min_dcf_optimism": lambda _, counted: sweep.min_dcf_optimism(counted, whole, costs),
    }
    return simple | {name: _tpr_at(fpr) for name, fpr in TPR_AT_FPR.items()}


def _tpr_at(fpr: float) -> Callable[[Ranking, Steps], Floats]:
    return lambda _, counted: sweep.tpr_at_fpr(counted, fpr)
