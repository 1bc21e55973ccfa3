"""Curves, histograms and reliability bins of a slice, thinned for a page.

Conventions: curves are there for overall and dataset slices with both classes and scores; elsewhere
``no_curves`` says why. Thresholds are ``pred_prob`` where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.stats import norm

from earwitness.core.estimate import Estimate
from earwitness.evaluation.schema import (
    Curves,
    Det,
    Histogram,
    ReliabilityBin,
    Roc,
    Settings,
    SliceKind,
)
from earwitness.metrics import sweep
from earwitness.metrics.intervals import rate_interval
from earwitness.metrics.sample import Floats, Items, bin_of

N_POINTS = 200
N_BINS = 40


@dataclass(frozen=True)
class Drawn:
    """What of a slice can be drawn; the fields are those of ``Slice``."""

    curves: Curves | None = None
    no_curves: str | None = None
    histograms: list[Histogram] = field(default_factory=list)
    reliability: list[ReliabilityBin] = field(default_factory=list)


def draw_curves(items: Items, kind: SliceKind, settings: Settings) -> Drawn:
    """Return what a slice of this kind has to draw."""
    if kind not in ("overall", "dataset"):
        return Drawn(no_curves="curves are drawn overall and by dataset only")
    if items.score is None:
        return Drawn(no_curves="no scores to draw curves of")
    histograms = _histograms(items)
    if not items.has_both:
        word = "fakes" if items.target[0] == 1 else "reals"
        return Drawn(no_curves=f"only {word} in this slice", histograms=histograms)
    reliability = [] if items.prob is None else _reliability(items, items.prob, settings)
    return Drawn(_curves(items), None, histograms, reliability)


def _curves(items: Items) -> Curves:
    counted = sweep.count_steps(items.ranking)
    kept = _thinned(counted.fpr, counted.tpr)
    fpr, tpr = counted.fpr[kept], counted.tpr[kept]
    thresholds = [None if step == 0 else float(counted.thresholds[step - 1]) for step in kept]
    inner = (fpr > 0) & (fpr < 1) & (tpr > 0) & (tpr < 1)
    alarms, misses = fpr[inner], 1 - tpr[inner]
    return Curves(
        roc=Roc(fpr=fpr.tolist(), tpr=tpr.tolist(), threshold=thresholds),
        det=Det(
            fpr=alarms.tolist(),
            fnr=misses.tolist(),
            probit_fpr=norm.ppf(alarms).tolist(),
            probit_fnr=norm.ppf(misses).tolist(),
        ),
    )


def _thinned(fpr: Floats, tpr: Floats) -> list[int]:
    """Keep steps evenly along the curve, the first and the last among them."""
    along = fpr + tpr
    wanted = np.linspace(0, along[-1], N_POINTS)
    steps_there = np.searchsorted(along, wanted, "left").clip(0, len(along) - 1)
    return [int(step) for step in np.unique(steps_there)]


def _histograms(items: Items) -> list[Histogram]:
    drawn = []
    if items.prob is not None:
        drawn.append(_histogram("pred_prob", items, items.prob, (0.0, 1.0)))
    if items.logit is not None and np.ptp(items.logit) > 0:
        span = (float(items.logit.min()), float(items.logit.max()))
        drawn.append(_histogram("logit", items, items.logit, span))
    return drawn


def _histogram(
    scale: Literal["pred_prob", "logit"], items: Items, values: Floats, span: tuple[float, float]
) -> Histogram:
    edges = np.histogram_bin_edges(values, N_BINS, span)
    real, fake = (np.histogram(values[items.target == label], edges)[0] for label in (0, 1))
    return Histogram(scale=scale, edges=edges.tolist(), real=real.tolist(), fake=fake.tolist())


def _reliability(items: Items, prob: Floats, settings: Settings) -> list[ReliabilityBin]:
    n_bins = settings.n_ece_bins
    cell = bin_of(prob, n_bins)
    return [
        _bin(items.where(cell == index), prob[cell == index], index, settings)
        for index in np.unique(cell).tolist()
    ]


def _bin(items: Items, prob: Floats, index: int, settings: Settings) -> ReliabilityBin:
    found = rate_interval(items.target, items.group, settings.confidence)
    share = Estimate(
        value=float(items.target.mean()),
        low=None if found.reason else found.low,
        high=None if found.reason else found.high,
        n_items=len(items),
        n_groups=items.n_groups,
        method=found.method,
        reason=found.reason,
    )
    return ReliabilityBin(
        low=index / settings.n_ece_bins,
        high=(index + 1) / settings.n_ece_bins,
        n=len(items),
        mean_prob=float(prob.mean()),
        share_fake=share,
    )
