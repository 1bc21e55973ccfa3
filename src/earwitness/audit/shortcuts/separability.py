"""Whether one measure separates fakes from reals.

Conventions: AUROC is signed: 1 where every fake is above every real, 0 where below. A measure
separates the classes where AUROC is ``LIMIT`` from above or below and a permutation of the groups'
labels would not give as much: p-values are corrected for all comparisons of a check (Holm). With
too few groups for that it suffices that the gap between the classes is wider than either class.
What is as large, and significant only as long as nothing else was compared, is left open. Intervals
are for display and decide nothing: where AUROC is far from 0.5 they are wider than chance is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue

from earwitness.audit.shortcuts.measures import ITEM
from earwitness.audit.shortcuts.permutation import rank_p_value, share_p_value
from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.metrics.intervals import auroc_interval
from earwitness.metrics.measures import measure
from earwitness.metrics.sample import Floats, Ints, Items, numbered
from earwitness.metrics.significance import holm
from earwitness.splits.grid import ALL, Cell, list_cells

LIMIT = 0.7
"""AUROC from which on, or from 1 - which down, a measure alone is a finding."""

FEWEST_GROUPS = 3
"""Groups a class must have before anything is said."""

MOST_KINDS = 100
"""Categories that the permutation test takes, commonest first."""

ERROR_RATE = 0.05
"""Chance that any of the comparisons of a check is a finding where there is none."""

OPEN_RATE = 0.01
"""P-value of one comparison from which down what the correction leaves open is named."""


class Separation(NamedTuple):
    """How well something tells fakes from reals.

    Attributes:
        auroc: With its interval.
        is_finding: Whether it gives fakes away.
        is_open: Whether it does or may be chance, which is not decidable.
        p_holm: P-value corrected for all comparisons; ``None`` without a test.
    """

    auroc: Estimate
    is_finding: bool
    is_open: bool = False
    p_holm: float | None = None

    @property
    def is_decided(self) -> bool:
        """Whether there was enough to say yes or no."""
        return self.is_finding or self.auroc.reason != TOO_FEW_GROUPS


class Comparison(NamedTuple):
    """A measure in one slice, before the correction for the number of comparisons.

    Attributes:
        auroc: With its interval.
        p: P-value of the permutation test; 1 where AUROC is below the limit, NaN without a test.
        lie_apart: Whether the gap between the classes is wider than either of them.
    """

    auroc: Estimate
    p: float = math.nan
    lie_apart: bool = False


def measure_number(items: Classed, values: Floats, n_comparisons: int) -> Comparison:
    """Test a number, in its own order.

    Args:
        items: Targets and groups.
        values: ``(n_items,)`` finite numbers.
        n_comparisons: How many are made in all.
    """
    if items.least_groups < FEWEST_GROUPS:
        return _too_few(items)
    estimate = _estimate(items, values)
    if max(estimate.number, 1 - estimate.number) < LIMIT:
        return Comparison(estimate, 1.0)
    p = rank_p_value(items.target, items.group, values, n_comparisons)
    return Comparison(estimate, p, _lie_apart(items, values))


def measure_categories(items: Classed, values: list[str], n_comparisons: int) -> Comparison:
    """Test a category; AUROC is of how much commoner it is among the fakes of other groups.

    Only an AUROC above 0.5 says anything. With too few groups to leave some out, one category
    for all reals and another for all fakes is a finding, and nothing else is tested.

    Args:
        items: Targets and groups.
        values: ``(n_items,)`` categories.
        n_comparisons: How many are made in all.
    """
    if items.least_groups < FEWEST_GROUPS:
        return _too_few(items)
    reals, fakes = (
        {value for value, target in zip(values, items.target, strict=True) if target == label}
        for label in (0, 1)
    )
    if reals == fakes and len(reals) == 1:
        return Comparison(_estimate(items, np.zeros(len(values))), 1.0)
    if items.least_groups < MIN_GROUPS:
        if len(reals) == len(fakes) == 1:
            return Comparison(_estimate(items, items.target.astype(np.float64)), lie_apart=True)
        return _too_few(items)
    estimate = _estimate(items, share_scores(items, values))
    if estimate.number < LIMIT:
        return Comparison(estimate, 1.0)
    has_kind = kinds_of(values, MOST_KINDS)
    return Comparison(estimate, share_p_value(items.target, items.group, has_kind, n_comparisons))


def measure_scores(items: Classed, scores: Floats, n_comparisons: int) -> Comparison:
    """Test scores that were learnt on other groups; only above 0.5 do they say anything."""
    found = measure_number(items, scores, n_comparisons)
    return found if found.auroc.number > 0.5 else Comparison(found.auroc, 1.0)


def decide(tested: Sequence[Comparison]) -> list[Separation]:
    """Decide all comparisons of a check together, in the same order."""
    corrected = holm([one.p for one in tested])
    return [_decided(one, p) for one, p in zip(tested, corrected, strict=True)]


def _decided(one: Comparison, p: float) -> Separation:
    told = None if math.isnan(p) else p
    is_finding = one.lie_apart or p <= ERROR_RATE
    return Separation(one.auroc, is_finding, not is_finding and one.p <= OPEN_RATE, told)


def _too_few(items: Classed) -> Comparison:
    n_groups = len(np.unique(items.group))
    return Comparison(Estimate(n_items=len(items.target), n_groups=n_groups, reason=TOO_FEW_GROUPS))


def _estimate(items: Classed, scores: Floats) -> Estimate:
    interval = auroc_interval(Items(items.target, items.group, score=scores))
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return Estimate(
        value=measure("auroc", items.target, scores),
        low=low,
        high=high,
        n_items=len(scores),
        n_groups=len(np.unique(items.group)),
        method=interval.method,
        reason=interval.reason,
    )


def _lie_apart(items: Classed, values: Floats) -> bool:
    reals, fakes = (values[items.target == label] for label in (0, 1))
    gap = max(fakes.min() - reals.max(), reals.min() - fakes.max())
    return bool(gap > max(np.ptp(reals), np.ptp(fakes)))


OVERALL = {"real_corpus": ALL, "generator": ALL, "fake_corpus": ALL}
"""Keys of the slice that holds every item."""


class Classed(NamedTuple):
    """Items of a slice as arrays.

    Attributes:
        target: ``(n_items,)`` of 0 and 1.
        group: ``(n_items,)`` from 0 up.
    """

    target: Ints
    group: Ints

    def groups_of(self, target: int) -> int:
        """Return how many groups hold an item of a class."""
        return len(np.unique(self.group[self.target == target]))

    @property
    def least_groups(self) -> int:
        """Groups of the class that has fewer."""
        return min(self.groups_of(0), self.groups_of(1))


def list_slices(rows: pl.DataFrame) -> list[Cell]:
    """Return the cells, and all items where that is another slice; none without both classes.

    Args:
        rows: As ``measured_rows`` gives them; an item counts once.
    """
    items = rows.unique(ITEM, keep="first", maintain_order=True)
    if items["target"].n_unique() < 2:
        return []
    cells = list_cells(items)
    return cells if len(cells) == 1 else [*cells, Cell("overall", OVERALL, items)]


def classed(rows: pl.DataFrame) -> Classed:
    """Return targets and groups of the rows of a slice."""
    target = rows["target"].to_numpy().astype(np.int64)
    return Classed(target, numbered(rows["group"].to_numpy()))


def why_no_slices(rows: pl.DataFrame) -> str:
    """Return why ``list_slices`` gives none."""
    if rows.height == 0:
        return "no file could be heard"
    return f"only {'fakes' if rows['target'][0] else 'reals'}: nothing to tell apart"


def slice_figure(cell: Cell, auroc: Estimate, more: Mapping[str, JsonValue]) -> JsonValue:
    """Return an AUROC in one slice as ``audit.json`` holds it; see docs/audit-json.md."""
    return {
        **cell.keys,
        **more,
        "auroc": auroc.value,
        "low": auroc.low,
        "high": auroc.high,
        "n_items": auroc.n_items,
        "n_groups": auroc.n_groups,
        "method": auroc.method,
        "reason": auroc.reason,
        "conditional_on": auroc.conditional_on,
    }


def told_estimate(auroc: Estimate) -> str:
    """Return an AUROC in words: with its interval, or why there is none."""
    if auroc.value is None:
        return str(auroc.reason)
    if auroc.low is None or auroc.high is None:
        return f"AUROC {auroc.value:.2f} ({auroc.reason})"
    return f"AUROC {auroc.value:.2f} [{auroc.low:.2f}, {auroc.high:.2f}]"


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
