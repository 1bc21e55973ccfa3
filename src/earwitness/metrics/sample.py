"""Samples that metrics are computed from, and the options of metrics.

Conventions: 0 is real, 1 is fake; scores rise with fakeness. Items of one group are not independent
(a track with its reconstructions); a group has reals, fakes or both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit as logit_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = TypeVar("Values", bound=NDArray[Any])
Rate = TypeVar("Rate", float, NDArray[np.float64])


ABSTAINED = -1
"""The answer of a detector that abstains."""

CLIP = float(np.finfo(np.float64).eps)
"""Minimum distance of probabilities from 0 and 1 before a logarithm."""


@dataclass(frozen=True)
class Ranking:
    """Items by descending score; items with equal scores share a step.

    Attributes:
        order: ``(n_items,)`` indices of the items, highest score first.
        is_fake: ``(n_items,)`` in this order.
        ends: ``(n_steps,)`` position of the last item of each distinct score.
        thresholds: ``(n_steps,)`` threshold of each step: the score, or its ``prob``.
    """

    order: Ints
    is_fake: NDArray[np.bool_]
    ends: Ints
    thresholds: Floats

    @property
    def step_of(self) -> Ints:
        """``(n_items,)`` first step, from 1, at which each item is called fake."""
        steps = np.empty(len(self.order), dtype=np.int64)
        steps[self.order] = np.searchsorted(self.ends, np.arange(len(self.order))) + 1
        return steps


def rank(target: ArrayLike, score: ArrayLike) -> Ranking:
    """Return the items by descending score.

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


@dataclass(frozen=True)
class Items:
    """Scored items.

    Attributes:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        group: ``(n_items,)`` groups, numbered from 0 without gaps.
        decision: ``(n_items,)`` of 0 and 1, if any.
        score: ``(n_items,)`` scores that rank the items, if any.
        logit: ``(n_items,)`` scores on the real line, if any.
        prob: ``(n_items,)`` scores from 0 to 1, if any.
        margin: ``(n_items,)`` logits minus that of the threshold, if known; fake from 0 up.
        answer: ``(n_items,)`` of 0, 1 and ``ABSTAINED``, if any.
        weight: ``(n_items,)`` whole weights, such as durations; ``None`` is 1. Intervals in closed
            form do not take weights.
    """

    target: Ints
    group: Ints
    decision: Ints | None = None
    score: Floats | None = None
    logit: Floats | None = None
    prob: Floats | None = None
    margin: Floats | None = None
    answer: Ints | None = None
    weight: Ints | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if len(self) else 0

    @property
    def has_both(self) -> bool:
        """Whether both classes are present."""
        return has_both(self.target)

    @cached_property
    def ranking(self) -> Ranking:
        """The items by descending score; thresholds are probabilities, if any.

        Raises:
            ValueError: There are no scores, or one is not finite.
        """
        if self.score is None:
            raise ValueError("no scores, expected one an item")
        ranking = rank(self.target, self.score)
        if self.prob is None or not len(self):
            return ranking
        starts = np.append(0, ranking.ends[:-1] + 1)
        lowest = np.minimum.reduceat(self.prob[ranking.order], starts)
        return replace(ranking, thresholds=lowest)

    @cached_property
    def confidence_ranking(self) -> Ranking:
        """The items by descending confidence; ``is_fake`` says whether the decision is wrong.

        Raises:
            ValueError: There are no margins, or one is not finite.
        """
        margin = given(self.margin)
        return rank((margin >= 0) != (self.target == 1), np.abs(margin))

    def groups_of(self, target: int) -> int:
        """Return the number of groups with an item of a class."""
        return len(np.unique(self.group[self.target == target]))

    def where(self, chosen: ArrayLike) -> Items:
        """Return the items of a mask or of indices, with groups renumbered."""
        kept = np.asarray(chosen)

        def select(values: Values | None) -> Values | None:
            return None if values is None else values[kept]

        return Items(
            target=self.target[kept],
            group=numbered(self.group[kept]),
            decision=select(self.decision),
            score=select(self.score),
            logit=select(self.logit),
            prob=select(self.prob),
            margin=select(self.margin),
            answer=select(self.answer),
            weight=select(self.weight),
        )


