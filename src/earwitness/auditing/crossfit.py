"""Scores of items from what the other groups show.

Conventions: items are scored in ``N_FOLDS`` turns, each time from the groups that are left out of
the turn, so that no group has a part in its own scores; classes are spread evenly over the turns,
which are drawn from a fixed seed. Scores rise with fakeness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from earwitness.auditing.slices import Classed
from earwitness.metrics.items import Floats, Ints

N_FOLDS = 5
SEED = 0
N_TREES = 50


def split_kinds(values: Sequence[str]) -> list[frozenset[str]]:
    """Return the categories of each item: one, or several with ``|`` between them."""
    return [frozenset(value.split("|")) for value in values]


def kinds_of(values: Sequence[str], n_most: int) -> NDArray[np.bool_]:
    """Return which items are of the commonest categories: ``(n_items, n_kinds)``."""
    kinds = split_kinds(values)
    counts = Counter(kind for own in kinds for kind in own)
    chosen = sorted(counts, key=lambda kind: (-counts[kind], kind))[:n_most]
    return np.array([[kind in own for kind in chosen] for own in kinds], dtype=bool)


def share_scores(items: Classed, values: Sequence[str]) -> Floats:
    """Score categories by the logarithm of their share among fakes over that among reals.

    Shares are smoothed by one item a category (Laplace); an item of several categories has the
    sum of their scores.

    Args:
        items: Targets and groups, ``MIN_GROUPS`` of each class.
        values: ``(n_items,)`` categories.
    """
    kinds = split_kinds(values)
    n_kinds = len(frozenset[str]().union(*kinds))
    scores = np.empty(len(values))
    for known, asked in _turns(items):
        counts = [Counter[str](), Counter[str]()]
        for index in known:
            counts[items.target[index]].update(kinds[index])
        totals = np.bincount(items.target[known], minlength=2) + n_kinds
        for index in asked:
            scores[index] = sum(
                np.log((counts[1][kind] + 1) / totals[1] * totals[0] / (counts[0][kind] + 1))
                for kind in sorted(kinds[index])
            )
    return scores


def forest_scores(items: Classed, features: NDArray[np.float32]) -> Floats:
    """Score items by a random forest (Breiman, 2001) over features; NaN is a value of its own.

    Args:
        items: Targets and groups, ``MIN_GROUPS`` of each class.
        features: ``(n_items, n_features)``.
    """
    from sklearn.ensemble import RandomForestClassifier

    scores = np.empty(len(features))
    for known, asked in _turns(items):
        forest = RandomForestClassifier(
            N_TREES,
            min_samples_leaf=2,
            max_features=0.5,
            class_weight="balanced",
            random_state=SEED,
        )
        forest.fit(features[known], items.target[known])
        scores[asked] = forest.predict_proba(features[asked])[:, 1]
    return scores


def _turns(items: Classed) -> Iterator[tuple[Ints, Ints]]:
    """Yield the items to learn from and those to score.

    Groups of reals alone, of fakes alone and of both are spread evenly over the turns.
    """
    kinds = np.zeros(int(items.group.max()) + 1, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(items.group[items.target == label])] += label + 1
    shuffled = np.random.default_rng(SEED).permutation(len(kinds))
    by_kind = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    turn = np.empty(len(kinds), dtype=np.int64)
    turn[by_kind] = np.arange(len(kinds)) % N_FOLDS
    for number in range(N_FOLDS):
        asked = turn[items.group] == number
        yield np.flatnonzero(~asked), np.flatnonzero(asked)
