"""Any figure under many weightings of groups at once: bootstraps and permutations.

Conventions: ``weights`` is ``(n_samples, n_groups)`` of whole numbers, how often each group counts;
a group goes as a whole, reals and fakes together. A figure that a sample cannot give is NaN there.
Memory is bounded by working in blocks of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics import losses, steps, tallies
from earwitness.metrics.costs import ASVSPOOF5, Costs
from earwitness.metrics.items import Floats, Items
from earwitness.metrics.steps import Ranking, Steps

TPR_AT_FPR = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_5pct": 0.05}
"""Figures that allow a share of reals to be called fake."""

ITEMS_AT_ONCE = 100_000
"""Weights of items that are held at once: few enough to stay in a processor's own memory."""

GROUPS_AT_ONCE = 2_000_000
"""Weights of groups that are multiplied at once: many enough for a product of matrices to pay."""


def resample(
    items: Items,
    weights: NDArray[np.integer],
    names: Collection[str],
    *,
    costs: Costs = ASVSPOOF5,
    n_bins: int = losses.N_BINS,
) -> dict[str, Floats]:
    """Return figures under every weighting.

    Args:
        items: The sample, with the decisions, scores or probabilities that the figures take.
        weights: ``(n_samples, n_groups)``, how often each group counts.
        names: Metrics, of ``metrics.json``'s names; also ``min_dcf_optimism`` and ``ece_noise``,
            the biases of two of them.
        costs: Prior and costs of ``min_dcf`` and ``act_dcf``.
        n_bins: Bins of ``ece``.

    Returns:
        Name → ``(n_samples,)``.
    """
    table = tallies.tally(items, costs, n_bins)
    of_sums = tallies.formulas(costs, table)
    summed = [name for name in names if name in of_sums]
    ordered = [name for name in names if name not in of_sums]
    found: dict[str, list[Floats]] = {name: [] for name in names}
    if summed:
        for block in _blocks(weights, GROUPS_AT_ONCE // max(items.n_groups, 1)):
            sums = _summed(block, table)
            for name in summed:
                found[name].append(of_sums[name](sums))
    if ordered and items.score is not None:
        ranking = steps.rank(items.target, items.score)
        of_steps = _of_steps(costs, steps.count_steps(ranking))
        for block in _blocks(weights, ITEMS_AT_ONCE // max(len(items), 1)):
            counted = steps.count_ordered(ranking, block[:, items.group[ranking.order]])
            for name in ordered:
                found[name].append(of_steps[name](ranking, counted))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _blocks(weights: NDArray[np.integer], size: int) -> Iterator[NDArray[np.integer]]:
    size = max(size, 1)
    return (weights[start : start + size] for start in range(0, len(weights), size))


def _summed(block: NDArray[np.integer], table: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every column's sums in every sample, by one product of matrices."""
    parts = [values.reshape(len(values), -1) for values in table.values()]
    product = block.astype(np.float64) @ np.hstack(parts)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return {
        key: sums if table[key].ndim > 1 else sums[:, 0]
        for key, sums in zip(table, np.split(product, ends, axis=1), strict=True)
    }


def _of_steps(costs: Costs, whole: Steps) -> dict[str, Callable[[Ranking, Steps], Floats]]:
    simple: dict[str, Callable[[Ranking, Steps], Floats]] = {
        "auroc": lambda _, counted: steps.auroc(counted),
        "average_precision": lambda _, counted: steps.average_precision(counted),
        "eer": lambda _, counted: steps.eer(counted),
        "eer_threshold": lambda order, counted: order.thresholds[steps.eer_step(counted) - 1],
        "min_dcf": lambda _, counted: steps.min_dcf(counted, costs),
        "min_dcf_optimism": lambda _, counted: steps.min_dcf_optimism(counted, whole, costs),
    }
    return simple | {name: _tpr_at(fpr) for name, fpr in TPR_AT_FPR.items()}


def _tpr_at(fpr: float) -> Callable[[Ranking, Steps], Floats]:
    return lambda _, counted: steps.tpr_at_fpr(counted, fpr)
