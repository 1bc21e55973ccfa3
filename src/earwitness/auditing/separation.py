"""Whether one measure tells fakes from reals.

Conventions: AUROC is signed: 1 where every fake lies above every real, 0 where below. A measure
gives fakes away where AUROC is ``LIMIT`` from above or below, and that is no chance: the interval
excludes 0.5 at a level that is corrected for the number of comparisons (Bonferroni), or the classes
do not overlap at all. With too few groups for an interval they must lie apart: the gap between them
is wider than either class. What is as large, and certain only as long as nothing else was compared,
is left open: it may be chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from earwitness.auditing.crossfit import share_scores
from earwitness.auditing.slices import Classed
from earwitness.core.estimates import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.metrics.intervals import auroc_interval
from earwitness.metrics.items import Floats
from earwitness.metrics.ranking import auroc

LIMIT = 0.7
"""AUROC from which on, or from 1 - which down, a measure alone is a finding."""

FEWEST_GROUPS = 3
"""Groups a class must have before anything is said."""

ERROR_RATE = 0.05
"""Chance that any of the comparisons of a check is a finding where there is none."""


class Separation(NamedTuple):
    """How well something tells fakes from reals.

    Attributes:
        auroc: With its interval.
        is_finding: Whether it gives fakes away.
        is_open: Whether it does or may be chance, which is not decidable.
    """

    auroc: Estimate
    is_finding: bool
    is_open: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether there was enough to say yes or no."""
        return self.is_finding or self.auroc.reason != TOO_FEW_GROUPS


def separate(items: Classed, values: Floats, n_comparisons: int) -> Separation:
    """Judge a number, in its own order.

    Args:
        items: Targets and groups.
        values: ``(n_items,)`` finite numbers.
        n_comparisons: How many are made in all.
    """
    if items.least_groups < FEWEST_GROUPS:
        return _too_few(items)
    estimate = _estimate(items, values)
    area = estimate.number
    if max(area, 1 - area) < LIMIT:
        return Separation(estimate, False)
    if estimate.reason == TOO_FEW_GROUPS:
        return Separation(estimate, _lie_apart(items, values))
    return _weighed(items, values, estimate, n_comparisons)


def separate_categories(items: Classed, values: list[str], n_comparisons: int) -> Separation:
    """Judge a category, by how much commoner it is among the fakes of other groups.

    Only an AUROC above 0.5 says anything. With too few groups to leave some out, one category
    for all reals and another for all fakes is a finding, and nothing else is judged.

    Args:
        items: Targets and groups.
        values: ``(n_items,)`` categories.
        n_comparisons: How many are made in all.
    """
    reals, fakes = (
        {value for value, target in zip(values, items.target, strict=True) if target == label}
        for label in (0, 1)
    )
    if items.least_groups < FEWEST_GROUPS:
        return _too_few(items)
    if reals == fakes and len(reals) == 1:
        return Separation(_estimate(items, np.zeros(len(values))), False)
    if items.least_groups < MIN_GROUPS:
        if len(reals) == len(fakes) == 1:
            return Separation(_estimate(items, items.target.astype(np.float64)), True)
        return _too_few(items)
    scores = share_scores(items, values)
    estimate = _estimate(items, scores)
    if estimate.number < LIMIT:
        return Separation(estimate, False)
    return _weighed(items, scores, estimate, n_comparisons)


def judge_scores(items: Classed, scores: Floats, n_comparisons: int) -> Separation:
    """Judge scores that were learnt on other groups; only above 0.5 do they say anything."""
    found = separate(items, scores, n_comparisons)
    return found if found.auroc.number > 0.5 else Separation(found.auroc, False)


def _too_few(items: Classed) -> Separation:
    estimate = Estimate(
        n_items=len(items.target), n_groups=len(np.unique(items.group)), reason=TOO_FEW_GROUPS
    )
    return Separation(estimate, False)


def _estimate(items: Classed, scores: Floats) -> Estimate:
    interval = auroc_interval(items.target, scores, items.group)
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return Estimate(
        value=auroc(items.target, scores),
        low=low,
        high=high,
        n_items=len(scores),
        n_groups=len(np.unique(items.group)),
        method=interval.method,
        reason=interval.reason,
    )


def _weighed(items: Classed, scores: Floats, estimate: Estimate, n_comparisons: int) -> Separation:
    """Judge what is large enough by how certain it is."""
    if estimate.number in (0, 1) or _is_sure(items, scores, n_comparisons):
        return Separation(estimate, is_finding=True)
    low, high = estimate.low, estimate.high
    is_open = low is not None and high is not None and not low <= 0.5 <= high
    return Separation(estimate, is_finding=False, is_open=is_open)


def _is_sure(items: Classed, scores: Floats, n_comparisons: int) -> bool:
    level = 1 - ERROR_RATE / max(1, n_comparisons)
    interval = auroc_interval(items.target, scores, items.group, level)
    return interval.low > 0.5 or interval.high < 0.5


def _lie_apart(items: Classed, values: Floats) -> bool:
    reals, fakes = (values[items.target == label] for label in (0, 1))
    gap = max(fakes.min() - reals.max(), reals.min() - fakes.max())
    return bool(gap > max(np.ptp(reals), np.ptp(fakes)))
