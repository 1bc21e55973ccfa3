"""Definition of a metric, and its values on many reweighted samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.core.estimate import Counts
from earwitness.metrics import sweep
from earwitness.metrics.intervals import Interval
from earwitness.metrics.sample import Floats, Items, Options, Ranking, given
from earwitness.metrics.sweep import Steps

Needs = Literal["decision", "score", "logit", "prob", "margin", "answer"]
Sums = Mapping[str, Floats]
"""Column → its sum in every sample, ``(n_samples,)`` or ``(n_samples, n_bins)``."""

Counted = TypeVar("Counted", Sums, Steps)

ITEMS_AT_ONCE = 100_000
"""Item weights per block; a block fits a processor's cache."""

GROUPS_AT_ONCE = 2_000_000
"""Group weights per block of a matrix product."""


def decision_columns(items: Items, _: Options) -> Sums:
    """Return the confusion of each item, one column per outcome."""
    fake, called = items.target == 1, given(items.decision) == 1
    cells = {"tp": fake & called, "fn": fake & ~called, "fp": ~fake & called, "tn": ~fake & ~called}
    return {name: cell.astype(float) for name, cell in cells.items()}


def count_decisions(target: ArrayLike, decision: ArrayLike) -> Counts:
    """Return the confusion counts.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        decision: ``(n_items,)`` of 0 (called real) and 1 (called fake).

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    truth, call = np.asarray(target), np.asarray(decision)
    if truth.shape != call.shape or truth.ndim != 1:
        raise ValueError(f"shapes {truth.shape} and {call.shape}, expected (n_items,) twice")
    for name, values in (("target", truth), ("decision", call)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} holds more than 0 and 1: {np.unique(values)[:5]}")
    cells = decision_columns(Items(truth, truth, decision=call), Options())
    return Counts(**{name: int(cell.sum()) for name, cell in cells.items()})


def score_ranking(items: Items) -> Ranking:
    """Return the items by descending score."""
    return items.ranking


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """A metric; its formula is either ``of_sums`` or ``of_steps``.

    Attributes:
        label: Display name.
        needs: The column of ``Items`` it is computed from.
        higher_is_better: Its direction; ``None`` if it has none.
        of_sums: Formula on sums over items: ``n_real``, ``n_fake`` and ``columns``.
        of_steps: Formula on the counts at every threshold.
        columns: Function that returns the columns to sum; by default ``tp``, ``fn``, ``fp`` and
            ``tn`` of the decisions.
        ranking: Function that returns the ranking whose steps ``of_steps`` is a formula on.
        interval: Closed-form interval; ``None`` uses the group bootstrap.
        bounds: Minimum and maximum, for the bootstrap interval.
        worst: Function that returns the maximum on some items, if no constant bounds the metric.
        bias: Function that returns a metric whose mean over resamples estimates the bias.
        one_class: Whether it is defined on a single class.
        part: Mask of the items that the metric is a share of; ``None`` is all.
        undefined: Why it may be undefined with both classes; ``{n_real}`` is replaced.
    """

    label: str
    needs: Needs
    higher_is_better: bool | None = True
    of_sums: Callable[[Sums, Options], Floats] | None = None
    of_steps: Callable[[Steps, Options], Floats] | None = None
    columns: Callable[[Items, Options], Sums] = decision_columns
    ranking: Callable[[Items], Ranking] = score_ranking
    interval: Callable[[Items, Options], Interval] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    worst: Callable[[Items], float] | None = None
    bias: Callable[[Items, Options], Metric] | None = None
    one_class: bool = False
    part: Callable[[Items], NDArray[np.bool_]] | None = None
    undefined: str = "undefined on these items"

    def __post_init__(self) -> None:
        if (self.of_sums is None) == (self.of_steps is None):
            raise ValueError(f"{self.label}: expected of_sums or of_steps, and not both")

    def part_of(self, items: Items) -> Items:
        """Return the items that the metric is a share of."""
        return items if self.part is None else items.where(self.part(items))

    def bounds_on(self, items: Items) -> tuple[float, float]:
        """Return the minimum and maximum possible on some items."""
        return self.bounds if self.worst is None else (self.bounds[0], self.worst(items))


def compute(
    items: Items,
    weights: NDArray[np.integer],
    metrics: Mapping[str, Metric],
    options: Options | None = None,
) -> dict[str, Floats]:
    """Return the values of metrics on reweighted samples: ``(n_samples,)`` by name.

    Args:
        items: The sample, with the columns that the metrics need.
        weights: ``(n_samples, n_groups)`` whole weights of the groups.
        metrics: Metrics by name.
        options: Costs and bins.
    """
    options = options or Options()
    found: dict[str, list[Floats]] = {name: [] for name in metrics}
    if len(items) and any(one.of_sums for one in metrics.values()):
        table = _group_sums(items, metrics.values(), options)
        for block in _blocks(weights, GROUPS_AT_ONCE // max(items.n_groups, 1)):
            sums = _weighted_sums(block, table)
            both = (sums["n_real"] > 0) & (sums["n_fake"] > 0)
            for name, one in metrics.items():
                if one.of_sums is not None:
                    found[name].append(_evaluate(one, one.of_sums, sums, options, both))
    for ranking_of, names in _by_ranking(items, metrics).items():
        ranking = ranking_of(items)
        for block in _blocks(weights, ITEMS_AT_ONCE // max(len(items), 1)):
            ordered = block[:, items.group[ranking.order]]
            if items.weight is not None:
                ordered = ordered * items.weight[ranking.order]
            steps = sweep.count_ordered(ranking, ordered)
            both = (steps.n_real[..., 0] > 0) & (steps.n_fake[..., 0] > 0)
            for name, one in ((name, metrics[name]) for name in names):
                if one.of_steps is not None:
                    found[name].append(_evaluate(one, one.of_steps, steps, options, both))
    undefined = [np.full(len(weights), np.nan)]
    return {name: np.concatenate(parts or undefined) for name, parts in found.items()}


def _by_ranking(
    items: Items, metrics: Mapping[str, Metric]
) -> dict[Callable[[Items], Ranking], list[str]]:
    """Return the names of the metrics of steps that items can define, by ranking."""
    found: dict[Callable[[Items], Ranking], list[str]] = {}
    for name, one in metrics.items():
        if one.of_steps is not None and len(items) and (items.has_both or one.one_class):
            found.setdefault(one.ranking, []).append(name)
    return found


def _evaluate(
    metric: Metric,
    formula: Callable[[Counted, Options], Floats],
    counted: Counted,
    options: Options,
    both: NDArray[np.bool_],
) -> Floats:
    """Return the values of a formula, NaN if undefined."""
    if not (metric.one_class or both.any()):
        return np.full(len(both), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = formula(counted, options)
    return np.where(np.isfinite(values) & (both | metric.one_class), values, np.nan)


def _blocks(weights: NDArray[np.integer], size: int) -> Iterator[NDArray[np.integer]]:
    size = max(size, 1)
    return (weights[start : start + size] for start in range(0, len(weights), size))


def _group_sums(items: Items, metrics: Collection[Metric], options: Options) -> Sums:
    """Return the columns of metrics, summed by group."""
    columns: dict[str, Floats] = {
        "n_real": (items.target == 0).astype(float),
        "n_fake": (items.target == 1).astype(float),
    }
    for function in dict.fromkeys(one.columns for one in metrics if one.of_sums is not None):
        columns |= function(items, options)
    return {name: _by_group(values, items) for name, values in columns.items()}


def _by_group(values: Floats, items: Items) -> Floats:
    if values.ndim > 1:
        return np.column_stack([_by_group(column, items) for column in values.T])
    weighted = values if items.weight is None else values * items.weight
    return np.bincount(items.group, weighted, items.n_groups).astype(np.float64)


def _weighted_sums(block: NDArray[np.integer], table: Sums) -> dict[str, Floats]:
    """Return the sums of every column in every sample."""
    parts = [values.reshape(len(values), -1) for values in table.values()]
    product = block.astype(np.float64) @ np.hstack(parts)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return {
        key: sums if table[key].ndim > 1 else sums[:, 0]
        for key, sums in zip(table, np.split(product, ends, axis=1), strict=True)
    }


def share(part: Floats, whole: Floats) -> Floats:
    """Return a quotient, NaN if the denominator is 0."""
    shares = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
