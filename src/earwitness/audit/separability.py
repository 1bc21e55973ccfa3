"""Whether one property of files, or several together, separates fakes from reals.

AUROC is signed: 1 where every fake is above every real, 0 where below. A finding is an AUROC beyond
``LIMIT`` that a permutation test of groups finds significant after Holm's correction for all
comparisons of a check. With too few groups for a test, a gap between the classes that is wider than
either class is a finding. Intervals are for display: near 0 and 1 they are too wide for a test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.metrics.intervals import auroc_interval
from earwitness.metrics.measures import measure
from earwitness.metrics.resampling import holm
from earwitness.metrics.sample import Floats, Ints, Items, numbered

LIMIT = 0.7
"""Minimum AUROC of a finding; 1 - this is the maximum on the other side."""

_N_FOLDS, _SEED = 5, 0
_FEWEST_GROUPS = 3  # of a class, to decide anything
_DRAWS_A_COMPARISON = 100  # the smallest p-value is then a fifth of what Holm's correction needs

Bools = NDArray[np.bool_]


class Separation(NamedTuple):
    """How well something separates fakes from reals.

    Attributes:
        auroc: AUROC with its interval.
        is_finding: Whether it separates them.
        is_open: Whether it is significant only before the correction.
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
    """A property in one slice, before the correction.

    Attributes:
        auroc: AUROC with its interval.
        p: P-value of the permutation test; 1 where AUROC is below the limit, NaN without a test.
        is_disjoint: Whether the gap between the classes is wider than either of them.
    """

    auroc: Estimate
    p: float = math.nan
    is_disjoint: bool = False


class Labels(NamedTuple):
    """Labels (0 and 1) and groups (from 0 without gaps) of the items of a slice, ``(n_items,)``."""

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
    """Test finite numbers ``(n_items,)`` among ``n_comparisons`` of a check."""
    if labels.min_groups < _FEWEST_GROUPS:
        return labels.undecided()
    estimate = _estimate_auroc(labels, values)
    if max(estimate.number, 1 - estimate.number) < LIMIT:
        return Comparison(estimate, 1.0)
    p = _rank_p_value(labels, values, n_comparisons)
    reals, fakes = (values[labels.target == label] for label in (0, 1))
    gap = max(fakes.min() - reals.max(), reals.min() - fakes.max())
    return Comparison(estimate, p, bool(gap > max(np.ptp(reals), np.ptp(fakes))))


def measure_categories(labels: Labels, values: list[str], n_comparisons: int) -> Comparison:
    """Test categories ``(n_items,)`` by how much commoner they are among fakes of other groups.

    Only an AUROC above 0.5 counts. With too few groups to leave some out, one category for all
    reals and another for all fakes is a finding, and nothing else is tested.
    """
    if labels.min_groups < _FEWEST_GROUPS:
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
    return Comparison(estimate, _share_p_value(labels, _one_hot(values, 100), n_comparisons))


def measure_forest(rows: pl.DataFrame, measures: Sequence[str], n_comparisons: int) -> Comparison:
    """Test out-of-fold scores of a random forest (Breiman, 2001); only above 0.5 do they count.

    Args:
        rows: Those of a slice; of many rows, groups are drawn.
        measures: Columns of numbers, or of text for categories.
        n_comparisons: Number of comparisons of the check.
    """
    from sklearn.ensemble import RandomForestClassifier

    rows = _draw(rows)
    labels = make_labels(rows)
    if labels.min_groups < MIN_GROUPS:
        return labels.undecided()
    features = _features(rows.select(measures))
    scores = np.empty(len(features))
    for fitted, held_out in _folds(labels):
        forest = RandomForestClassifier(
            50, min_samples_leaf=2, max_features=0.5, class_weight="balanced", random_state=_SEED
        )
        forest.fit(features[fitted], labels.target[fitted])
        scores[held_out] = forest.predict_proba(features[held_out])[:, 1]
    found = measure_number(labels, scores, n_comparisons)
    condition = f"{_N_FOLDS} random forests, each fitted on the other groups, seed {_SEED}"
    auroc = found.auroc.model_copy(update={"conditional_on": condition})
    return found._replace(auroc=auroc) if auroc.number > 0.5 else Comparison(auroc, 1.0)


