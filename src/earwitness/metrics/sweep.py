"""Decisions at every reachable threshold, for one sample or for many reweighted ones at once.

Conventions: scores rise with fakeness. A threshold is reachable if it is a score: equal scores are
called fake together. Step 0 calls nothing fake, step ``k`` every item from the ``k``-th distinct
score (from the top) up. Weights are whole numbers, how often an item counts, so that counts are
exact; leading axes are samples. A metric without reals or without fakes is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.sample import Costs, Floats, Ints, Ranking, has_both, rank


@dataclass(frozen=True)
class Steps:
    """Items called fake at every step.

    Attributes:
        fp: ``(..., n_steps + 1)`` reals called fake, rising from 0 to all of them.
        tp: ``(..., n_steps + 1)`` fakes called fake, rising from 0 to all of them.
        thresholds: ``(n_steps,)`` distinct scores, falling; step 0 has none.
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
        """``(..., n_steps + 1)`` share of reals called fake."""
        return _shares(self.fp, self.n_real)

    @cached_property
    def tpr(self) -> Floats:
        """``(..., n_steps + 1)`` share of fakes called fake."""
        return _shares(self.tp, self.n_fake)


def count_steps(ranking: Ranking, weights: NDArray[np.integer] | None = None) -> Steps:
    """Count the items called fake at every step.

    Args:
        ranking: The items.
        weights: ``(..., n_items)`` whole numbers, how often each item counts; ``None`` is once.
    """
    if weights is None:
        weights = np.ones(len(ranking.order), dtype=np.int64)
    return count_ordered(ranking, weights[..., ranking.order])


def count_ordered(ranking: Ranking, ordered: NDArray[np.integer]) -> Steps:
    """Count the items called fake at every step, with weights in the ranking's order."""
    called, tp = (_cumulate(ranking, w) for w in (ordered, ordered * ranking.is_fake))
    return Steps(called - tp, tp, ranking.thresholds)


def _cumulate(ranking: Ranking, ordered: NDArray[np.integer]) -> Ints:
    sums = np.zeros((*ordered.shape[:-1], ordered.shape[-1] + 1), dtype=np.int64)
    np.cumsum(ordered, axis=-1, out=sums[..., 1:])
    if len(ranking.ends) == ordered.shape[-1]:
        return sums
    return np.ascontiguousarray(sums[..., np.append(0, ranking.ends + 1)])


def auroc(steps: Steps) -> Floats:
    """Return the area under the ROC curve, a tie counting half: ``(...)``."""
    widths, heights = np.diff(steps.fpr, axis=-1), steps.tpr[..., 1:] + steps.tpr[..., :-1]
    area: Floats = (widths * heights / 2).sum(axis=-1)
    return area


def average_precision(steps: Steps) -> Floats:
    """Return precision averaged over the fakes as they are found, without interpolation."""
    called = np.maximum((steps.tp + steps.fp)[..., 1:], 1)
    precision = steps.tp[..., 1:] / called
    found = np.einsum("...i,...i->...", precision, np.diff(steps.tp, axis=-1))
    shares = _shares(found, steps.n_fake[..., 0])
    return np.where(steps.n_real[..., 0] == 0, np.nan, shares)


def eer_step(steps: Steps) -> Ints:
    """Return the step at which the two error rates are nearest: ``(...)``.

    Of several that are equally near, the one with the lower mean is taken, so that nothing
    depends on which class is called positive. Never step 0, which has no threshold. False alarms
    rise and misses fall from step to step, so only the last step with more misses and the first
    without can be it.
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
    """Return the mean of the two error rates where they are nearest: ``(...)``."""
    step = eer_step(steps)[..., None]
    fpr = np.take_along_axis(steps.fpr, step, axis=-1)
    fnr = 1 - np.take_along_axis(steps.tpr, step, axis=-1)
    rate: Floats = ((fpr + fnr) / 2)[..., 0]
    return rate


def eer_threshold(steps: Steps) -> Floats:
    """Return the score from which items are called fake where the error rates are nearest."""
    threshold: Floats = steps.thresholds[eer_step(steps) - 1]
    return threshold


def min_dcf(steps: Steps, costs: Costs) -> Floats:
    """Return the least normalised cost that any reachable threshold has: ``(...)``."""
    least: Floats = costs.normalised(steps.fpr, 1 - steps.tpr).min(axis=-1)
    return least


def min_dcf_optimism(steps: Steps, whole: Steps, costs: Costs) -> Floats:
    """Return how much more the cheapest threshold of each sample costs on the whole: ``(...)``.

    Args:
        steps: Of the samples.
        whole: Of what they were drawn from, ``(n_steps + 1,)``.
        costs: Prior and costs.
    """
    own = costs.normalised(steps.fpr, 1 - steps.tpr)
    cheapest = own.argmin(axis=-1)
    there: Floats = costs.normalised(whole.fpr, 1 - whole.tpr)[cheapest]
    return there - np.take_along_axis(own, cheapest[..., None], axis=-1)[..., 0]


def tpr_at_fpr(steps: Steps, fpr: float) -> Floats:
    """Return the share of fakes found with at most ``fpr`` of reals called fake: ``(...)``."""
    last = last_step_at(steps, fpr)[..., None]
    found = np.take_along_axis(steps.tpr, last, axis=-1)[..., 0]
    return np.where(steps.n_real[..., 0] == 0, np.nan, found)


def last_step_at(steps: Steps, fpr: float) -> Ints:
    """Return the last step with at most ``fpr`` of reals called fake: ``(...)``."""
    allowed = steps.fp <= fpr * steps.n_real * (1 + 1e-12)
    last: Ints = allowed.sum(axis=-1) - 1
    return last


def _shares(part: NDArray[Any], whole: Ints) -> Floats:
    shares: Floats = part / np.where(whole > 0, whole, np.nan)
    return shares


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
    steps = count_steps(rank(target, score))
    return _threshold_of(steps, int(last_step_at(steps, fpr)))


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
    steps = count_steps(rank(target, score))
    return _threshold_of(steps, int(np.argmin(costs.normalised(steps.fpr, 1 - steps.tpr))))


def reals_needed(fpr: float) -> int:
    """Return how many reals are needed for one of them to be a share of ``fpr``: 100 at 1 %.

    Raises:
        ValueError: ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr {fpr}, expected a number between 0 and 1")
    return math.ceil(round(1 / fpr, 6))


def _threshold_of(steps: Steps, step: int) -> float:
    return math.inf if step == 0 else float(steps.thresholds[step - 1])
