"""The interval of the true positive rate at a fixed false positive rate.

Conventions: scores rise with fakeness. Two things vary: the threshold, which the reals give, and
the share of fakes above it. The range of the threshold is that of a distribution-free interval of a
quantile: where the false positive rate is not significantly different from the one asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

import numpy as np
from scipy.stats import norm

from earwitness.core.estimates import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import steps
from earwitness.metrics.intervals import CONFIDENCE, Interval, rate_interval
from earwitness.metrics.items import Items


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
    score = np.asarray(items.score, dtype=np.float64)
    ranking = steps.rank(items.target, score)
    counted = steps.count_steps(ranking)
    numbers = range(len(ranking.thresholds) + 1)

    def share(step: int, label: int) -> Interval:
        own = items.target == label
        threshold = ranking.thresholds[step - 1] if step else math.inf
        return rate_interval((score[own] >= threshold).astype(int), items.group[own], confidence)

    strict = bisect_right(numbers, fpr, key=lambda step: share(step, 0).high) - 1
    loose = min(bisect_left(numbers, fpr, key=lambda step: share(step, 0).low), numbers[-1])
    step = int(steps.last_step_at(counted, fpr))
    value, own = float(counted.tpr[step]), share(step, 1)
    down = math.hypot(value - counted.tpr[min(strict, step)], value - own.low)
    up = math.hypot(counted.tpr[max(loose, step)] - value, own.high - value)
    method = "quantile of the reals, Wilson (Zou and Donner)"
    return Interval(max(value - down, 0.0), min(value + up, 1.0), method)


def groups_needed(fpr: float, confidence: float = CONFIDENCE) -> int:
    """Return with how many groups, none of them called fake, a rate of ``fpr`` is excluded."""
    z = float(norm.ppf((1 + confidence) / 2))
    return math.ceil(z**2 * (1 - fpr) / fpr)
