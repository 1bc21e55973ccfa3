"""Calibration and thresholds fitted for each detector, and the rows that are left to report on.

Conventions: nothing is fitted on a row that is reported on, nor on one of its group: either there
are calibration predictions, or one half of the groups serves. Calibration maps logits affinely and
never reverses their order: temperature scaling is that of Guo et al. (2017); the offset and the
smoothed targets that keep the map finite on separable samples are Platt's (1999).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from earwitness.core.errors import UsageError
from earwitness.core.estimate import Estimate
from earwitness.evaluation.estimates import estimate_some
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import items_of
from earwitness.evaluation.schema import (
    Calibration,
    Settings,
)
from earwitness.evaluation.thresholds import (
    FITTING_HALF,
    Rule,
    apply_threshold,
    fit_on,
    for_fitting,
    scale_of,
)
from earwitness.metrics.measures import names_needing
from earwitness.metrics.sample import Floats, Items, has_both, logits

Method = Literal["temperature", "platt"]
LEAST_SCALE = 1e-6
"""Least scale: what the fit gives where higher scores are not more often fake."""
METHODS: dict[str, Method] = {"temperature": "temperature", "platt": "platt"}


@dataclass(frozen=True)
class Scaling:
    """What calibration does to one detector's logits."""

    scale: float
    offset: float
    n_items: int
    prevalence: float


@dataclass(frozen=True)
class Fitted:
    """What was fitted for one detector.

    Attributes:
        threshold: Scores from here up are called fake; ``None`` where ``reason`` says why there
            is none, or where the rule fits none.
        reason: Why there is no threshold.
        n_items: Items that the threshold was fitted on.
        scaling: The calibration; ``None`` without one.
    """

    threshold: float | None = None
    reason: str | None = None
    n_items: int = 0
    scaling: Scaling | None = None


@dataclass(frozen=True)
class Fitting:
    """What is reported on, and what was fitted for it.

    Attributes:
        report: Rows that are reported on, calibrated and thresholded again.
        before: The same rows as they were.
        calibrated: All rows given, calibrated; what thresholds are carried from corpus to corpus
            on.
        where: What it was fitted on; ``None`` where nothing was.
        half: Whether ``report`` is a half.
        found: Detector → what was fitted.
        notes: Sentences for the reader.
    """

    report: pl.DataFrame
    before: pl.DataFrame
    calibrated: pl.DataFrame
    where: str | None = None
    half: bool = False
    found: Mapping[str, Fitted] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def conditions(self, detector: str, rule: Rule, method: Method | None) -> dict[str, str]:
        """Return the metrics of a detector that depend on a fit, and the fit they depend on."""
        one = self.found.get(detector, Fitted())
        told: dict[str, str] = {}
        scaled = f"{method} scaling, fitted on {self.where}"
        if one.scaling is not None:
            names = (*names_needing("prob", "logit"), "eer_threshold")
            told |= dict.fromkeys(names, scaled)
        apply_threshold = [scaled] if one.scaling is not None and rule.kind != "file" else []
        if one.threshold is not None:
            apply_threshold.append(f"threshold {one.threshold:.4g}, fitted on {self.where}")
        return told | (
            dict.fromkeys(names_needing("decision"), "; ".join(apply_threshold))
            if apply_threshold
            else {}
        )


def fit(
    frame: pl.DataFrame,
    calibration: pl.DataFrame | None,
    rule: Rule,
    settings: Settings,
) -> Fitting:
    """Fit what was asked for, and return the rows to report on.

    Args:
        frame: Rows of all detectors, as ``load_rows`` returns them.
        calibration: Rows to fit on; ``None`` takes a half of the groups of ``frame``.
        rule: How the threshold is chosen.
        settings: ``calibrate``, ``seed`` and costs.

    Raises:
        UsageError: A detector has no row to fit on.
    """
    if not rule.is_fitted and settings.calibrate is None:
        return Fitting(frame, frame, frame)
    notes: list[str] = []
    if calibration is None:
        chosen = for_fitting(frame, settings.seed)
        fitting, report = frame.filter(chosen), frame.filter(~chosen)
        where = FITTING_HALF
        notes.append(
            f"Figures are of one half of the groups ({deduplicate(report)['item'].n_unique()} of "
            f"{frame['item'].n_unique()} items); what was fitted was fitted on the other half."
        )
    else:
        fitting, report, where = _apart(calibration, frame, notes), frame, "the calibration files"
    found, parts = {}, []
    for rows in frame.partition_by("detector", maintain_order=True):
        name = rows["detector"][0]
        own = deduplicate(fitting.filter(detector=name, state="scored"))
        if own.height == 0:
            raise UsageError(f"{name}: no scored row on {where}, expected some to fit on")
        found[name], moved = _fit_one(own, rows, rule, settings, notes)
        parts.append(moved)
    calibrated = pl.concat(parts)
    half = calibration is None
    return Fitting(
        report=calibrated.filter(~for_fitting(calibrated, settings.seed)) if half else calibrated,
        before=report,
        calibrated=calibrated,
        where=where,
        half=half,
        found=found,
        notes=notes,
    )


