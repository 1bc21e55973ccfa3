"""Calibration and thresholds that are fitted, and the rows that are left to report on.

Conventions: nothing is fitted on a row that is reported on, nor on one of its group. What is
fitted on are calibration predictions, or a half of the groups. Thresholds are on the scale of
``pred_prob`` where every scored row has one, else on that of ``logit``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from earwitness.core.errors import UsageError
from earwitness.evaluation.identity import FITTING_HALF, for_fitting
from earwitness.evaluation.rows import items_of
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.sources import check_threshold, deduplicate
from earwitness.metrics.measures import measure, names_needing
from earwitness.metrics.sample import Costs, Floats, Ints, Items, has_both, logits, numbered
from earwitness.metrics.sweep import reals_needed, threshold_at_cost, threshold_at_fpr

Method = Literal["temperature", "platt"]

LEAST_SCALE = 1e-6
"""Least scale: what the fit gives where higher scores are not more often fake."""


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


def scale_of(*frames: pl.DataFrame) -> str:
    """Return the column that thresholds are on: ``pred_prob`` where no scored row lacks it."""
    scored = [frame.filter(state="scored")["pred_prob"] for frame in frames]
    return "logit" if any(values.null_count() for values in scored) else "pred_prob"


def apply_threshold(rows: pl.DataFrame, column: str, threshold: float | None) -> pl.DataFrame:
    """Return rows decided anew; without a threshold they have no decision."""
    called = (pl.col(column) >= threshold) if threshold is not None else pl.lit(None)
    label = pl.when(pl.col("state") == "scored").then(called.cast(pl.Int64))
    return rows.with_columns(label.alias("pred_label"))


def fit_on(rows: pl.DataFrame, column: str, rule: Rule, settings: Settings) -> float | str:
    """Return the threshold that a rule gives on scored rows, or why there is none."""
    if rows[column].null_count():
        return f"some rows have no {column}"
    target, score = rows["target"].to_numpy(), rows[column].to_numpy()
    return fit_threshold(rule, target, score, numbered(rows["group"]), settings.options.costs)


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


METHODS: dict[str, Method] = {"temperature": "temperature", "platt": "platt"}
EXPECTED = "a number from 0 to 1, eer, fpr=0.01, cost or cost=10"


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        kind: ``file`` takes the decisions as they stand in the predictions.
        value: The threshold, the rate of false flags, or what a miss costs; ``None`` where the
            rule has none.
    """

    kind: Literal["file", "score", "eer", "fpr", "cost"]
    value: float | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether it takes rows to fit a threshold on."""
        return self.kind in ("eer", "fpr", "cost")

    @property
    def score(self) -> float | None:
        """The threshold, where the rule is a number."""
        return self.value if self.kind == "score" else None

    def __str__(self) -> str:
        if self.kind == "score":
            return f"{self.value:g}"
        return self.kind if self.value is None else f"{self.kind}={self.value:g}"


def parse_rule(given: float | str | None) -> Rule:
    """Read a rule as it stands on the command line; ``None`` is ``file``.

    Raises:
        UsageError: It is none.
    """
    if given is None or given == "file":
        return Rule("file")
    name, _, number = str(given).partition("=")
    if name == "eer" and not number:
        return Rule("eer")
    if name == "cost" and str(given) == "cost":
        return Rule("cost")
    value = _number(number or name)
    if name == "fpr" and 0 < value < 1:
        return Rule("fpr", value)
    if name == "cost" and 0 < value < math.inf:
        return Rule("cost", value)
    if number or math.isnan(value):
        raise UsageError(f"threshold {given!r}, expected {EXPECTED}")
    check_threshold(value)
    return Rule("score", value)


def fit_threshold(
    rule: Rule, target: Ints, score: Floats, group: Ints, costs: Costs
) -> float | str:
    """Return the threshold that a rule gives on a sample, or why there is none.

    A rate of false flags takes as many groups of reals: items of one group are not independent.

    Args:
        rule: One that is fitted.
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        group: ``(n_items,)`` group of each.
        costs: Prior and costs of the evaluation.
    """
    n_groups = len(np.unique(group[target == 0]))
    needed = reals_needed(rule.value) if rule.kind == "fpr" and rule.value else 0
    if n_groups < needed:
        return f"takes {needed} groups of reals to fit on, {n_groups} there"
    found = _fit(rule, target, score, costs)
    if math.isnan(found):
        return _lacking(target)
    if math.isinf(found):
        if rule.kind == "fpr":
            return f"no threshold flags fakes and at most {rule.value:g} of the reals"
        return "it costs least to call nothing fake"
    return found


def _fit(rule: Rule, target: Ints, score: Floats, costs: Costs) -> float:
    if rule.kind == "fpr" and rule.value is not None:
        return threshold_at_fpr(target, score, rule.value)
    if rule.kind == "eer":
        return measure("eer_threshold", target, score)
    if rule.value is not None:
        costs = Costs(costs.p_fake, 1.0, rule.value)
    return threshold_at_cost(target, score, costs)


def _lacking(target: Ints) -> str:
    if not len(target):
        return "nothing to fit on"
    return f"only {'fakes' if target.all() else 'reals'} to fit on"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_method(given: str | None) -> Method | None:
    """Read how to calibrate.

    Raises:
        UsageError: It is neither ``temperature`` nor ``platt``.
    """
    if given is not None and given not in METHODS:
        raise UsageError(f"calibrate {given!r}, expected temperature or platt")
    return None if given is None else METHODS[given]


def parse_costs(p_fake: float, c_miss: float, c_false_alarm: float) -> Costs:
    """Read a prior and costs.

    Raises:
        UsageError: One is out of bounds.
    """
    try:
        return Costs(p_fake, c_false_alarm, c_miss)
    except ValueError as error:
        raise UsageError(str(error)) from None
