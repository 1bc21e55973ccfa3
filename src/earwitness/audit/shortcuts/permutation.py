"""Permutation tests of labels that respect groups.

A group of one class keeps its items together and exchanges its label with other groups of one
class; in a group of both classes the labels of its items are permuted among themselves. P-values
are two-sided; the observed labelling counts as one permutation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from earwitness.metrics.sample import Floats, Ints

FEWEST_DRAWS = 1_000
"""Minimum number of permutations."""

DRAWS_A_COMPARISON = 100
"""Permutations a comparison: the smallest p-value is a fifth of what the correction needs."""

MOST_NUMBERS = 2_000_000
"""Maximum number of random numbers, unless ``FEWEST_DRAWS`` needs more."""

_AT_ONCE = 1_000_000
_SEED = 0


class Units(NamedTuple):
    """Units whose labels are permuted.

    Attributes:
        block: ``(n_units,)`` labels are permuted within a block.
        label: ``(n_units,)`` of 0 and 1.
        of_item: ``(n_items,)`` unit of each item.
    """

    block: Ints
    label: Ints
    of_item: Ints


def make_units(target: Ints, group: Ints) -> Units:
    """Return the units of items: groups of one class, and the items of groups of both.

    Args:
        target: ``(n_items,)`` of 0 and 1.
        group: ``(n_items,)`` from 0 up without gaps.
    """
    n_groups = int(group.max()) + 1
    share = np.bincount(group, target, n_groups) / np.bincount(group, minlength=n_groups)
    is_mixed = ((share > 0) & (share < 1))[group]
    own = np.where(is_mixed, n_groups + np.arange(len(target)), group)
    _, first, of_item = np.unique(own, return_index=True, return_inverse=True)
    block = np.where(is_mixed[first], group[first] + 1, 0)
    return Units(block, target[first], of_item.reshape(-1).astype(np.int64))


def rank_p_value(target: Ints, group: Ints, values: Floats, n_comparisons: int) -> float:
    """Return the p-value of an AUROC's distance from 0.5.

    The statistic is the sum of the fakes' centred midranks, which orders labellings as AUROC does
    where groups have equal sizes.

    Args:
        target: ``(n_items,)`` of 0 and 1, both present.
        group: ``(n_items,)`` from 0 up without gaps.
        values: ``(n_items,)`` finite numbers.
        n_comparisons: Number of tests in the correction.
    """
    units = make_units(target, group)
    ranks = rankdata(values) - (len(values) + 1) / 2
    sums: Floats = np.bincount(units.of_item, ranks).astype(np.float64)
    mean, variance = _moments(units, sums)
    if variance <= 0:
        return 1.0
    distance = abs(float(sums[units.label == 1].sum()) - mean)
    slack = 1e-9 * math.sqrt(variance)
    normal = float(2 * norm.sf(distance / math.sqrt(variance)))
    n_great = n_drawn = 0
    for labels in _permuted(units, n_comparisons):
        n_great += int((np.abs(labels @ sums - mean) >= distance - slack).sum())
        n_drawn += len(labels)
    if n_great == 0 and n_drawn < DRAWS_A_COMPARISON * n_comparisons:
        return normal  # too many units for as many draws: none was as great
    return (1 + n_great) / (1 + n_drawn)


def share_p_value(
    target: Ints, group: Ints, has_kind: NDArray[np.bool_], n_comparisons: int
) -> float:
    """Return the p-value of the difference of category shares between classes.

    The statistic is Pearson's: squared differences of a category's share among fakes and among
    reals, by its number of items.

    Args:
        target: ``(n_items,)`` of 0 and 1, both present.
        group: ``(n_items,)`` from 0 up without gaps.
        has_kind: ``(n_items, n_kinds)`` whether an item is of a category; each has an item.
        n_comparisons: Number of tests in the correction.
    """
    units = make_units(target, group)
    counts = np.zeros((len(units.label), has_kind.shape[1] + 1))
    np.add.at(counts, units.of_item, np.column_stack([has_kind, np.ones(len(target))]))
    of_kind, n_items = counts[:, :-1].sum(axis=0), float(len(target))

    def distance(labels: NDArray[np.int8]) -> Floats:
        fakes, n_fake = np.split(labels @ counts, [has_kind.shape[1]], axis=1)
        gaps = fakes / n_fake - (of_kind - fakes) / (n_items - n_fake)
        return np.asarray((gaps**2 / of_kind).sum(axis=1))

    seen = float(distance(units.label[None].astype(np.int8))[0])
    n_great = n_drawn = 0
    for labels in _permuted(units, n_comparisons):
        n_great += int((distance(labels) >= seen * (1 - 1e-9)).sum())
        n_drawn += len(labels)
    return (1 + n_great) / (1 + n_drawn)


def _moments(units: Units, sums: Floats) -> tuple[float, float]:
    """Return mean and variance of the fakes' sum over permutations."""
    n = np.bincount(units.block)
    n_fake = np.bincount(units.block, units.label, len(n))
    total = np.bincount(units.block, sums, len(n))
    squares = np.bincount(units.block, sums**2, len(n))
    filled = n > 1
    mean = float((n_fake[n > 0] * total[n > 0] / n[n > 0]).sum())
    n, n_fake, total, squares = (one[filled] for one in (n, n_fake, total, squares))
    spread = squares - total**2 / n
    return mean, float((n_fake * (n - n_fake) / (n * (n - 1)) * spread).sum())


def _permuted(units: Units, n_comparisons: int) -> Iterator[NDArray[np.int8]]:
    """Yield permuted labels, ``(n_draws, n_units)``, as many as the correction needs."""
    n_units = len(units.label)
    n_draws = min(DRAWS_A_COMPARISON * n_comparisons, MOST_NUMBERS // n_units)
    n_draws = max(FEWEST_DRAWS, n_draws)
    rng = np.random.default_rng(_SEED)
    order = np.argsort(units.block, kind="stable")
    sorted_labels = units.label[order].astype(np.int8)
    offsets = units.block[None].astype(np.float64)
    while n_draws > 0:
        n_now = min(n_draws, max(1, _AT_ONCE // n_units))
        places = np.argsort(offsets + rng.random((n_now, n_units)), axis=1)
        labels = np.empty((n_now, n_units), dtype=np.int8)
        np.put_along_axis(labels, places, sorted_labels[None], axis=1)
        yield labels
        n_draws -= n_now
