"""Threshold sweep of one sample or of many reweighted samples, and metrics on it.

Conventions: scores rise with fakeness. Step 0 calls nothing fake, step ``k`` every item from the
``k``-th highest distinct score up. Weights are whole numbers, so counts are exact; leading axes are
samples. A metric of a single class is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.sample import (
    Costs,
    Floats,
    Ints,
    Ranking,
    has_both,
    numbered,
    rank,
)


@dataclass(frozen=True)
class Steps:
    """Counts at every step.

    Attributes:
        fp: ``(..., n_steps + 1)`` false positives, rising from 0 to all reals.
        tp: ``(..., n_steps + 1)`` true positives, rising from 0 to all fakes.
        thresholds: ``(n_steps,)`` distinct scores, descending; step 0 has none.
    """

    fp: Ints
    tp: Ints
    thresholds: Floats

    @property
    def n_real(self) -> Ints:
        """``(..., 1)`` reals."""
        return self.fp[..., -1:]

    @property
    def n_fake(self) -> Ints:
        """``(..., 1)`` fakes."""
        return self.tp[..., -1:]

    @cached_property
    def fpr(self) -> Floats:
        """``(..., n_steps + 1)`` false positive rates."""
        return _shares(self.fp, self.n_real)

    @cached_property
    def tpr(self) -> Floats:
        """``(..., n_steps + 1)`` true positive rates."""
        return _shares(self.tp, self.n_fake)


def count_steps(ranking: Ranking, weights: NDArray[np.integer] | None = None) -> Steps:
    """Return the counts at every step.

    Args:
        ranking: The items.
        weights: ``(..., n_items)`` whole weights of the items; ``None`` is 1.
    """
    if weights is None:
        weights = np.ones(len(ranking.order), dtype=np.int64)
    return count_ordered(ranking, weights[..., ranking.order])


def count_ordered(ranking: Ranking, ordered: NDArray[np.integer]) -> Steps:
    """Return the counts at every step, for weights in the order of the ranking."""
    called, tp = (_cumulate(ranking, w) for w in (ordered, ordered * ranking.is_fake))
    return Steps(called - tp, tp, ranking.thresholds)


def _cumulate(ranking: Ranking, ordered: NDArray[np.integer]) -> Ints:
    sums = np.zeros((*ordered.shape[:-1], ordered.shape[-1] + 1), dtype=np.int64)
    np.cumsum(ordered, axis=-1, out=sums[..., 1:])
    if len(ranking.ends) == ordered.shape[-1]:
        return sums
    return np.ascontiguousarray(sums[..., np.append(0, ranking.ends + 1)])


def auroc(steps: Steps) -> Floats:
    """Return the area under the ROC curve; a tie counts half: ``(...)``."""
    widths, heights = np.diff(steps.fpr, axis=-1), steps.tpr[..., 1:] + steps.tpr[..., :-1]
    area: Floats = (widths * heights / 2).sum(axis=-1)
    return area


def average_precision(steps: Steps) -> Floats:
    """Return the average precision, without interpolation: ``(...)``."""
    called = np.maximum((steps.tp + steps.fp)[..., 1:], 1)
    precision = steps.tp[..., 1:] / called
    found = np.einsum("...i,...i->...", precision, np.diff(steps.tp, axis=-1))
    shares = _shares(found, steps.n_fake[..., 0])
    return np.where(steps.n_real[..., 0] == 0, np.nan, shares)


def eer_step(steps: Steps) -> Ints:
    """Return the step from 1 at which the two error rates are closest: ``(...)``.

    Ties are resolved by the lower mean, so that the result does not depend on which class is
    positive. As false alarms rise and misses fall, only the last step with more misses and the
    next one are candidates.
    """
    n_real, n_fake = steps.n_real, steps.n_fake
    excess = steps.fp[..., 1:] * n_fake + steps.tp[..., 1:] * n_real - n_real * n_fake
    after = np.argmax(excess >= 0, axis=-1)[..., None]
    last = np.take_along_axis(excess, np.maximum(after - 1, 0), axis=-1)
    before = np.argmax(excess >= last, axis=-1)[..., None]
    gaps, totals = [], []
    for step in (before, after):
        alarms = np.take_along_axis(steps.fp, step + 1, axis=-1) * n_fake
        gap = np.take_along_axis(excess, step, axis=-1)
        gaps.append(np.abs(gap))
        totals.append(2 * alarms - gap)
    earlier = (gaps[0] < gaps[1]) | ((gaps[0] == gaps[1]) & (totals[0] <= totals[1]))
    step_at: Ints = np.where(earlier, before, after)[..., 0] + 1
    return step_at


def eer(steps: Steps) -> Floats:
    """Return the mean of the two error rates where they are closest: ``(...)``."""
    step = eer_step(steps)[..., None]
    fpr = np.take_along_axis(steps.fpr, step, axis=-1)
    fnr = 1 - np.take_along_axis(steps.tpr, step, axis=-1)
    rate: Floats = ((fpr + fnr) / 2)[..., 0]
    return rate


def eer_threshold(steps: Steps) -> Floats:
    """Return the threshold at which the error rates are closest: ``(...)``."""
    threshold: Floats = steps.thresholds[eer_step(steps) - 1]
    return threshold


def min_dcf(steps: Steps, costs: Costs) -> Floats:
    """Return the minimum normalised cost over thresholds: ``(...)``."""
    least: Floats = costs.normalised(steps.fpr, 1 - steps.tpr).min(axis=-1)
    return least


def min_dcf_optimism(steps: Steps, whole: Floats, costs: Costs) -> Floats:
    """Return the excess cost of each sample's best threshold on the original sample: ``(...)``.

    Args:
        steps: Counts of the samples.
        whole: ``(n_steps,)`` normalised costs of the original sample.
        costs: Prior and costs.
    """
    own = costs.normalised(steps.fpr, 1 - steps.tpr)
    cheapest = own.argmin(axis=-1)
    excess: Floats = whole[cheapest] - np.take_along_axis(own, cheapest[..., None], axis=-1)[..., 0]
    return excess


def tpr_at_fpr(steps: Steps, fpr: float) -> Floats:
    """Return the true positive rate at a false positive rate of at most ``fpr``: ``(...)``."""
    last = last_step_at(steps, fpr)[..., None]
    found = np.take_along_axis(steps.tpr, last, axis=-1)[..., 0]
    return np.where(steps.n_real[..., 0] == 0, np.nan, found)


def last_step_at(steps: Steps, fpr: float) -> Ints:
    """Return the last step with a false positive rate of at most ``fpr``: ``(...)``."""
    allowed = steps.fp <= fpr * steps.n_real * (1 + 1e-12)
    last: Ints = allowed.sum(axis=-1) - 1
    return last


def _shares(part: NDArray[Any], whole: Ints) -> Floats:
    shares: Floats = part / np.where(whole > 0, whole, np.nan)
    return shares


def threshold_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float) -> float:
    """Return the lowest threshold with a false positive rate of at most ``fpr``.

    Reals alone suffice. NaN below ``reals_needed(fpr)`` reals, infinity if no score qualifies.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        fpr: Between 0 and 1.
    """
    n_real = int((np.asarray(target) == 0).sum())
    if n_real < reals_needed(fpr):
        return math.nan
    steps = count_steps(rank(target, score))
    return _threshold_of(steps, int(last_step_at(steps, fpr)))


def conformal_threshold(target: ArrayLike, score: ArrayLike, group: ArrayLike, fpr: float) -> float:
    """Return the threshold that flags a new group of reals with probability ``fpr`` at most.

    It is just above the k-th lowest of the groups' highest scores of reals, k being
    (n groups + 1) (1 - ``fpr``), rounded up (split conformal prediction; Vovk et al., 2005). It
    holds on average over calibration sets, for groups exchangeable with these. NaN below
    1 / ``fpr`` - 1 groups of reals.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        group: ``(n_items,)`` labels of groups.
        fpr: Between 0 and 1.
    """
    is_real = np.asarray(target) == 0
    groups = numbered(np.asarray(group)[is_real])
    n_groups = len(np.unique(groups))
    if n_groups < reals_needed(fpr) - 1:
        return math.nan
    highest = np.full(n_groups, -np.inf)
    np.maximum.at(highest, groups, np.asarray(score, dtype=np.float64)[is_real])
    k = math.ceil(round((n_groups + 1) * (1 - fpr), 6))
    return float(np.nextafter(np.sort(highest)[k - 1], np.inf))


def threshold_at_cost(target: ArrayLike, score: ArrayLike, costs: Costs) -> float:
    """Return the highest threshold with the minimum detection cost; NaN with a single class.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    steps = count_steps(rank(target, score))
    return _threshold_of(steps, int(np.argmin(costs.normalised(steps.fpr, 1 - steps.tpr))))


def reals_needed(fpr: float) -> int:
    """Return the number of reals needed to observe a rate of ``fpr``: 100 at 1 %.

    Raises:
        ValueError: ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr {fpr}, expected a number between 0 and 1")
    return math.ceil(round(1 / fpr, 6))


def _threshold_of(steps: Steps, step: int) -> float:
    return math.inf if step == 0 else float(steps.thresholds[step - 1])
