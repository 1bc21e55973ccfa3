"""The group bootstrap: intervals for figures that no closed form is at hand for.

Conventions: groups are drawn with replacement, within strata, from a seed. The strata are the
groups that hold reals alone, fakes alone, and both: a group with both is drawn as one, its reals
and its fakes together, and the number of groups of each kind is the same in every resample.
Intervals are percentile intervals (Efron and Tibshirani, 1993).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from earwitness.core.estimates import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import losses
from earwitness.metrics.costs import ASVSPOOF5, Costs
from earwitness.metrics.intervals import CONFIDENCE, Interval
from earwitness.metrics.items import Floats, Items
from earwitness.metrics.resampled import resample

N_RESAMPLES = 2000
HELD = 4_000_000
"""Weights of groups that are drawn at once."""

ALIKE = "all resamples give the same figure"
MOST_UNDEFINED = 0.05
"""Share of resamples in which a figure may be undefined; they are left out of its interval."""


def bootstrap_intervals(
    items: Items,
    names: Collection[str],
    *,
    seed: int,
    n_resamples: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
    costs: Costs = ASVSPOOF5,
    n_bins: int = losses.N_BINS,
) -> dict[str, Interval]:
    """Return an interval for every figure, all from the same resamples.

    Args:
        items: The sample, reals and fakes.
        names: Figures, of ``metrics.json``'s names.
        seed: Where the draws start.
        n_resamples: How many resamples.
        confidence: Level.
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Bins of ``ece``.
    """
    if min(items.groups_of(0), items.groups_of(1)) < MIN_GROUPS:
        return dict.fromkeys(names, Interval(reason=TOO_FEW_GROUPS))
    rng, size = np.random.default_rng(seed), max(1, HELD // items.n_groups)
    sizes = [min(size, n_resamples - start) for start in range(0, n_resamples, size)]
    parts = [
        resample(items, draw_weights(items, n, rng), names, costs=costs, n_bins=n_bins)
        for n in sizes
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return {name: _percentiles(values, confidence) for name, values in found.items()}


def draw_weights(items: Items, n_resamples: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Draw how often each group counts: ``(n_resamples, n_groups)``, multinomial by stratum."""
    kinds = _strata(items)
    weights = np.empty((n_resamples, items.n_groups), dtype=np.int16)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        for row in weights:
            drawn = rng.integers(0, len(members), len(members))
            row[members] = np.bincount(drawn, minlength=len(members))
    return weights


def _strata(items: Items) -> NDArray[np.int64]:
    """1 for groups of reals alone, 2 for groups of fakes alone, 3 for groups with both."""
    kinds = np.zeros(items.n_groups, dtype=np.int64)
    for label in (0, 1):
        kinds[np.unique(items.group[items.target == label])] += label + 1
    return kinds


def _percentiles(values: Floats, confidence: float) -> Interval:
    defined = values[np.isfinite(values)]
    n_undefined = len(values) - len(defined)
    if n_undefined > MOST_UNDEFINED * len(values):
        return Interval(reason=f"undefined in {n_undefined} of {len(values)} resamples")
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    if defined.min() == defined.max():
        return Interval(reason=ALIKE)
    return Interval(float(low), float(high), f"group bootstrap, {len(values)} resamples")
