"""Who stands where: detectors in order, and where each is weakest.

Conventions: detectors are ordered by one figure, the first of ``BY`` that any has over all items.
A comparison table alone has no figures over all items: there it is the mean over data sets, each
counting the same. Undefined comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.evaluation.schema import Metrics, Slice, SliceKind
from earwitness.splits.grouping import ALL

BY = ("auroc", "balanced_accuracy", "recall", "specificity")
"""Figures to order detectors by, the first first."""

OVER_DATA_SETS = "a mean over data sets: no interval"


class Standing(NamedTuple):
    """A detector's place.

    Attributes:
        detector: Who.
        estimate: The figure that detectors are ordered by.
    """

    detector: str
    estimate: Estimate


class Standings(NamedTuple):
    """Detectors in order.

    Attributes:
        metric: What they are ordered by; higher is better.
        is_mean: Whether it is a mean over data sets.
        places: Best first; those without a figure last.
    """

    metric: str
    is_mean: bool
    places: list[Standing]


def rank_detectors(metrics: Metrics) -> Standings:
    """Order the detectors by what there is to order them by."""
    overall = {part.detector: [part] for part in metrics.where(kind="overall")}
    parts = overall or _crossed(metrics) or _by_detector(metrics.where(kind="dataset"))
    metric = next((name for name in BY if _has(name, parts)), BY[0])
    places = [Standing(d.name, _mean(metric, parts.get(d.name, []))) for d in metrics.detectors]
    places.sort(key=lambda place: -place.estimate.number if place.estimate.is_defined else 1)
    return Standings(metric, not overall, places)


def figures_of(metrics: Metrics, metric: str) -> dict[str, Estimate]:
    """Return one figure of each detector: over all items, or the mean over data sets."""
    overall = {part.detector: [part] for part in metrics.where(kind="overall")}
    parts = overall or _by_detector(metrics.where(kind="dataset"))
    return {d.name: _mean(metric, parts.get(d.name, [])) for d in metrics.detectors}


def find_weakest(metrics: Metrics, detector: str, metric: str) -> Slice | None:
    """Return the slice with a detector's lowest figure, ``None`` where too few can be compared.

    Slices that are too small for an interval are left out: the smallest would win by chance. Of
    counts, which give no intervals, those of ``MIN_GROUPS`` items count.
    """
    told = [part for part in slices_of(metrics, detector) if is_telling(part, metric)]
    if len(told) < 2:
        return None
    return min(told, key=lambda part: speaking_figure(part, metric).number)


def slices_of(metrics: Metrics, detector: str) -> list[Slice]:
    """Return the finest slices that a detector has several of.

    Cells of the crossed grid where there are any, else generators, corpora or data sets.
    """
    cells = [s for s in metrics.where(kind="grid", detector=detector) if not _takes_all(s)]
    kinds: tuple[SliceKind, ...] = ("generator", "corpus", "dataset")
    others = (metrics.where(kind=kind, detector=detector) for kind in kinds)
    return next((parts for parts in (cells, *others) if len(parts) > 1), [])


def is_telling(part: Slice, metric: str) -> bool:
    """Whether a slice is large enough to compare; a cell of the grid needs both classes."""
    if part.kind == "grid" and not (part.coverage.n_real and part.coverage.n_fake):
        return False
    found = speaking_figure(part, metric)
    is_counted = found.is_defined and found.reason != TOO_FEW_GROUPS and not found.n_groups
    return found.low is not None or (is_counted and found.n_items >= MIN_GROUPS)


def headline_metric(part: Slice, metric: str) -> str:
    """Return what speaks for a slice: the metric asked for, or the rate of its one class."""
    if part.headline is not None:
        return part.headline
    covered = part.coverage
    if covered.n_real and covered.n_fake:
        return metric
    return "recall" if covered.n_fake else "specificity"


def speaking_figure(part: Slice, metric: str) -> Estimate:
    """Return a slice's figure of the metric that speaks for it."""
    name = headline_metric(part, metric)
    return part.estimates.get(name, Estimate(reason="not in the file"))


def intervals_disjoint(one: Estimate, other: Estimate) -> bool | None:
    """Whether two intervals do not overlap; ``None`` where one is missing."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return None
    return one.low > other.high or other.low > one.high


def leaders(places: Sequence[Standing]) -> list[Standing]:
    """Return the first and all whose interval overlaps with its own, or that have none."""
    return [
        place
        for place in places
        if intervals_disjoint(places[0].estimate, place.estimate) is not True
    ]


def _takes_all(part: Slice) -> bool:
    return part.keys.get("real_corpus") == ALL


def _crossed(metrics: Metrics) -> dict[str, list[Slice]]:
    return _by_detector(part for part in metrics.where(kind="grid") if not _takes_all(part))


def _by_detector(parts: Iterable[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = {}
    for part in parts:
        found.setdefault(part.detector, []).append(part)
    return found


def _has(metric: str, parts: dict[str, list[Slice]]) -> bool:
    return any(
        metric in part.estimates and part.estimates[metric].is_defined
        for own in parts.values()
        for part in own
    )


def _mean(metric: str, parts: Sequence[Slice]) -> Estimate:
    found = [part.estimates[metric] for part in parts if metric in part.estimates]
    if len(found) == 1:
        return found[0]
    defined = [one for one in found if one.is_defined]
    if not defined:
        return Estimate(reason=found[0].reason if found else "nothing was judged")
    return Estimate(
        value=fmean(one.number for one in defined),
        n_items=sum(one.n_items for one in defined),
        reason=OVER_DATA_SETS,
    )
