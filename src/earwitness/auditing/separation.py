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
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from earwitness.auditing.crossfit import kinds_of, share_scores
from earwitness.auditing.permutation import rank_p_value, share_p_value
from earwitness.auditing.slices import Classed
from earwitness.core.estimates import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.metrics.comparisons import holm
from earwitness.metrics.intervals import auroc_interval
from earwitness.metrics.items import Floats
from earwitness.metrics.ranking import auroc

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


def _lie_apart(items: Classed, values: Floats) -> bool:
    reals, fakes = (values[items.target == label] for label in (0, 1))
    gap = max(fakes.min() - reals.max(), reals.min() - fakes.max())
    return bool(gap > max(np.ptp(reals), np.ptp(fakes)))
