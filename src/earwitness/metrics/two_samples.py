"""Permutation tests of whether two samples of grouped items are of one distribution.

Conventions: ``side`` is 0 for the first sample and 1 for the second; groups are exchanged whole. A
group on one side only keeps its items together (independent samples); a group on both sides has its
sides swapped (the same items twice). P-values count the sample itself, so that a test at level
``a`` is wrong in at most ``a`` of the samples without a difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.sample import Floats, Ints, numbered

N_PERMUTATIONS = 2000
_BLOCK = 4_000_000
"""Numbers held at once."""

_ROUNDING = 1e-12

Sides = NDArray[np.int8]

Statistic = Callable[[Floats], Floats]
"""Signed weights ``(n_permutations, n_items)``, 1 / n on the second side and -1 / n on the first,
→ the statistic of each permutation, ``(n_permutations,)``."""


class Shift(NamedTuple):
    """Difference between two samples.

    Attributes:
        value: Signed difference of the means, or a distance from 0 to 1.
        p: P-value; ``None`` with a ``reason``.
        reason: Why there is no test.
    """

    value: float
    p: float | None = None
    reason: str | None = None


def compare_means(values: ArrayLike, side: ArrayLike, group: ArrayLike, *, seed: int = 0) -> Shift:
    """Test the difference of means, second minus first."""
    numbers = np.asarray(values, dtype=np.float64)
    return _test(lambda weights: weights @ numbers, side, group, seed)


def compare_distributions(
    values: ArrayLike, side: ArrayLike, group: ArrayLike, *, seed: int = 0
) -> Shift:
    """Test the distance of the distribution functions (Kolmogorov–Smirnov), from 0 to 1."""
    numbers = np.asarray(values, dtype=np.float64)
    order = np.argsort(numbers, kind="stable")
    ends = np.append(np.diff(numbers[order]) > 0, True)

    def distance(weights: Floats) -> Floats:
        steps = np.cumsum(weights[:, order], axis=1)[:, ends]
        return np.asarray(np.abs(steps).max(axis=1))

    return _test(distance, side, group, seed)


def compare_shares(values: ArrayLike, side: ArrayLike, group: ArrayLike, *, seed: int = 0) -> Shift:
    """Test the total variation distance of the shares of categories, from 0 to 1."""
    codes = numbered(np.asarray(values))
    is_category = np.eye(int(codes.max()) + 1)[codes]
    return _test(
        lambda weights: np.asarray(np.abs(weights @ is_category).sum(axis=1) / 2), side, group, seed
    )


def _test(statistic: Statistic, side: ArrayLike, group: ArrayLike, seed: int) -> Shift:
    sides, groups = np.asarray(side).astype(np.int8), numbered(group)
    moves = _draw_moves(sides, groups, seed)
    size = max(1, _BLOCK // len(sides))
    blocks = (moves[start : start + size] for start in range(0, len(moves), size))
    values = np.concatenate([statistic(_weigh(sides ^ block[:, groups])) for block in blocks])
    value = float(values[0]) if abs(values[0]) > _ROUNDING else 0.0
    if _n_least(sides, groups) < MIN_GROUPS:
        return Shift(value, reason=TOO_FEW_GROUPS)
    n_great = int((np.abs(values[1:]) >= abs(value) - _ROUNDING).sum())
    return Shift(value, (1 + n_great) / len(values))


def _draw_moves(sides: Sides, groups: Ints, seed: int) -> NDArray[np.int8]:
    """Return which groups change sides, ``(1 + N_PERMUTATIONS, n_groups)``; first none does."""
    rng, n_groups = np.random.default_rng(seed), int(groups.max()) + 1
    is_on = np.zeros((2, n_groups), dtype=bool)
    is_on[sides, groups] = True
    both, alone = np.flatnonzero(is_on.all(axis=0)), np.flatnonzero(is_on.sum(axis=0) == 1)
    moves = np.zeros((1 + N_PERMUTATIONS, n_groups), dtype=np.int8)
    moves[1:, both] = rng.integers(0, 2, (N_PERMUTATIONS, len(both)))
    own = is_on[1, alone].astype(np.int8)
    for row in moves[1:]:
        row[alone] = own ^ rng.permutation(own)
    return moves


def _weigh(sides: Any) -> Floats:
    n_second = sides.sum(axis=1, keepdims=True)
    n_first = sides.shape[1] - n_second
    return np.asarray(
        np.where(sides == 1, 1 / np.maximum(n_second, 1), -1 / np.maximum(n_first, 1))
    )


def _n_least(sides: Sides, groups: Ints) -> int:
    """Return the number of groups of the smaller side."""
    return min(len(np.unique(groups[sides == one])) for one in (0, 1))
