"""Whether one measure separates fakes from reals.

AUROC is signed: 1 where every fake is above every real, 0 where below. A measure separates the
classes where AUROC is beyond ``LIMIT`` and a permutation test of the groups' labels is significant
after Holm's correction for all comparisons of a check. With too few groups for a test it is enough
that the gap between the classes is wider than either class. What is as large, but significant only
without the correction, is left open. Intervals are for display: far from an AUROC of 0.5 they are
wider than what chance allows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.audit.shortcuts.measures import ITEM
from earwitness.audit.shortcuts.permutation import rank_p_value, share_p_value
from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.metrics.intervals import auroc_interval
from earwitness.metrics.measures import measure
from earwitness.metrics.resampling import holm
from earwitness.metrics.sample import Floats, Ints, Items, numbered
from earwitness.splits.grouping import ALL, Cell, list_cells

LIMIT = 0.7
"""A measure whose AUROC reaches this, or 1 - this from above, is a finding."""

FEWEST_GROUPS = 3
"""Groups a class must have before anything is decided."""

MOST_CATEGORIES = 100
"""Categories in the permutation test, commonest first."""

ERROR_RATE = 0.05
"""Chance of any false finding among the comparisons of a check."""

OPEN_RATE = 0.01
"""Uncorrected p-value up to which a comparison is left open."""

N_FOLDS, N_TREES, SEED = 5, 50, 0


class Separation(NamedTuple):
    """How well something separates fakes from reals.

    Attributes:
        auroc: With its interval.
        is_finding: Whether it separates them.
        is_open: Whether that cannot be decided.
        p_holm: Corrected p-value; ``None`` without a test.
    """

    auroc: Estimate
    is_finding: bool
    is_open: bool = False
    p_holm: float | None = None

    @property
    def is_decided(self) -> bool:
        """Whether there were enough groups to decide."""
        return self.is_finding or self.auroc.reason != TOO_FEW_GROUPS


class Comparison(NamedTuple):
    """A measure in one slice, before the correction for the number of comparisons.

    Attributes:
        auroc: With its interval.
        p: P-value of the permutation test; 1 where AUROC is below the limit, NaN without a test.
        is_disjoint: Whether the gap between the classes is wider than either of them.
    """

    auroc: Estimate
    p: float = math.nan
    is_disjoint: bool = False


class Labels(NamedTuple):
    """Labels and groups of the items of a slice.

    Attributes:
        target: ``(n_items,)`` of 0 and 1.
        group: ``(n_items,)`` from 0 up.
    """

    target: Ints
    group: Ints

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(np.unique(self.group))

    @property
    def min_groups(self) -> int:
        """Number of groups of the class that has fewer."""
        return min(len(np.unique(self.group[self.target == label])) for label in (0, 1))

    def undecided(self) -> Comparison:
        """Return the comparison of too few groups."""
        n_items = len(self.target)
        estimate = Estimate(n_items=n_items, n_groups=self.n_groups, reason=TOO_FEW_GROUPS)
        return Comparison(estimate)


def make_labels(rows: pl.DataFrame) -> Labels:
    """Return labels and groups of the rows of a slice."""
    target = rows["target"].to_numpy().astype(np.int64)
    return Labels(target, numbered(rows["group"].to_numpy()))


def measure_number(labels: Labels, values: Floats, n_comparisons: int) -> Comparison:
    """Test a number.

    Args:
        labels: Labels and groups.
        values: ``(n_items,)`` finite numbers.
        n_comparisons: Number of comparisons of the check.
    """
    if labels.min_groups < FEWEST_GROUPS:
        return labels.undecided()
    estimate = _estimate_auroc(labels, values)
    if max(estimate.number, 1 - estimate.number) < LIMIT:
        return Comparison(estimate, 1.0)
    p = rank_p_value(labels.target, labels.group, values, n_comparisons)
    reals, fakes = (values[labels.target == label] for label in (0, 1))
    gap = max(fakes.min() - reals.max(), reals.min() - fakes.max())
    return Comparison(estimate, p, bool(gap > max(np.ptp(reals), np.ptp(fakes))))


def measure_categories(labels: Labels, values: list[str], n_comparisons: int) -> Comparison:
    """Test a category by how much commoner it is among the fakes of other groups.

    Only an AUROC above 0.5 counts. With too few groups to leave some out, one category for all
    reals and another for all fakes is a finding, and nothing else is tested.

    Args:
        labels: Labels and groups.
        values: ``(n_items,)`` categories.
        n_comparisons: Number of comparisons of the check.
    """
    if labels.min_groups < FEWEST_GROUPS:
        return labels.undecided()
    reals, fakes = (
        {value for value, target in zip(values, labels.target, strict=True) if target == label}
        for label in (0, 1)
    )
    if reals == fakes and len(reals) == 1:
        return Comparison(_estimate_auroc(labels, np.zeros(len(values))), 1.0)
    if labels.min_groups < MIN_GROUPS:
        if len(reals) == len(fakes) == 1:
            estimate = _estimate_auroc(labels, labels.target.astype(np.float64))
            return Comparison(estimate, is_disjoint=True)
        return labels.undecided()
    estimate = _estimate_auroc(labels, _category_scores(labels, values))
    if estimate.number < LIMIT:
        return Comparison(estimate, 1.0)
    is_of = one_hot(values, MOST_CATEGORIES)
    return Comparison(estimate, share_p_value(labels.target, labels.group, is_of, n_comparisons))


def measure_forest(labels: Labels, features: NDArray[np.float32], n_comparisons: int) -> Comparison:
    """Test out-of-fold scores of a random forest (Breiman, 2001); only above 0.5 do they count.

    Args:
        labels: Labels and groups, ``MIN_GROUPS`` of each class.
        features: ``(n_items, n_features)``; NaN is a value of its own.
        n_comparisons: Number of comparisons of the check.
    """
    from sklearn.ensemble import RandomForestClassifier

    scores = np.empty(len(features))
    for fitted, held_out in _folds(labels):
        forest = RandomForestClassifier(
            N_TREES,
            min_samples_leaf=2,
            max_features=0.5,
            class_weight="balanced",
            random_state=SEED,
        )
        forest.fit(features[fitted], labels.target[fitted])
        scores[held_out] = forest.predict_proba(features[held_out])[:, 1]
    found = measure_number(labels, scores, n_comparisons)
    return found if found.auroc.number > 0.5 else Comparison(found.auroc, 1.0)


def decide(compared: Sequence[Comparison]) -> list[Separation]:
    """Decide all comparisons of a check together, in the same order."""
    separations = []
    for one, p in zip(compared, holm([one.p for one in compared]), strict=True):
        is_finding = one.is_disjoint or p <= ERROR_RATE
        is_open = not is_finding and one.p <= OPEN_RATE
        p_holm = None if math.isnan(p) else p
        separations.append(Separation(one.auroc, is_finding, is_open, p_holm))
    return separations


def _estimate_auroc(labels: Labels, scores: Floats) -> Estimate:
    interval = auroc_interval(Items(labels.target, labels.group, score=scores))
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return Estimate(
        value=measure("auroc", labels.target, scores),
        low=low,
        high=high,
        n_items=len(scores),
        n_groups=labels.n_groups,
        method=interval.method,
        reason=interval.reason,
    )


def format_auroc(auroc: Estimate) -> str:
    """Return an AUROC as text: with its interval, or why there is none."""
    if auroc.value is None:
        return str(auroc.reason)
    if auroc.low is None or auroc.high is None:
        return f"AUROC {auroc.value:.2f} ({auroc.reason})"
    return f"AUROC {auroc.value:.2f} [{auroc.low:.2f}, {auroc.high:.2f}]"


def list_slices(rows: pl.DataFrame) -> list[Cell]:
    """Return the cells, and all items if that is another slice; none without both classes.

    Args:
        rows: As ``measured_rows`` returns them; an item counts once.
    """
    items = rows.unique(ITEM, keep="first", maintain_order=True)
    if items["target"].n_unique() < 2:
        return []
    cells = list_cells(items)
    keys = dict.fromkeys(("real_corpus", "generator", "fake_corpus"), ALL)
    return cells if len(cells) == 1 else [*cells, Cell("overall", keys, items)]


def _split_categories(values: Sequence[str]) -> list[frozenset[str]]:
    """Return the categories of each item: one, or several with ``|`` between them."""
    return [frozenset(value.split("|")) for value in values]


def one_hot(values: Sequence[str], n_most: int) -> NDArray[np.bool_]:
    """Return which items are of the commonest categories: ``(n_items, n_categories)``."""
    categories = _split_categories(values)
    counts = Counter(category for own in categories for category in own)
    chosen = sorted(counts, key=lambda category: (-counts[category], category))[:n_most]
    return np.array([[one in own for one in chosen] for own in categories], dtype=bool)


def _category_scores(labels: Labels, values: Sequence[str]) -> Floats:
    """Return out-of-fold log-likelihood ratios of categories, summed where an item has several.

    Shares are smoothed by one item a category (Laplace).
    """
    categories = _split_categories(values)
    n_categories = len(frozenset[str]().union(*categories))
    scores = np.empty(len(values))
    for fitted, held_out in _folds(labels):
        counts = [Counter[str](), Counter[str]()]
        for index in fitted:
            counts[labels.target[index]].update(categories[index])
        totals = np.bincount(labels.target[fitted], minlength=2) + n_categories
        for index in held_out:
            scores[index] = sum(
                np.log((counts[1][one] + 1) / totals[1] * totals[0] / (counts[0][one] + 1))
                for one in sorted(categories[index])
            )
    return scores


def _folds(labels: Labels) -> Iterator[tuple[Ints, Ints]]:
    """Yield the items to fit and those to score.

    Groups of reals, of fakes and of both classes are spread evenly over the folds.
    """
    kinds = np.zeros(int(labels.group.max()) + 1, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(labels.group[labels.target == label])] += label + 1
    shuffled = np.random.default_rng(SEED).permutation(len(kinds))
    by_kind = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    fold = np.empty(len(kinds), dtype=np.int64)
    fold[by_kind] = np.arange(len(kinds)) % N_FOLDS
    for number in range(N_FOLDS):
        is_held_out = fold[labels.group] == number
        yield np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
