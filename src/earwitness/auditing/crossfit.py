"""Scores of items from what the other groups show.

Conventions: items are scored in ``N_FOLDS`` turns, each time from the groups that are left out of
the turn, so that no group has a part in its own scores; classes are spread evenly over the turns,
which are drawn from a fixed seed. Scores rise with fakeness.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from earwitness.auditing.slices import Classed
from earwitness.metrics.items import Floats, Ints

N_FOLDS = 5
SEED = 0
N_TREES = 50


def share_scores(items: Classed, values: list[str]) -> Floats:
    """Score categories by the logarithm of their share among fakes over that among reals.

    Shares are smoothed by one item a category (Laplace).

    Args:
        items: Targets and groups, ``MIN_GROUPS`` of each class.
        values: ``(n_items,)`` categories.
    """
    named = np.asarray(values, dtype=object)
    n_kinds = len(set(values))
    scores = np.empty(len(values))
    for known, asked in _turns(items):
        counts = [Counter(named[known[items.target[known] == label]]) for label in (0, 1)]
        for index in asked:
            real, fake = ((count[named[index]] + 1) / (count.total() + n_kinds) for count in counts)
            scores[index] = np.log(fake / real)
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