def _fit_one(
    fitting: pl.DataFrame, rows: pl.DataFrame, rule: Rule, settings: Settings, notes: list[str]
) -> tuple[Fitted, pl.DataFrame]:
    """Fit for one detector; return what was found and its rows after it."""
    name = rows["detector"][0]
    _refuse_labels(name, fitting)
    asked = settings.calibrate
    scaling = _scaling(items_of(fitting), asked) if asked is not None else None
    if isinstance(scaling, str):
        notes.append(f"{name} is not calibrated: {scaling}.")
        scaling = None
    if scaling is not None:
        fitting, rows = (_moved(part, scaling) for part in (fitting, rows))
    column = scale_of(fitting, rows)
    if rule.score is not None:
        return Fitted(scaling=scaling), apply_threshold(rows, column, rule.score)
    if not rule.is_fitted:
        return Fitted(scaling=scaling), rows
    found = fit_on(fitting, column, rule, settings)
    threshold, reason = (None, found) if isinstance(found, str) else (found, None)
    if reason:
        notes.append(f"{name} has no threshold by {rule}: {reason}; its decisions are undefined.")
    return Fitted(threshold, reason, fitting.height, scaling), apply_threshold(
        rows, column, threshold
    )


def _scaling(items: Items, method: Method) -> Scaling | str:
    if items.logit is None:
        return "labels alone, no scores"
    if len(set(items.target.tolist())) < 2:
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} to fit on"
    scale, offset = fit_scaling(items.target, items.logit, method)
    if scale <= LEAST_SCALE * (1 + 1e-6):
        return "higher scores are not more often fake where it was fitted"
    return Scaling(scale, offset, len(items), float(items.target.mean()))


def fit_scaling(target: ArrayLike, logit: ArrayLike, method: Method) -> tuple[float, float]:
    """Return scale and offset under which the logistic function of logits is likeliest.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake), both there.
        logit: ``(n_items,)`` finite numbers.
        method: ``temperature`` keeps the offset at 0.

    Returns:
        ``scale`` and ``offset``; NaN with one class only. A scale of ``LEAST_SCALE`` says that
        higher scores are not more often fake.
    """
    if not has_both(target):
        return math.nan, math.nan
    truth, given = np.asarray(target), np.asarray(logit, dtype=np.float64)
    n_fake, n_real = int((truth == 1).sum()), int((truth == 0).sum())
    wanted = np.where(truth == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    unit = float(np.abs(given).max()) or 1.0
    scaled = given / unit

    def loss(map_: Floats) -> tuple[float, Floats]:
        moved = map_[0] * scaled + map_[1]
        value = float((np.logaddexp(0, moved) - wanted * moved).mean())
        excess = expit(moved) - wanted
        return value, np.array([(excess * scaled).mean(), excess.mean()])

    offsets = (0.0, 0.0) if method == "temperature" else (None, None)
    start = np.array([max(1.0, LEAST_SCALE * unit), 0.0])
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_SCALE * unit, None), offsets],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000},
    )
    return float(found.x[0] / unit), float(found.x[1])


def _moved(rows: pl.DataFrame, scaling: Scaling) -> pl.DataFrame:
    """Return rows with calibrated logits and the probabilities that follow from them."""
    clipped = pl.col("pred_prob").map_batches(
        lambda values: pl.Series(logits(values.to_numpy())), return_dtype=pl.Float64
    )
    logit = scaling.scale * pl.coalesce("logit", clipped) + scaling.offset
    moved = rows.with_columns(logit.alias("logit"))
    prob = pl.col("logit").map_batches(
        lambda values: pl.Series(expit(values.to_numpy())), return_dtype=pl.Float64
    )
    return moved.with_columns(
        prob.fill_nan(None).alias("pred_prob"), pl.col("logit").fill_nan(None)
    )


def _apart(calibration: pl.DataFrame, frame: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Leave out of the calibration rows those whose item or group is reported on."""
    shared = pl.col("item").is_in(frame["item"].unique().implode()) | pl.col("group").is_in(
        frame["group"].unique().implode()
    )
    kept = calibration.filter(~shared)
    if kept.height < calibration.height:
        n_lost = calibration.filter(shared)["item"].n_unique()
        notes.append(
            f"{n_lost} calibration items share a file or a group with what is reported on and "
            "were left out of fitting."
        )
    return kept


def _refuse_labels(name: str, rows: pl.DataFrame) -> None:
    if rows["logit"].count() == 0 and rows["pred_prob"].count() == 0:
        raise UsageError(f"{name}: labels alone, expected scores to fit on")


def parse_method(given: str | None) -> Method | None:
    """Read how to calibrate.

    Raises:
        UsageError: It is neither ``temperature`` nor ``platt``.
    """
    if given is not None and given not in METHODS:
        raise UsageError(f"calibrate {given!r}, expected temperature or platt")
    return None if given is None else METHODS[given]


def calibrations(fitting: Fitting, settings: Settings) -> Iterator[Calibration]:
    """Yield a line for each detector that was calibrated."""
    for name, found in fitting.found.items():
        if found.scaling is None or settings.calibrate is None or fitting.where is None:
            continue
        given = f"{settings.calibrate} scaling, fitted on {fitting.where}"
        yield Calibration(
            detector=name,
            method=settings.calibrate,
            scale=found.scaling.scale,
            offset=found.scaling.offset,
            fitted_on=fitting.where,
            n_fitted=found.scaling.n_items,
            prevalence_fitted=found.scaling.prevalence,
            before=_figures(fitting.before.filter(detector=name), settings, None),
            after=_figures(fitting.report.filter(detector=name), settings, given),
        )


def _figures(rows: pl.DataFrame, settings: Settings, given: str | None) -> dict[str, Estimate]:
    names = names_needing("prob")
    told = {} if given is None else dict.fromkeys(names, given)
    return estimate_some(names, items_of(deduplicate(rows)), settings, told)