def numbered(labels: ArrayLike) -> Ints:
    """Return the labels as groups numbered from 0 without gaps: ``(n_items,)``."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1).astype(np.int64)


def has_both(target: ArrayLike) -> bool:
    """Return whether both classes are present."""
    truth = np.asarray(target)
    return bool((truth == 0).any() and (truth == 1).any())


@dataclass(frozen=True)
class Costs:
    """Prior and costs of errors; the defaults are those of ASVspoof 5 (Wang et al., 2024).

    Attributes:
        p_fake: Assumed prevalence of fakes, between 0 and 1.
        c_false_alarm: Cost of a real called fake, above 0.
        c_miss: Cost of a fake called real, above 0.

    Raises:
        ValueError: A value is out of bounds.
    """

    p_fake: float = 0.05
    c_false_alarm: float = 1.0
    c_miss: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.p_fake < 1:
            raise ValueError(f"p_fake {self.p_fake}, expected a number between 0 and 1")
        if not (self.c_false_alarm > 0 and self.c_miss > 0):
            found = f"c_false_alarm {self.c_false_alarm}, c_miss {self.c_miss}"
            raise ValueError(f"{found}, expected numbers above 0")

    @property
    def threshold(self) -> float:
        """Bayes threshold on calibrated logits."""
        return math.log(self._false_alarm / self._miss)

    def normalised(self, fpr: Rate, fnr: Rate) -> Rate:
        """Return the expected cost, divided by that of the better constant decision."""
        return (self._false_alarm * fpr + self._miss * fnr) / min(self._false_alarm, self._miss)

    @property
    def _false_alarm(self) -> float:
        return self.c_false_alarm * (1 - self.p_fake)

    @property
    def _miss(self) -> float:
        return self.c_miss * self.p_fake


ASVSPOOF5 = Costs()


@dataclass(frozen=True)
class Options:
    """Options of metrics and their intervals.

    Attributes:
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Number of equal-width bins of ``ece`` (Guo et al., 2017: 15).
        confidence: Confidence level.
    """

    costs: Costs = ASVSPOOF5
    n_bins: int = 15
    confidence: float = 0.95


def logits(prob: ArrayLike) -> Floats:
    """Return the logits of probabilities, clipped by ``CLIP``: from -36.04 to 36.04."""
    return np.asarray(logit_of(clip_probs(prob)), dtype=np.float64)


def bin_of(prob: ArrayLike, n_bins: int) -> Ints:
    """Return the bin of each probability, from 0: ``(n_items,)``; the last bin includes 1."""
    scaled = check_probs(prob) * n_bins
    return np.minimum(scaled.astype(np.int64), n_bins - 1)


def given(values: Values | None) -> Values:
    """Return a column of items; ``ValueError`` if it is missing."""
    if values is None:
        raise ValueError("a column that the metric needs is missing")
    return values


def clip_probs(prob: ArrayLike) -> Floats:
    """Return probabilities clipped by ``CLIP``."""
    return np.clip(check_probs(prob), CLIP, 1 - CLIP)


def check_probs(prob: ArrayLike) -> Floats:
    """Return probabilities; ``ValueError`` if one is NaN or outside 0 to 1."""
    values = np.asarray(prob, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("prob holds NaN or values outside 0 to 1, expected numbers from 0 to 1")
    return values


def check_logits(logit: ArrayLike) -> Floats:
    """Return logits; ``ValueError`` if one is NaN or infinite."""
    values = np.asarray(logit, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("logit holds NaN or infinity, expected finite numbers")
    return values
