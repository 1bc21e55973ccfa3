"""Intervals over groups in closed form: AUROC, rates and means of two rates.

Conventions: two-sided, 95 % unless told otherwise; a group counts once however many items it
holds; below ``MIN_GROUPS`` groups in a class there is no interval and ``reason`` says so. Student's
t takes the place of the normal quantile, since the variance is estimated from the groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.special import logit as logit_of
from scipy.stats import norm, t

from earwitness.core.estimates import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.clustered import (
    Floats,
    Ints,
    clustered_variance,
    degrees_of_freedom,
    place,
)

CONFIDENCE = 0.95
NO_VARIATION = "no variation between groups"


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


def auroc_interval(
    target: Ints, score: Floats, group: Ints, confidence: float = CONFIDENCE
) -> Interval:
    """Return an interval for AUROC.

    It is symmetric on the logit scale, with Obuchowski's (1997) variance and Student's t on as
    many degrees of freedom as that variance has on this sample. At an AUROC of 0 or 1
    no variance can be seen: there the bound is exact and one-sided, from as many disjoint pairs of
    a group with reals and another with fakes as there are (see ``_independent_pairs``).

    Args:
        target: ``(n_items,)`` of 0 and 1, both there.
        score: ``(n_items,)`` finite numbers, high for fake.
        group: ``(n_items,)`` group of each, from 0 up.
        confidence: Level.
    """
    n_least = min(len(np.unique(group[target == label])) for label in (0, 1))
    if n_least < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    placements = place(target, score)
    area = placements.mean
    if area in (0, 1):
        bound = (1 - confidence) ** (1 / _independent_pairs(target, group))
        low, high = (bound, 1.0) if area == 1 else (0.0, 1 - bound)
        return Interval(low, high, "exact bound from the group count, one-sided")
    error = math.sqrt(clustered_variance(placements, target, group))
    if error == 0:
        return Interval(reason=NO_VARIATION)
    freedom = min(n_least - 1, degrees_of_freedom(placements, target, group))
    reach = _quantile(confidence, freedom) * error / (area * (1 - area))
    low, high = expit(logit_of(area) - reach), expit(logit_of(area) + reach)
    return Interval(float(low), float(high), "clustered (Obuchowski), logit")


def rate_interval(hit: Ints, group: Ints, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's interval for a share, on as many items as the groups are worth.

    The design effect (Kish, 1965) is the variance over groups by that of independent items, at
    least 1; the effective number is the items by it, corrected for its degrees of freedom (Korn and
    Graubard, 1998), or the groups where every one says the same.

    Args:
        hit: ``(n_items,)`` of 0 and 1, at least one.
        group: ``(n_items,)`` group of each, any whole numbers.
        confidence: Level.
    """
    groups, codes = np.unique(group, return_inverse=True)
    if len(groups) < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    share, z = float(np.mean(hit)), float(norm.ppf((1 + confidence) / 2))
    sums = np.bincount(codes, hit - share)
    variance = float((sums**2).sum()) * len(groups) / (len(groups) - 1) / len(hit) ** 2
    if 0 < share < 1 and variance > 0:
        n = min(share * (1 - share) / variance, len(hit))
        n *= (z / _quantile(confidence, len(groups) - 1)) ** 2
    else:
        n = len(groups)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = max(centre - reach, 0.0), min(centre + reach, 1.0)
    return Interval(min(low, share), max(high, share), "Wilson, design effect of the groups")


def mixed_interval(
    hit: Ints, target: Ints, group: Ints, share_fake: float, confidence: float = CONFIDENCE
) -> Interval:
    """Return an interval for a weighted mean of recall and specificity.

    The ends of the two classes' own intervals are put together as Zou and Donner (2008) do, with
    the correlation between classes that groups with both of them show.

    Args:
        hit: ``(n_items,)``, 1 where the decision is right.
        target: ``(n_items,)`` of 0 and 1, both there.
        group: ``(n_items,)`` group of each, from 0 up.
        share_fake: Weight of recall, between 0 and 1: a half for balanced accuracy, the share of
            fakes for accuracy.
        confidence: Level.
    """
    parts = [rate_interval(hit[target == c], group[target == c], confidence) for c in (0, 1)]
    if any(part.reason for part in parts):
        return Interval(reason=TOO_FEW_GROUPS)
    shares = [float(hit[target == c].mean()) for c in (0, 1)]
    weights = (1 - share_fake, share_fake)
    mean = math.fsum(w * share for w, share in zip(weights, shares, strict=True))
    both = zip(weights, shares, parts, strict=True)
    reaches = [(w * (share - part.low), w * (part.high - share)) for w, share, part in both]
    related = _correlation(hit, target, group)
    down, up = (
        math.sqrt(max(a * a + b * b + 2 * related * a * b, 0))
        for a, b in zip(*reaches, strict=True)
    )
    method = "Wilson by class, combined (Zou and Donner)"
    return Interval(max(mean - down, 0.0), min(mean + up, 1.0), method)


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
