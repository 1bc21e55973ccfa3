"""Calibration and thresholds that are fitted, and the rows that are left to report on.

Conventions: nothing is fitted on a row that is reported on, nor on one of its group. What is
fitted on are calibration predictions, or a half of the groups. Thresholds are on the scale of
``pred_prob`` where every scored row has one, else on that of ``logit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
from scipy.special import expit

from earwitness.core.errors import UsageError
from earwitness.core.metrics import Settings
from earwitness.evaluation.figures import OF_DECISIONS, OF_PROBS, costs_of
from earwitness.evaluation.halves import FITTING_HALF, for_fitting
from earwitness.evaluation.rows import items_of, once
from earwitness.evaluation.rules import Rule, fit_threshold
from earwitness.metrics.items import Items, numbered
from earwitness.metrics.losses import logits
from earwitness.metrics.scaling import LEAST_SCALE, Method, fit_scaling

OF_CALIBRATION = (*OF_PROBS, "cllr", "act_dcf", "eer_threshold")
"""Figures that change with calibration."""


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
        report: Rows that figures are made of, calibrated and decided anew.
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
        """Return which figures of a detector take for granted what was fitted, and what that is."""
        one = self.found.get(detector, Fitted())
        told: dict[str, str] = {}
        scaled = f"{method} scaling, fitted on {self.where}"
        if one.scaling is not None:
            told |= dict.fromkeys(OF_CALIBRATION, scaled)
        decided = [scaled] if one.scaling is not None and rule.kind != "file" else []
        if one.threshold is not None:
            decided.append(f"threshold {one.threshold:.4g}, fitted on {self.where}")
        return told | (dict.fromkeys(OF_DECISIONS, "; ".join(decided)) if decided else {})


def fit(
    frame: pl.DataFrame,
    calibration: pl.DataFrame | None,
    rule: Rule,
    settings: Settings,
) -> Fitting:
    """Fit what was asked for, and return the rows to report on.

    Args:
        frame: Rows of all detectors, as ``gather`` gives them.
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
            f"Figures are of one half of the groups ({once(report)['item'].n_unique()} of "
            f"{frame['item'].n_unique()} items); what was fitted was fitted on the other half."
        )
    else:
        fitting, report, where = _apart(calibration, frame, notes), frame, "the calibration files"
    found, parts = {}, []
    for rows in frame.partition_by("detector", maintain_order=True):
        name = rows["detector"][0]
        own = once(fitting.filter(detector=name, state="scored"))
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


def scale_of(*frames: pl.DataFrame) -> str:
    """Return the column that thresholds are on: ``pred_prob`` where no scored row lacks it."""
    scored = [frame.filter(state="scored")["pred_prob"] for frame in frames]
    return "logit" if any(values.null_count() for values in scored) else "pred_prob"


def decided(rows: pl.DataFrame, column: str, threshold: float | None) -> pl.DataFrame:
    """Return rows decided anew; without a threshold they have no decision."""
    called = (pl.col(column) >= threshold) if threshold is not None else pl.lit(None)
    label = pl.when(pl.col("state") == "scored").then(called.cast(pl.Int64))
    return rows.with_columns(label.alias("pred_label"))


def fit_on(rows: pl.DataFrame, column: str, rule: Rule, settings: Settings) -> float | str:
    """Return the threshold that a rule gives on scored rows, or why there is none."""
    if rows[column].null_count():
        return f"some rows have no {column}"
    target, score = rows["target"].to_numpy(), rows[column].to_numpy()
    return fit_threshold(rule, target, score, numbered(rows["group"]), costs_of(settings))


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
        return Fitted(scaling=scaling), decided(rows, column, rule.score)
    if not rule.is_fitted:
        return Fitted(scaling=scaling), rows
    found = fit_on(fitting, column, rule, settings)
    threshold, reason = (None, found) if isinstance(found, str) else (found, None)
    if reason:
        notes.append(f"{name} has no threshold by {rule}: {reason}; its decisions are undefined.")
    return Fitted(threshold, reason, fitting.height, scaling), decided(rows, column, threshold)


def _scaling(items: Items, method: Method) -> Scaling | str:
    if items.logit is None:
        return "labels alone, no scores"
    if len(set(items.target.tolist())) < 2:
        return f"only {'fakes' if items.target[0] == 1 else 'reals'} to fit on"
    scale, offset = fit_scaling(items.target, items.logit, method)
    if scale <= LEAST_SCALE * (1 + 1e-6):
        return "higher scores are not more often fake where it was fitted"
    return Scaling(scale, offset, len(items), float(items.target.mean()))


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
