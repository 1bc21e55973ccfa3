"""Calibration and thresholds fitted per detector, and the rows left for reporting.

Conventions: nothing is fitted on a reported row or its group: the fit uses calibration predictions
or one half of the groups. Calibration maps logits affinely and increasingly: temperature scaling
(Guo et al., 2017) or Platt scaling (1999), both with Platt's smoothed targets, which keep the map
finite on separable samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

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
from earwitness.evaluation.schema import Calibration, CalibrationMethod, Settings
from earwitness.evaluation.strata import apply_strata, fit_strata
from earwitness.evaluation.thresholds import (
    FittedThreshold,
    Rule,
    apply_threshold,
    fit_threshold,
    in_calibration_half,
    scale_of,
)
from earwitness.metrics.measures import names_needing
from earwitness.metrics.sample import Floats, Items, has_both, logits

LEAST_SCALE = 1e-6
"""Lower bound of the scale; reached if higher scores are not more often fake."""


@dataclass(frozen=True)
class Scaling:
    """The affine map of one detector's logits, and the rows it was fitted on."""

    scale: float
    offset: float
    n_items: int
    prevalence: float


@dataclass(frozen=True)
class Fitting:
    """Rows to report, before and after the fit, and the thresholds and calibrations by detector.

    ``where`` names the rows of the fit, ``half`` says whether ``report`` is one half of the groups,
    ``calibrated`` has all rows, for threshold transfers.
    """

    report: pl.DataFrame
    before: pl.DataFrame
    calibrated: pl.DataFrame
    where: str | None = None
    half: bool = False
    thresholds: Mapping[str, FittedThreshold] = field(default_factory=dict)
    scalings: Mapping[str, Scaling] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def conditions(
        self, detector: str, rule: Rule, method: CalibrationMethod | None
    ) -> dict[str, str]:
        """Return the fit that each metric of a detector depends on."""
        conditions: dict[str, str] = {}
        of_decisions = []
        if detector in self.scalings:
            scaled = f"{method} scaling, fitted on {self.where}"
            conditions |= dict.fromkeys((*names_needing("prob", "logit"), "eer_threshold"), scaled)
            of_decisions += [scaled] if rule.kind != "file" else []
        fitted = self.thresholds.get(detector)
        if fitted is not None and fitted.reason is None:
            of_decisions.append(f"{fitted}, fitted on {self.where}")
        if of_decisions:
            conditions |= dict.fromkeys(
                names_needing("decision", "answer", "margin"), "; ".join(of_decisions)
            )
        return conditions


def fit(
    frame: pl.DataFrame, calibration: pl.DataFrame | None, rule: Rule, settings: Settings
) -> Fitting:
    """Fit thresholds and calibrations, and return the rows to report.

    Without ``calibration``, the fit is on one half of the groups of ``frame``. ``UsageError`` if a
    detector has no rows to fit on.
    """
    if not rule.is_fitted and settings.calibrate is None:
        return Fitting(frame, frame, frame)
    notes: list[str] = []
    half = calibration is None
    if calibration is None:
        chosen = in_calibration_half(frame, settings.seed)
        fitting, before, where = frame.filter(chosen), frame.filter(~chosen), "the calibration half"
        notes.append(
            f"Metrics are of one half of the groups ({deduplicate(before)['item'].n_unique()} of "
            f"{frame['item'].n_unique()} items); thresholds and calibration were fitted on the "
            "other half."
        )
    else:
        before, where = frame, "the calibration files"
        fitting = _without_reported(calibration, frame, notes)
    thresholds: dict[str, FittedThreshold] = {}
    scalings: dict[str, Scaling] = {}
    parts = []
    for given in frame.partition_by("detector", maintain_order=True):
        name, rows = given["detector"][0], given
        own = deduplicate(fitting.filter(detector=name, state="scored"))
        if own.height == 0:
            raise UsageError(f"{name}: no scored row on {where}, expected some to fit on")
        if own["logit"].count() == 0 and own["pred_prob"].count() == 0:
            raise UsageError(f"{name}: labels alone, expected scores to fit on")
        if settings.calibrate is not None:
            scaling = _fit_calibration(items_of(own), settings.calibrate)
            if isinstance(scaling, str):
                notes.append(f"{name} is not calibrated: {scaling}.")
            else:
                scalings[name] = scaling
                own, rows = _calibrated(own, scaling), _calibrated(rows, scaling)
        rows, fitted = _decide(own, rows, rule, settings)
        parts.append(rows)
        if fitted is not None:
            thresholds[name] = fitted
            notes += _describe_lack(name, fitted, rule)
    calibrated = pl.concat(parts)
    return Fitting(
        report=calibrated.filter(~in_calibration_half(calibrated, settings.seed))
        if half
        else calibrated,
        before=before,
        calibrated=calibrated,
        where=where,
        half=half,
        thresholds=thresholds,
        scalings=scalings,
        notes=notes,
    )


