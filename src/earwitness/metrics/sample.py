"""Samples that metrics are computed from, and the options of metrics.

Conventions: 0 is real, 1 is fake; scores rise with fakeness; one row an item. A group holds items
that are not independent (a track with its reconstructions): reals, fakes or both.
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


CLIP = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 (2.2e-16) before a logarithm is taken."""


@dataclass(frozen=True)
class Ranking:
    """Items by falling score; items with equal scores share a step.

    Attributes:
        order: ``(n_items,)`` positions of the items, highest score first.
        is_fake: ``(n_items,)``, in this order.
        ends: ``(n_steps,)`` where the last item of each distinct score is in this order.
        thresholds: ``(n_steps,)`` the threshold of each step: the score, or its ``prob``.
    """

    order: Ints
    is_fake: NDArray[np.bool_]
    ends: Ints
    thresholds: Floats

    @property
    def step_of(self) -> Ints:
        """``(n_items,)`` the first step, from 1, at which each item is called fake."""
        steps = np.empty(len(self.order), dtype=np.int64)
        steps[self.order] = np.searchsorted(self.ends, np.arange(len(self.order))) + 1
        return steps


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


@dataclass(frozen=True)
class Items:
    """Scored items.

    Attributes:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        group: ``(n_items,)`` of the group of each, from 0 up without gaps.
        decision: ``(n_items,)`` of 0 and 1; ``None`` without decisions.
        score: ``(n_items,)``, what items are ordered by; ``None`` without scores.
        logit: ``(n_items,)`` on the whole line; ``None`` without scores.
        prob: ``(n_items,)`` from 0 to 1; ``None`` without scores between 0 and 1.
    """

    target: Ints
    group: Ints
    decision: Ints | None = None
    score: Floats | None = None
    logit: Floats | None = None
    prob: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if len(self) else 0

    @property
    def has_both(self) -> bool:
        """Whether there are reals and fakes."""
        return has_both(self.target)

    @cached_property
    def ranking(self) -> Ranking:
        """The items by falling score, sorted once; thresholds are probabilities if there are any.

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

    def groups_of(self, target: int) -> int:
        """Return how many groups hold an item of a class."""
        return len(np.unique(self.group[self.target == target]))

    def where(self, chosen: ArrayLike) -> Items:
        """Return the items that a mask or positions choose, their groups renumbered."""
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
        )


def numbered(labels: ArrayLike) -> Ints:
    """Return groups numbered from 0 without gaps, one for each distinct label: ``(n_items,)``."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1).astype(np.int64)


def has_both(target: ArrayLike) -> bool:
    """Whether there are reals and fakes."""
    truth = np.asarray(target)
    return bool((truth == 0).any() and (truth == 1).any())


@dataclass(frozen=True)
class Costs:
    """A prior and two costs; the defaults are those of ASVspoof 5 (Wang et al., 2024).

    Attributes:
        p_fake: Assumed share of fakes, between 0 and 1.
        c_false_alarm: Cost of calling a real fake, more than 0.
        c_miss: Cost of calling a fake real, more than 0.

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
        """Logit above which calling an item fake costs less, if logits are calibrated."""
        return math.log(self._false_alarm / self._miss)

    def normalised(self, fpr: Rate, fnr: Rate) -> Rate:
        """Return the expected cost, where 1 is the cost of the better constant decision.

        Args:
            fpr: Share of reals called fake.
            fnr: Share of fakes called real.
        """
        return (self._false_alarm * fpr + self._miss * fnr) / min(self._false_alarm, self._miss)

    @property
    def _false_alarm(self) -> float:
        return self.c_false_alarm * (1 - self.p_fake)

    @property
    def _miss(self) -> float:
        return self.c_miss * self.p_fake


ASVSPOOF5 = Costs()
"""Settings of ASVspoof 5: 5 % fakes, and a miss costs ten times what a false alarm does."""


@dataclass(frozen=True)
class Options:
    """Options that metrics and their intervals depend on.

    Attributes:
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Bins of ``ece``, of equal width (Guo et al., 2017: 15).
        confidence: Level of intervals.
    """

    costs: Costs = ASVSPOOF5
    n_bins: int = 15
    confidence: float = 0.95


def logits(prob: ArrayLike) -> Floats:
    """Return the logits of probabilities, clipped by ``CLIP``: from -36.04 to 36.04."""
    return np.asarray(logit_of(clip_probs(prob)), dtype=np.float64)


def bin_of(prob: ArrayLike, n_bins: int) -> Ints:
    """Return the bin of each probability, from 0: ``(n_items,)``; the last bin holds 1."""
    scaled = check_probs(prob) * n_bins
    return np.minimum(scaled.astype(np.int64), n_bins - 1)


def given(values: Values | None) -> Values:
    """Return a column of items; ``ValueError`` if they do not have it."""
    if values is None:
        raise ValueError("a metric needs a column that the items do not have")
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
