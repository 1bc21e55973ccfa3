"""Intervals over groups in closed form: AUROC, rates and sums of two rates.

Conventions: two-sided, 95 % by default; a group counts once however many items it holds; below
``MIN_GROUPS`` groups in a class there is no interval and ``reason`` says so. An interval contains
its point.

``score_interval`` is the only formula for anything between two bounds: Wilson's interval for the
number of independent observations that have the variance found over groups. That variance is least
to be trusted where the metric is near a bound, because the groups that would show it are rare and
may be missing from the sample. It is therefore averaged with the greatest variance that so many
groups can have.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import sweep
from earwitness.metrics.sample import Floats, Ints, Items, Options

CONFIDENCE = Options.confidence
NO_VARIATION = "no variation between groups"
PRIOR_FREEDOM = 1.5
"""Degrees of freedom that the greatest possible variance counts for, chosen by simulation
(``docs/statistics.md``): with 1 and 2, coverage falls short near 1 or intervals widen."""


@dataclass(frozen=True)
class Interval:
    """Two ends, or why there are none.

    Attributes:
        low: Lower end; NaN without an interval.
        high: Upper end; NaN without an interval.
        method: How it was made; ``None`` without an interval.
        reason: Why there is none; ``None`` where there is one.
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
    """Return Wilson's interval for a metric between two bounds.

    The metric is scaled to ``p`` from 0 to 1. Its variance is averaged with the greatest one,
    ``p (1 - p) / n_groups``, as if all items of a group said the same (for AUROC: Birnbaum and
    Klose, 1957), by degrees of freedom: those of the variance and ``PRIOR_FREEDOM``. The effective
    number of observations is ``p (1 - p)`` by that, corrected by ``(z / t)**2`` (Korn and Graubard,
    1998). At a bound, or without a variance, it
    is the number of groups.

    Args:
        value: The metric, within its bounds.
        variance: Its variance over samples of groups.
        freedom: Degrees of freedom of the variance (``freedom_of``).
        n_groups: Groups of the class that has fewer.
        confidence: Level.
        bounds: Least and greatest possible value.
        inflation: Factor of the greatest variance, at least 1.
    """
    least, span = bounds[0], bounds[1] - bounds[0]
    share = min(max((value - least) / span, 0.0), 1.0)
    z, greatest = float(norm.ppf((1 + confidence) / 2)), inflation * share * (1 - share) / n_groups
    freedom = min(freedom, n_groups - 1) if variance > 0 else 0.0
    averaged = freedom * variance / span**2 + PRIOR_FREEDOM * greatest
    averaged /= freedom + PRIOR_FREEDOM
    n = n_groups / inflation
    if greatest > 0 and variance > 0:
        quantile = _quantile(confidence, min(freedom + PRIOR_FREEDOM, n_groups - 1))
        n = share * (1 - share) / averaged * (z / quantile) ** 2
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return Interval(
        min(least + span * low, value), max(least + span * high, value), "Wilson, over groups"
    )