def _draw(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, or those of random groups of at most 1 000 rows in all."""
    most = 1_000
    if rows.height <= most:
        return rows
    sizes = rows.group_by("group").len().sort("group").sample(fraction=1, shuffle=True, seed=_SEED)
    kept = sizes.filter(pl.col("len").cum_sum() <= most)
    return rows.join(kept, on="group", how="semi", maintain_order="left")


def _features(measures: pl.DataFrame) -> NDArray[np.float32]:
    """Return a column a number and one a category (20 at most), without constant ones."""
    columns = [np.zeros(measures.height)]
    for column in measures:
        if column.dtype == pl.String:
            columns += list(_one_hot(column.to_list(), 20).T)
        else:
            columns.append(column.fill_null(np.nan).to_numpy())
    varying = [one for one in columns[1:] if len(np.unique(one)) > 1]
    return np.column_stack(varying or columns[:1]).astype(np.float32)


def decide(compared: Sequence[Comparison]) -> list[Separation]:
    """Decide all comparisons of a check: 5 % chance of any false finding, open up to p = 1 %."""
    separations = []
    for one, p in zip(compared, holm([one.p for one in compared]), strict=True):
        is_finding = one.is_disjoint or p <= 0.05
        is_open = not is_finding and one.p <= 0.01
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


def _one_hot(values: Sequence[str], n_most: int) -> Bools:
    """Return which items are of the commonest categories: ``(n_items, n_categories)``."""
    categories = _split_categories(values)
    counts = Counter(category for own in categories for category in own)
    chosen = sorted(counts, key=lambda category: (-counts[category], category))[:n_most]
    return np.array([[one in own for one in chosen] for own in categories], dtype=bool)


def _split_categories(values: Sequence[str]) -> list[frozenset[str]]:
    """Return the categories of each item: one, or several separated by ``|``."""
    return [frozenset(value.split("|")) for value in values]


def _category_scores(labels: Labels, values: Sequence[str]) -> Floats:
    """Return out-of-fold log-likelihood ratios, summed over the categories of an item.

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
    """Yield the items to fit and to score; groups of reals, fakes and both are spread evenly."""
    kinds = np.zeros(int(labels.group.max()) + 1, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(labels.group[labels.target == label])] += label + 1
    shuffled = np.random.default_rng(_SEED).permutation(len(kinds))
    by_kind = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    fold = np.empty(len(kinds), dtype=np.int64)
    fold[by_kind] = np.arange(len(kinds)) % _N_FOLDS
    for number in range(_N_FOLDS):
        is_held_out = fold[labels.group] == number
        yield np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


class _Units(NamedTuple):
    """Units whose labels are permuted within a block, and the unit of each item."""

    block: Ints
    label: Ints
    of_item: Ints


def _make_units(labels: Labels) -> _Units:
    """Return the permutation units: groups of one class, and the items of groups of both.

    Groups of one class exchange labels; in a group of both classes its items do.
    """
    target, group = labels
    n_groups = int(group.max()) + 1
    share = np.bincount(group, target, n_groups) / np.bincount(group, minlength=n_groups)
    is_mixed = ((share > 0) & (share < 1))[group]
    own = np.where(is_mixed, n_groups + np.arange(len(target)), group)
    _, first, of_item = np.unique(own, return_index=True, return_inverse=True)
    block = np.where(is_mixed[first], group[first] + 1, 0)
    return _Units(block, target[first], of_item.reshape(-1).astype(np.int64))


def _rank_p_value(labels: Labels, values: Floats, n_comparisons: int) -> float:
    """Return the two-sided p-value of the fakes' sum of midranks."""
    units = _make_units(labels)
    ranks = rankdata(values) - (len(values) + 1) / 2
    sums: Floats = np.bincount(units.of_item, ranks).astype(np.float64)
    mean, variance = _moments(units, sums)
    if variance <= 0:
        return 1.0
    observed = abs(float(sums[units.label == 1].sum()) - mean)
    slack = 1e-9 * math.sqrt(variance)
    n_great, n_drawn = _count_great(
        units, n_comparisons, lambda permuted: np.abs(permuted @ sums - mean) >= observed - slack
    )
    if n_great == 0 and n_drawn < _DRAWS_A_COMPARISON * n_comparisons:
        return float(2 * norm.sf(observed / math.sqrt(variance)))  # too few permutations
    return (1 + n_great) / (1 + n_drawn)


def _share_p_value(labels: Labels, has_category: Bools, n_comparisons: int) -> float:
    """Return the p-value of Pearson's statistic over the shares of categories in both classes."""
    units = _make_units(labels)
    counts = np.zeros((len(units.label), has_category.shape[1] + 1))
    n_items = float(len(labels.target))
    np.add.at(counts, units.of_item, np.column_stack([has_category, np.ones(int(n_items))]))
    of_category = counts[:, :-1].sum(axis=0)

    def statistic(permuted: NDArray[np.int8]) -> Floats:
        fakes, n_fake = np.split(permuted @ counts, [has_category.shape[1]], axis=1)
        gaps = fakes / n_fake - (of_category - fakes) / (n_items - n_fake)
        return np.asarray((gaps**2 / of_category).sum(axis=1))

    observed = float(statistic(units.label[None].astype(np.int8))[0])
    n_great, n_drawn = _count_great(
        units, n_comparisons, lambda permuted: statistic(permuted) >= observed * (1 - 1e-9)
    )
    return (1 + n_great) / (1 + n_drawn)


def _moments(units: _Units, sums: Floats) -> tuple[float, float]:
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


def _count_great(
    units: _Units, n_comparisons: int, is_great: Callable[[NDArray[np.int8]], Bools]
) -> tuple[int, int]:
    """Return how many permutations are as great as the observation, and how many were drawn.

    ``is_great`` takes permuted labels ``(n_draws, n_units)``. At most two million numbers are
    drawn, but at least 1 000 permutations.
    """
    n_units = len(units.label)
    n_draws = min(_DRAWS_A_COMPARISON * n_comparisons, 2_000_000 // n_units)
    n_draws = max(1_000, n_draws)
    rng = np.random.default_rng(_SEED)
    order = np.argsort(units.block, kind="stable")
    sorted_labels = units.label[order].astype(np.int8)
    offsets = units.block[None].astype(np.float64)
    n_great = n_drawn = 0
    while n_drawn < n_draws:
        n_now = min(n_draws - n_drawn, max(1, 1_000_000 // n_units))
        places = np.argsort(offsets + rng.random((n_now, n_units)), axis=1)
        permuted = np.empty((n_now, n_units), dtype=np.int8)
        np.put_along_axis(permuted, places, sorted_labels[None], axis=1)
        n_great += int(is_great(permuted).sum())
        n_drawn += n_now
    return n_great, n_drawn
