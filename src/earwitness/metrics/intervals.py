"""Closed-form confidence intervals over groups: AUROC, rates, weighted sums of two rates.

Conventions: two-sided, 95 % by default; the groups of a class are the independent units, at least
``MIN_GROUPS`` of them. An interval contains its point. ``docs/statistics.md`` has the reasons.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import sweep
from earwitness.metrics.sample import Floats, Ints, Items, Options

CONFIDENCE = Options.confidence
NO_VARIATION = "no variation between groups"
PRIOR_FREEDOM = 1.5
"""Degrees of freedom of the maximum variance, chosen by simulation (``docs/statistics.md``)."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval, or the reason why there is none.

    Attributes:
        low: Lower end; NaN without an interval.
        high: Upper end; NaN without an interval.
        method: Name of the method; ``None`` without an interval.
        reason: Why there is no interval.
    """

    low: float = math.nan
    high: float = math.nan
    method: str | None = None
    reason: str | None = None


def score_interval(
    value: float,
    variance: float,
    freedom: float,
    n_groups: int,
    confidence: float = CONFIDENCE,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    inflation: float = 1.0,
) -> Interval:
    """Return the Wilson score interval of a bounded metric with its effective sample size.

    The metric is scaled to ``p`` from 0 to 1. The groups that show its variance near a bound are
    rare, so the variance is averaged with its maximum, ``p (1 - p) / n_groups`` (for AUROC:
    Birnbaum and Klose, 1957), weighted by degrees of freedom. The effective sample size is
    ``p (1 - p)`` over that, times ``(z / t)**2`` (Korn and Graubard, 1998); at a bound or without a
    variance it is the number of groups.

    Args:
        value: The metric, within its bounds.
        variance: Its variance over samples of groups.
        freedom: Degrees of freedom of the variance (``freedom_of``).
        n_groups: Number of groups of the smaller class.
        confidence: Confidence level.
        bounds: Minimum and maximum possible.
        inflation: Factor of the maximum variance, at least 1.
    """
    least, span = bounds[0], bounds[1] - bounds[0]
    share = min(max((value - least) / span, 0.0), 1.0)
    z, greatest = float(norm.ppf((1 + confidence) / 2)), inflation * share * (1 - share) / n_groups
    freedom = min(freedom, n_groups - 1) if variance > 0 else 0.0
    averaged = freedom * variance / span**2 + PRIOR_FREEDOM * greatest
    averaged /= freedom + PRIOR_FREEDOM
    n = n_groups / inflation
    if greatest > 0 and variance > 0:
        quantile = t_quantile(confidence, min(freedom + PRIOR_FREEDOM, n_groups - 1))
        n = share * (1 - share) / averaged * (z / quantile) ** 2
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return Interval(
        min(least + span * low, value), max(least + span * high, value), "Wilson, over groups"
    )


def auroc_interval(items: Items, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for the AUROC of items of both classes.

    It is ``score_interval`` with Obuchowski's (1997) variance. An AUROC of 0 or 1 has no sample
    variance: the bound is then exact and one-sided, from ``_independent_pairs``.
    """
    n_least = min(items.groups_of(0), items.groups_of(1))
    if n_least < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    target, group, placements = items.target, items.group, place(items)
    area = placements.mean
    if area in (0, 1):
        bound = (1 - confidence) ** (1 / _independent_pairs(target, group))
        low, high = (bound, 1.0) if area == 1 else (0.0, 1 - bound)
        return Interval(low, high, "exact bound from the group count, one-sided")
    variance, freedom = clustered_variance(placements, target, group)
    if variance == 0:
        return Interval(reason=NO_VARIATION)
    found = score_interval(area, variance, freedom, n_least, confidence)
    return replace(found, method="clustered (Obuchowski), Wilson")


def rate_interval(hit: Ints, group: Ints, confidence: float = CONFIDENCE) -> Interval:
    """Return ``score_interval`` for a share.

    Its variance over groups is at least that of independent items.

    Args:
        hit: ``(n_items,)`` of 0 and 1, at least one item.
        group: ``(n_items,)`` groups, any whole numbers.
        confidence: Confidence level.
    """
    groups, codes = np.unique(group, return_inverse=True)
    if len(groups) < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    share = float(np.mean(hit))
    parts, variance = _parts_of_mean(hit - share, codes)
    if variance > 0:
        variance = max(variance, share * (1 - share) / len(hit))
    return score_interval(share, variance, freedom_of(parts), len(groups), confidence)