def auroc_interval(items: Items, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for AUROC, of reals and fakes with scores.

    It is ``score_interval`` with Obuchowski's (1997) variance. At an AUROC of 0 or 1
    no variance can be seen: there the bound is exact and one-sided, from as many disjoint pairs of
    a group with reals and another with fakes as there are (see ``_independent_pairs``).
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
    variance = clustered_variance(placements, target, group)
    if variance == 0:
        return Interval(reason=NO_VARIATION)
    freedom = degrees_of_freedom(placements, target, group)
    found = score_interval(area, variance, freedom, n_least, confidence)
    return replace(found, method="clustered (Obuchowski), Wilson")


def rate_interval(hit: Ints, group: Ints, confidence: float = CONFIDENCE) -> Interval:
    """Return ``score_interval`` for a share, with its variance over groups.

    That is at least the variance of independent items.

    Args:
        hit: ``(n_items,)`` of 0 and 1, at least one.
        group: ``(n_items,)`` group of each, any whole numbers.
        confidence: Level.
    """
    groups, codes = np.unique(group, return_inverse=True)
    if len(groups) < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    share = float(np.mean(hit))
    parts = np.bincount(codes, hit - share) / len(hit)
    variance = float((parts**2).sum()) * len(groups) / (len(groups) - 1)
    if variance > 0:
        variance = max(variance, share * (1 - share) / len(hit))
    return score_interval(share, variance, freedom_of(parts), len(groups), confidence)


def mixed_interval(
    hit: Ints,
    target: Ints,
    group: Ints,
    weights: tuple[float, float],
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return an interval for a weighted sum of a share of reals and a share of fakes.

    The ends of the two classes' own intervals are put together as Zou and Donner (2008) do, with
    the correlation between classes that groups with both of them show.

    Args:
        hit: ``(n_items,)`` of 0 and 1: right decisions, or wrong ones.
        target: ``(n_items,)`` of 0 and 1, both there.
        group: ``(n_items,)`` group of each, from 0 up.
        weights: Of the share of reals and of that of fakes: a half each for balanced accuracy, the
            shares of the classes for accuracy, what errors cost for a detection cost.
        confidence: Level.
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
    """Return how many pairs of a group with reals and another with fakes share no group.

    In as many independent pairs, each in order, the chance of an order can be bounded exactly; a
    group with both classes serves in one pair only.
    """
    real, fake = set(group[target == 0].tolist()), set(group[target == 1].tolist())
    return min(len(real), len(fake), len(real | fake) // 2)


def _correlation(hit: Ints, target: Ints, group: Ints) -> float:
    """Return the correlation of recall's and specificity's deviations, through shared groups."""
    n_groups = int(group.max()) + 1
    sums = []
    for label in (0, 1):
        own = target == label
        excess = (hit[own] - hit[own].mean()) / own.sum()
        sums.append(np.bincount(group[own], excess, n_groups))
    scale = math.sqrt(float((sums[0] ** 2).sum() * (sums[1] ** 2).sum()))
    return float((sums[0] * sums[1]).sum()) / scale if scale > 0 else 0.0


def _quantile(confidence: float, freedom: float) -> float:
    return float(t.ppf((1 + confidence) / 2, max(freedom, 1)))


@dataclass(frozen=True)
class Placements:
    """Each item's rank among the items of the other class; ties count half.

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
        """Return the differences to another detector's placements of the same items."""
        return Placements(self.of_fakes - other.of_fakes, self.of_reals - other.of_reals)


def place(items: Items) -> Placements:
    """Return where each item of one class is among those of the other; takes both and scores."""
    steps, step = sweep.count_steps(items.ranking), items.ranking.step_of
    fake = items.target == 1
    at_fake, at_real = step[fake], step[~fake]
    n_real, n_fake = steps.fp[-1], steps.tp[-1]
    reals_above = steps.fp[at_fake] + steps.fp[at_fake - 1]
    fakes_above = steps.tp[at_real] + steps.tp[at_real - 1]
    return Placements((2 * n_real - reals_above) / (2 * n_real), fakes_above / (2 * n_fake))


def clustered_variance(placements: Placements, target: Ints, group: Ints) -> float:
    """Return the variance of the mean placement over samples of groups.

    Args:
        placements: Of one detector, or differences of two.
        target: ``(n_items,)`` of 0 and 1, in the order that placements were made from.
        group: ``(n_items,)`` group of each, from 0 up.

    Returns:
        NaN unless two groups hold fakes and two hold reals.
    """
    of_fakes, of_reals = _parts(placements, target, group)
    i10, i01 = (len(np.unique(group[target == label])) for label in (1, 0))
    if min(i10, i01) < 2:
        return float("nan")
    alone = i10 / (i10 - 1) * (of_fakes**2).sum() + i01 / (i01 - 1) * (of_reals**2).sum()
    together = len(of_fakes) / (len(of_fakes) - 1) * (of_fakes * of_reals).sum()
    return float(max(alone + 2 * together, 0))


def degrees_of_freedom(placements: Placements, target: Ints, group: Ints) -> float:
    """Return how many degrees of freedom ``clustered_variance`` has on this sample.

    Where a few groups make most of the variance, as at an AUROC near 1, it has few degrees of
    freedom however many groups there are. They follow from the fourth moment of the groups' parts
    (Satterthwaite, 1946); for normal parts they are the number of groups.

    Args:
        placements: Of one detector, not all alike.
        target: ``(n_items,)`` of 0 and 1, in the order that placements were made from.
        group: ``(n_items,)`` group of each, from 0 up.
    """
    of_fakes, of_reals = _parts(placements, target, group)
    return freedom_of(of_fakes + of_reals)


def freedom_of(parts: Floats) -> float:
    """Return the degrees of freedom of a variance that is the sum of squared parts.

    Args:
        parts: ``(n_groups,)`` what each group adds to the metric.
    """
    squares = parts**2
    second, fourth = float(squares.sum()), float((squares**2).sum())
    spread = fourth - second**2 / max(len(squares), 1)
    return float("inf") if spread <= 0 else 2 * second**2 / spread


def _parts(placements: Placements, target: Ints, group: Ints) -> tuple[Floats, Floats]:
    """Return what each group adds to the mean placement of fakes, and to that of reals."""
    mean, n_groups = placements.mean, int(group.max()) + 1
    of_fakes, of_reals = (
        np.bincount(group[target == label], values - mean, n_groups) / len(values)
        for label, values in ((1, placements.of_fakes), (0, placements.of_reals))
    )
    return of_fakes, of_reals


def tpr_interval(items: Items, fpr: float, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for the share of fakes found with at most ``fpr`` of reals called fake.

    The recall at the last threshold whose false positive rate is significantly below ``fpr``, and
    at the first where it is significantly above, are put together with the interval of recall at
    the threshold of the sample as Zou and Donner (2008) do. There is no interval with so few groups
    of reals that even none called fake would not exclude a rate of ``fpr`` (``groups_needed``).

    Args:
        items: Reals and fakes, with scores.
        fpr: Between 0 and 1.
        confidence: Level.
    """
    n_groups, needed = items.groups_of(0), groups_needed(fpr, confidence)
    if n_groups < needed:
        found = f"{TOO_FEW_GROUPS} of reals: {100 * fpr:g} % takes {needed}, here {n_groups}"
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
    """Return with how many groups, none of them called fake, a rate of ``fpr`` is excluded."""
    z = float(norm.ppf((1 + confidence) / 2))
    return math.ceil(z**2 * (1 - fpr) / fpr)
