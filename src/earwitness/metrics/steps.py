"""Decisions at every reachable threshold, for one sample or for many reweighted ones at once.

Conventions: scores rise with fakeness. A threshold is reachable if it is a score: equal scores are
called fake together. Step 0 calls nothing fake, step ``k`` every item from the ``k``-th distinct
score (from the top) up. Weights are whole numbers, how often an item counts, so that counts are
exact; leading axes stand for samples. A figure without reals or without fakes is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.costs import Costs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Items by falling score.

    Attributes:
        order: ``(n_items,)``: which item stands where.
        is_fake: ``(n_items,)``, in this order.
        ends: ``(n_steps,)``: where the last item of each distinct score stands.
        thresholds: ``(n_steps,)`` distinct scores, falling.
    """

    order: Ints
    is_fake: NDArray[np.bool_]
    ends: Ints
    thresholds: Floats


@dataclass(frozen=True)
class Steps:
    """Items called fake at every step.

    Attributes:
        fp: ``(..., n_steps + 1)`` reals called fake, rising from 0 to all of them.
        tp: ``(..., n_steps + 1)`` fakes called fake, rising from 0 to all of them.
    """

    fp: Ints
    tp: Ints

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


def rank(target: ArrayLike, score: ArrayLike) -> Ranking:
    """Order items by falling score.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.

    Raises:
        ValueError: The shapes differ, or a score is not finite.
    """
    truth, scores = np.asarray(target), np.asarray(score, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 1:
        raise ValueError(f"shapes {truth.shape} and {scores.shape}, expected (n_items,) twice")
    if not np.isfinite(scores).all():
        raise ValueError("score holds NaN or infinity, expected finite numbers")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(order) else order
    return Ranking(order, truth[order] == 1, ends, ordered[ends])


def count_steps(ranking: Ranking, weights: NDArray[np.integer] | None = None) -> Steps:
    """Count what is called fake at every step.

    Args:
        ranking: The items.
        weights: ``(..., n_items)`` whole numbers, how often each item counts; ``None`` is once.
    """
    if weights is None:
        weights = np.ones(len(ranking.order), dtype=np.int64)
    ordered = weights[..., ranking.order].astype(np.int64, copy=False)
    called = np.cumsum(ordered, axis=-1)[..., ranking.ends]
    tp = np.cumsum(ordered * ranking.is_fake, axis=-1)[..., ranking.ends]
    start = [(0, 0)] * (called.ndim - 1) + [(1, 0)]
    return Steps(np.pad(called - tp, start), np.pad(tp, start))


def auroc(steps: Steps) -> Floats:
    """Return the area under the ROC curve, a tie counting half: ``(...)``."""
    fpr, tpr = steps.fpr, steps.tpr
    return _trapezoids(fpr, tpr)


def average_precision(steps: Steps) -> Floats:
    """Return precision averaged over the fakes as they are found, without interpolation."""
    called = (steps.tp + steps.fp)[..., 1:]
    precision = np.divide(steps.tp[..., 1:], called, out=np.zeros(called.shape), where=called > 0)
    found = np.diff(steps.tpr, axis=-1)
    undefined = steps.n_real[..., 0] == 0
    return np.where(undefined, np.nan, (precision * found).sum(axis=-1))


def eer_step(steps: Steps) -> Ints:
    """Return the step at which the two error rates are nearest: ``(...)``.

    Of several that are equally near, the one with the lower mean is taken, so that nothing
    depends on which class is called positive. Never step 0, which has no threshold.
    """
    misses = (steps.n_fake - steps.tp) * steps.n_real
    alarms = steps.fp * steps.n_fake
    gap, total = np.abs(alarms - misses)[..., 1:], (alarms + misses)[..., 1:]
    nearest = gap == gap.min(axis=-1, keepdims=True)
    most = total.max(axis=-1, keepdims=True) + 1
    first: Ints = np.argmin(np.where(nearest, total, most), axis=-1) + 1
    return first


def eer(steps: Steps) -> Floats:
    """Return the mean of the two error rates where they are nearest: ``(...)``."""
    step = eer_step(steps)[..., None]
    fpr = np.take_along_axis(steps.fpr, step, axis=-1)
    fnr = 1 - np.take_along_axis(steps.tpr, step, axis=-1)
    rate: Floats = ((fpr + fnr) / 2)[..., 0]
    return rate


def min_dcf(steps: Steps, costs: Costs) -> Floats:
    """Return the least normalised cost that any reachable threshold has: ``(...)``."""
    least: Floats = costs.normalised(steps.fpr, 1 - steps.tpr).min(axis=-1)
    return least


def tpr_at_fpr(steps: Steps, fpr: float) -> Floats:
    """Return the share of fakes found with at most ``fpr`` of reals called fake: ``(...)``."""
    allowed = steps.fp <= fpr * steps.n_real * (1 + 1e-12)
    last = allowed.sum(axis=-1, keepdims=True) - 1
    found = np.take_along_axis(steps.tpr, last, axis=-1)[..., 0]
    return np.where(steps.n_real[..., 0] == 0, np.nan, found)


def _shares(part: Ints, whole: Ints) -> Floats:
    shares = np.full(part.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _trapezoids(x: Floats, y: Floats) -> Floats:
    area: Floats = (np.diff(x, axis=-1) * (y[..., 1:] + y[..., :-1]) / 2).sum(axis=-1)
    return area
