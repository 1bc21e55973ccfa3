"""Whether two detectors differ on the items that both scored.

Conventions: differences are first minus second; groups are what is independent, since on clustered
rows the plain tests (DeLong's, McNemar's) reject far too often. P-values are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata, t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.compute import compute
from earwitness.metrics.intervals import (
    CONFIDENCE,
    NO_VARIATION,
    Interval,
    clustered_variance,
    degrees_of_freedom,
    place,
)
from earwitness.metrics.measures import select
from earwitness.metrics.sample import Floats, Items, Options, Values

N_SWAPS = 2000


@dataclass(frozen=True)
class Difference:
    """How far two detectors are apart.

    Attributes:
        value: First minus second.
        low: Lower end of the interval; NaN where the test gives none.
        high: Upper end.
        p: Chance of so great a difference if there were none; NaN with a reason.
        method: Which test.
        reason: Why there is no p-value.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    method: str | None = None
    reason: str | None = None


def auroc_difference(first: Items, second: Items, confidence: float = CONFIDENCE) -> Interval:
    """Return an interval for a difference of two AUROCs: DeLong's, with Obuchowski's variance.

    Student's t takes the place of the normal distribution, on as many degrees of freedom as the
    variance has (``degrees_of_freedom``), at most one fewer than the groups of the class
    that has fewer.

    Args:
        first: Items with reals and fakes, as the first detector scored them.
        second: The same items in the same order, as the second did.
        confidence: Level.
    """
    one, two = place(first), place(second)
    value, apart = one.mean - two.mean, one.minus(two)
    n_least = min(first.groups_of(0), first.groups_of(1))
    if n_least < MIN_GROUPS:
        return Interval(reason=TOO_FEW_GROUPS)
    error = math.sqrt(clustered_variance(apart, first.target, first.group))
    if error == 0:
        return Interval(reason=NO_VARIATION)
    freedom = min(n_least - 1, degrees_of_freedom(apart, first.target, first.group))
    reach = float(t.ppf((1 + confidence) / 2, max(freedom, 1))) * error
    return Interval(max(value - reach, -1.0), min(value + reach, 1.0), "clustered DeLong")


def compare_by_swaps(
    first: Items,
    second: Items,
    names: Collection[str],
    *,
    seed: int,
    n_swaps: int = N_SWAPS,
    options: Options | None = None,
) -> dict[str, Difference]:
    """Test differences of metrics by permutation: outputs are swapped, a whole group at a time.

    Under the null hypothesis the detectors' outputs on a group are exchangeable. The p-value is
    the share of random swaps (the data themselves being one of them) with a difference at least
    as great. Scores that items are ordered by are replaced by ranks first, as the detectors'
    scales may differ; logits and probabilities are not. The difference of two AUROCs has an
    interval as well (``auroc_difference``).

    Args:
        first: Items with the columns that the metrics need, scored by the first detector.
        second: The same items in the same order, scored by the second.
        names: Metrics.
        seed: Seed of the swaps.
        n_swaps: Number of swaps.
        options: Level, costs and bins.
    """
    pooled, n_groups = _pooled(first, second), first.n_groups
    swapped = np.random.default_rng(seed).integers(0, 2, (n_swaps + 1, n_groups), dtype=np.int8)
    swapped[0] = 0
    as_first, as_second = (
        compute(pooled, np.hstack(halves), select(names), options)
        for halves in ((1 - swapped, swapped), (swapped, 1 - swapped))
    )
    few = n_groups < MIN_GROUPS
    found = {name: _swap_test(as_first[name] - as_second[name], few) for name in names}
    if "auroc" in found and found["auroc"].reason is None:
        interval = auroc_difference(first, second)
        method = "; ".join(filter(None, (found["auroc"].method, interval.method)))
        found["auroc"] = replace(
            found["auroc"], low=interval.low, high=interval.high, method=method
        )
    return found


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm, 1979), in the same order.

    NaN is no test: it stays NaN and is not counted.
    """
    values = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    raised = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in corrected]


def _swap_test(differences: Floats, few_groups: bool) -> Difference:
    value = float(differences[0])
    if math.isnan(value):
        return Difference(value, reason="undefined for one of the detectors")
    if few_groups:
        return Difference(value, reason=TOO_FEW_GROUPS)
    swaps = np.abs(differences[1:])
    n_great = int((~(swaps < abs(value) - 1e-12)).sum())  # an undefined swap counts as great
    method = f"group swaps, {len(swaps)} permutations"
    return Difference(value, p=(1 + n_great) / (1 + len(swaps)), method=method)


def _pooled(first: Items, second: Items) -> Items:
    """Put the items one below the other, the second's groups numbered after the first's."""
    if not (
        np.array_equal(first.target, second.target) and np.array_equal(first.group, second.group)
    ):
        raise ValueError("targets or groups differ, expected the same items in the same order")
    orders = [None if items.score is None else rankdata(items.score) for items in (first, second)]
    return Items(
        np.concatenate([first.target, second.target]),
        np.concatenate([first.group, second.group + first.n_groups]),
        decision=_stacked(first.decision, second.decision),
        score=_stacked(*orders),
        logit=_stacked(first.logit, second.logit),
        prob=_stacked(first.prob, second.prob),
    )


def _stacked(first: Values | None, second: Values | None) -> Any:
    """Return both, one below the other; ``None`` unless both detectors have them."""
    return None if first is None or second is None else np.concatenate([first, second])