def _parts_of_mean(deviations: NDArray[np.floating], codes: Ints) -> tuple[Floats, float]:
    """Return each group's part of a mean's deviation, and the variance of the mean over groups.

    Args:
        deviations: ``(n_items,)`` values minus their mean.
        codes: ``(n_items,)`` groups from 0 on, two or more.
    """
    parts = np.bincount(codes, deviations) / len(deviations)
    return parts, float((parts**2).sum()) * len(parts) / (len(parts) - 1)


def mixed_interval(
    hit: Ints,
    target: Ints,
    group: Ints,
    weights: tuple[float, float],
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return an interval for a weighted sum of a share of reals and a share of fakes.

    The intervals of the classes are combined (Zou and Donner, 2008), with the correlation found in
    groups of both classes.

    Args:
        hit: ``(n_items,)`` of 0 and 1: right decisions, or wrong ones.
        target: ``(n_items,)`` of 0 and 1, both present.
        group: ``(n_items,)`` groups, from 0.
        weights: Weights of the share of reals and of the share of fakes.
        confidence: Confidence level.
    """
    parts = [rate_interval(hit[target == c], group[target == c], confidence) for c in (0, 1)]
    if any(part.reason for part in parts):
        return Interval(reason=TOO_FEW_GROUPS)
    shares = [float(hit[target == c].mean()) for c in (0, 1)]
    total = math.fsum(w * share for w, share in zip(weights, shares, strict=True))
    both = zip(weights, shares, parts, strict=True)
    reaches = [(w * (share - part.low), w * (part.high - share)) for w, share, part in both]
    related = _correlation(hit, target, group)
    down, up = (
        math.sqrt(max(a * a + b * b + 2 * related * a * b, 0))
        for a, b in zip(*reaches, strict=True)
    )
    method = "Wilson by class, combined (Zou and Donner)"
    return Interval(max(total - down, 0.0), min(total + up, math.fsum(weights)), method)


def _independent_pairs(target: Ints, group: Ints) -> int:
    """Return the number of disjoint pairs of a group with reals and another with fakes."""
    real, fake = set(group[target == 0].tolist()), set(group[target == 1].tolist())
    return min(len(real), len(fake), len(real | fake) // 2)


def _correlation(hit: Ints, target: Ints, group: Ints) -> float:
    """Return the correlation of recall and specificity through shared groups."""
    n_groups = int(group.max()) + 1
    sums = []
    for label in (0, 1):
        own = target == label
        excess = (hit[own] - hit[own].mean()) / own.sum()
        sums.append(np.bincount(group[own], excess, n_groups))
    scale = math.sqrt(float((sums[0] ** 2).sum() * (sums[1] ** 2).sum()))
    return float((sums[0] * sums[1]).sum()) / scale if scale > 0 else 0.0


def t_quantile(confidence: float, freedom: float) -> float:
    """Return the two-sided quantile of Student's t, on at least one degree of freedom."""
    return float(t.ppf((1 + confidence) / 2, max(freedom, 1)))


@dataclass(frozen=True)
class Placements:
    """Relative rank of each item among the other class; ties count half.

    Attributes:
        of_fakes: ``(n_fake,)`` share of reals below each fake.
        of_reals: ``(n_real,)`` share of fakes above each real.
    """

    of_fakes: Floats
    of_reals: Floats

    @property
    def mean(self) -> float:
        """AUROC, or the difference of two."""
        return float(self.of_fakes.mean())

    def minus(self, other: Placements) -> Placements:
        """Return the differences from another detector's placements of the same items."""
        return Placements(self.of_fakes - other.of_fakes, self.of_reals - other.of_reals)


def place(items: Items) -> Placements:
    """Return the placements of items of both classes."""
    steps, step = sweep.count_steps(items.ranking), items.ranking.step_of
    fake = items.target == 1
    at_fake, at_real = step[fake], step[~fake]
    n_real, n_fake = steps.fp[-1], steps.tp[-1]
    reals_above = steps.fp[at_fake] + steps.fp[at_fake - 1]
    fakes_above = steps.tp[at_real] + steps.tp[at_real - 1]
    return Placements((2 * n_real - reals_above) / (2 * n_real), fakes_above / (2 * n_fake))


def clustered_variance(placements: Placements, target: Ints, group: Ints) -> tuple[float, float]:
    """Return Obuchowski's (1997) variance of the mean placement, and its degrees of freedom.

    Args:
        placements: Of one detector, or differences of two.
        target: ``(n_items,)`` of 0 and 1, in the order of the placed items.
        group: ``(n_items,)`` groups, from 0; at least two of each class.
    """
    mean, n_groups = placements.mean, int(group.max()) + 1
    of_fakes, of_reals = (  # contributions of each group
        np.bincount(group[target == label], values - mean, n_groups) / len(values)
        for label, values in ((1, placements.of_fakes), (0, placements.of_reals))
    )
    i10, i01 = (len(np.unique(group[target == label])) for label in (1, 0))
    alone = i10 / (i10 - 1) * (of_fakes**2).sum() + i01 / (i01 - 1) * (of_reals**2).sum()
    together = n_groups / (n_groups - 1) * (of_fakes * of_reals).sum()
    return float(max(alone + 2 * together, 0)), freedom_of(of_fakes + of_reals)


def freedom_of(parts: Floats) -> float:
    """Return the degrees of freedom of the sum of squared parts, ``(n_groups,)``.

    They follow from the fourth moment (Satterthwaite, 1946): few if a few groups make most of the
    variance, the number of groups for normal parts.
    """
    squares = parts**2
    second, fourth = float(squares.sum()), float((squares**2).sum())
    spread = fourth - second**2 / max(len(squares), 1)
    return float("inf") if spread <= 0 else 2 * second**2 / spread


def tpr_interval(items: Items, fpr: float, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for the true positive rate at a false positive rate of ``fpr``.

    The rates at the last threshold significantly below ``fpr`` and at the first one significantly
    above are combined with the interval at the threshold of the sample (Zou and Donner, 2008).

    Args:
        items: Items of both classes, with scores.
        fpr: Between 0 and 1; needs ``groups_needed`` groups of reals.
        confidence: Confidence level.
    """
    n_groups, needed = items.groups_of(0), groups_needed(fpr, confidence)
    if n_groups < needed:
        found = f"{TOO_FEW_GROUPS} of reals: {100 * fpr:g} % needs {needed}, here {n_groups}"
        return Interval(reason=found)
    if items.groups_of(1) < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    counted, step_of = sweep.count_steps(items.ranking), items.ranking.step_of
    numbers = range(counted.fp.shape[-1])

    def share(step: int, label: int) -> Interval:
        own = items.target == label
        return rate_interval((step_of[own] <= step).astype(int), items.group[own], confidence)

    strict = bisect_right(numbers, fpr, key=lambda step: share(step, 0).high) - 1
    loose = min(bisect_left(numbers, fpr, key=lambda step: share(step, 0).low), numbers[-1])
    step = int(sweep.last_step_at(counted, fpr))
    value, own = float(counted.tpr[step]), share(step, 1)
    down = math.hypot(value - counted.tpr[min(strict, step)], value - own.low)
    up = math.hypot(counted.tpr[max(loose, step)] - value, own.high - value)
    method = "quantile of the reals, Wilson (Zou and Donner)"
    return Interval(max(value - down, 0.0), min(value + up, 1.0), method)


def groups_needed(fpr: float, confidence: float = CONFIDENCE) -> int:
    """Return the number of groups, none called fake, that exclude a rate of ``fpr``."""
    z = float(norm.ppf((1 + confidence) / 2))
    return math.ceil(z**2 * (1 - fpr) / fpr)


def mean_interval(values: Floats, group: Ints, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for the mean of unbounded values, by Student's t over groups.

    Args:
        values: ``(n_items,)`` finite numbers, at least one.
        group: ``(n_items,)`` groups, any whole numbers.
        confidence: Confidence level.
    """
    groups, codes = np.unique(group, return_inverse=True)
    if len(groups) < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    mean = float(np.mean(values))
    parts, variance = _parts_of_mean(values - mean, codes)
    if variance == 0:
        return Interval(reason=NO_VARIATION)
    freedom = min(freedom_of(parts), len(groups) - 1)
    reach = t_quantile(confidence, freedom) * math.sqrt(variance)
    return Interval(mean - reach, mean + reach, "Student's t, over groups")
