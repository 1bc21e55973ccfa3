"""Ranking of detectors, and the slice where each is lowest.

Detectors are ordered by the first metric of ``RANKED_BY`` that any of them has over all items. A
comparison table has no metrics over all items; there it is the mean over data sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.slices import Slice, SliceKind
from earwitness.splits.grouping import ALL

RANKED_BY = ("auroc", "balanced_accuracy", "recall", "specificity")


class Place(NamedTuple):
    """A detector and the estimate it is ranked by."""

    detector: str
    estimate: Estimate


class Ranking(NamedTuple):
    """Detectors ordered by a metric or its mean over data sets: best first, undefined last."""

    metric: str
    is_mean: bool
    places: list[Place]


def rank_detectors(metrics: Metrics) -> Ranking:
    """Order the detectors."""
    overall = {part.detector: [part] for part in metrics.where(kind="overall")}
    grid = (part for part in metrics.where(kind="grid") if not _is_total(part))
    parts = overall or _by_detector(grid) or _by_detector(metrics.where(kind="dataset"))
    metric = next((name for name in RANKED_BY if _has(name, parts)), RANKED_BY[0])
    places = [Place(d.name, _mean(metric, parts.get(d.name, []))) for d in metrics.detectors]
    places.sort(key=lambda place: -place.estimate.number if place.estimate.is_defined else 1)
    return Ranking(metric, not overall, places)


def values_by_detector(metrics: Metrics, metric: str) -> dict[str, Estimate]:
    """Return a metric of each detector, over all items or as a mean over data sets."""
    overall = {part.detector: [part] for part in metrics.where(kind="overall")}
    parts = overall or _by_detector(metrics.where(kind="dataset"))
    return {d.name: _mean(metric, parts.get(d.name, [])) for d in metrics.detectors}


def find_weakest(metrics: Metrics, detector: str, metric: str) -> Slice | None:
    """Return the comparable slice with a detector's lowest value; ``None`` with fewer than two."""
    parts = [part for part in slices_of(metrics, detector) if is_comparable(part, metric)]
    if len(parts) < 2:
        return None
    return min(parts, key=lambda part: headline_estimate(part, metric).number)


def slices_of(metrics: Metrics, detector: str) -> list[Slice]:
    """Return the cells of a detector's grid, else its generators, corpora or data sets."""
    cells = [s for s in metrics.where(kind="grid", detector=detector) if not _is_total(s)]
    kinds: tuple[SliceKind, ...] = ("generator", "corpus", "dataset")
    others = (metrics.where(kind=kind, detector=detector) for kind in kinds)
    return next((parts for parts in (cells, *others) if len(parts) > 1), [])


def is_comparable(part: Slice, metric: str) -> bool:
    """Whether a slice has an interval, or from counts at least ``MIN_GROUPS`` items.

    The smallest slices would be the lowest by chance. A cell of the grid needs both classes.
    """
    if part.kind == "grid" and not (part.coverage.n_real and part.coverage.n_fake):
        return False
    found = headline_estimate(part, metric)
    is_counted = found.is_defined and found.reason != TOO_FEW_GROUPS and not found.n_groups
    return found.low is not None or (is_counted and found.n_items >= MIN_GROUPS)


def headline_metric(part: Slice, metric: str) -> str:
    """Return the metric given, or the rate of a slice's only class."""
    if part.headline is not None:
        return part.headline
    if part.coverage.n_real and part.coverage.n_fake:
        return metric
    return "recall" if part.coverage.n_fake else "specificity"


def headline_estimate(part: Slice, metric: str) -> Estimate:
    """Return the estimate of a slice's main metric."""
    name = headline_metric(part, metric)
    return part.estimates.get(name, Estimate(reason="not in the file"))


def intervals_disjoint(one: Estimate, other: Estimate) -> bool | None:
    """Whether two intervals do not overlap; ``None`` if one is missing."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.low > other.high or other.low > one.high


def leaders(places: Sequence[Place]) -> list[Place]:
    """Return the first detector and all whose intervals are not disjoint from its own."""
    first = places[0].estimate
    return [place for place in places if intervals_disjoint(first, place.estimate) is not True]


def _is_total(part: Slice) -> bool:
    return part.keys.get("real_corpus") == ALL


def _by_detector(parts: Iterable[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for part in parts:
        found.setdefault(part.detector, []).append(part)
    return found


def _has(metric: str, parts: dict[str, list[Slice]]) -> bool:
    estimates = (part.estimates.get(metric) for own in parts.values() for part in own)
    return any(found is not None and found.is_defined for found in estimates)


def _mean(metric: str, parts: Sequence[Slice]) -> Estimate:
    found = [part.estimates[metric] for part in parts if metric in part.estimates]
    if len(found) == 1:
        return found[0]
    defined = [one for one in found if one.is_defined]
    if not defined:
        return Estimate(reason=found[0].reason if found else "no scored items")
    return Estimate(
        value=fmean(one.number for one in defined),
        n_items=sum(one.n_items for one in defined),
        reason="a mean over data sets: no interval",
    )