def _decide(
    own: pl.DataFrame, rows: pl.DataFrame, rule: Rule, settings: Settings
) -> tuple[pl.DataFrame, FittedThreshold | None]:
    """Return the rows with decisions by a rule, and the threshold, if one is fitted on ``own``."""
    column = scale_of(own, rows)
    if not rule.is_fitted:
        decided = rows if rule.kind == "file" else apply_threshold(rows, column, rule.score)
        return decided, None
    if settings.within:
        fitted = fit_strata(own, rows, column, rule, settings)
        return apply_strata(rows, column, fitted), fitted
    fitted = fit_threshold(own, column, rule, settings)
    return apply_threshold(rows, column, fitted.value), fitted


def _describe_lack(name: str, fitted: FittedThreshold, rule: Rule) -> list[str]:
    """Return a note if there is no threshold, or none in some strata."""
    n_lacking = sum(one.value is None for one in fitted.strata.values())
    if n_lacking:
        return [
            f"{name} abstains from {n_lacking} of {len(fitted.strata)} strata, which have no "
            f"threshold by {rule}."
        ]
    if fitted.reason:
        return [f"{name} has no threshold by {rule}: {fitted.reason}; its decisions are undefined."]
    return []


def _without_reported(
    calibration: pl.DataFrame, frame: pl.DataFrame, notes: list[str]
) -> pl.DataFrame:
    """Return the calibration rows whose item and group are not reported."""
    shared = pl.col("item").is_in(frame["item"].unique().implode()) | pl.col("group").is_in(
        frame["group"].unique().implode()
    )
    kept = calibration.filter(~shared)
    if kept.height < calibration.height:
        n_lost = calibration.filter(shared)["item"].n_unique()
        notes.append(
            f"{n_lost} calibration items share a file or a group with reported items and were "
            "left out of fitting."
        )
    return kept


def _fit_calibration(items: Items, method: CalibrationMethod) -> Scaling | str:
    """Return the calibration, or the reason why there is none."""
    if items.logit is None:
        return "labels alone, no scores"
    if not items.has_both:
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} to fit on"
    scale, offset = fit_scaling(items.target, items.logit, method)
    if scale <= LEAST_SCALE * (1 + 1e-6):
        return "higher scores are not more often fake in the rows of the fit"
    return Scaling(scale, offset, len(items), float(items.target.mean()))


def fit_scaling(
    target: ArrayLike, logit: ArrayLike, method: CalibrationMethod
) -> tuple[float, float]:
    """Return the scale, at least ``LEAST_SCALE``, and offset of logits with the highest likelihood.

    ``temperature`` keeps the offset at 0. Both are NaN with a single class.
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
    found = minimize(
        loss,
        np.array([max(1.0, LEAST_SCALE * unit), 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_SCALE * unit, None), offsets],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000},
    )
    return float(found.x[0] / unit), float(found.x[1])


def _calibrated(rows: pl.DataFrame, scaling: Scaling) -> pl.DataFrame:
    """Return rows with calibrated logits and probabilities."""
    clipped = pl.col("pred_prob").map_batches(
        lambda values: pl.Series(logits(values.to_numpy())), return_dtype=pl.Float64
    )
    logit = scaling.scale * pl.coalesce("logit", clipped) + scaling.offset
    prob = pl.col("logit").map_batches(
        lambda values: pl.Series(expit(values.to_numpy())), return_dtype=pl.Float64
    )
    return rows.with_columns(logit.alias("logit")).with_columns(
        prob.fill_nan(None).alias("pred_prob"), pl.col("logit").fill_nan(None)
    )


def parse_method(given: str | None) -> CalibrationMethod | None:
    """Return a calibration method; ``UsageError`` if not ``temperature`` or ``platt``."""
    known: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
    method = next((one for one in known if one == given), None)
    if method is None and given is not None:
        raise UsageError(f"calibrate {given!r}, expected temperature or platt")
    return method


def list_calibrations(fitting: Fitting, settings: Settings) -> Iterator[Calibration]:
    """Yield the calibration of each calibrated detector."""
    method, where = settings.calibrate, fitting.where
    for name, scaling in fitting.scalings.items():
        assert method is not None and where is not None  # noqa: PT018, S101 - scaled by a method
        yield Calibration(
            detector=name,
            method=method,
            scale=scaling.scale,
            offset=scaling.offset,
            fitted_on=where,
            n_fitted=scaling.n_items,
            prevalence_fitted=scaling.prevalence,
            before=_losses(fitting.before.filter(detector=name), settings),
            after=_losses(
                fitting.report.filter(detector=name),
                settings,
                f"{method} scaling, fitted on {where}",
            ),
        )


def _losses(
    rows: pl.DataFrame, settings: Settings, given: str | None = None
) -> dict[str, Estimate]:
    names = names_needing("prob")
    conditions = {} if given is None else dict.fromkeys(names, given)
    return estimate_some(names, items_of(deduplicate(rows)), settings, conditions)
