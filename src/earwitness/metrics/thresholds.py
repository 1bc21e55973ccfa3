"""Thresholds that follow from a sample: at an allowed rate of false flags, at the least cost.

Conventions: scores rise with fakeness; items at or above the threshold are called fake, and a
threshold is a score that occurs. Infinity calls nothing fake; NaN is undefined. The threshold at
the EER stands in ``ranking``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics import steps
from earwitness.metrics.costs import Costs
from earwitness.metrics.ranking import has_both, reals_needed


def threshold_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float) -> float:
    """Return the lowest score that as a threshold calls at most ``fpr`` of the reals fake.

    Reals alone serve as well. NaN below ``reals_needed(fpr)`` reals.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        fpr: Between 0 and 1.
    """
    n_real = int((np.asarray(target) == 0).sum())
    if n_real < reals_needed(fpr):
        return math.nan
    ranking = steps.rank(target, score)
    called = steps.count_steps(ranking).fp
    last = int((called <= fpr * n_real * (1 + 1e-12)).sum()) - 1
    return math.inf if last == 0 else float(ranking.thresholds[last - 1])


def threshold_at_cost(target: ArrayLike, score: ArrayLike, costs: Costs) -> float:
    """Return the threshold with the least detection cost; of several, the highest.

    NaN with one class alone.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    ranking = steps.rank(target, score)
    counted = steps.count_steps(ranking)
    step = int(np.argmin(costs.normalised(counted.fpr, 1 - counted.tpr)))
    return math.inf if step == 0 else float(ranking.thresholds[step - 1])
