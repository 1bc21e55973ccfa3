"""Decision thresholds: rules, their fit, operating points, and transfer to other corpora.

Conventions: thresholds apply to ``pred_prob`` if every scored row has one, else to ``logit``.
Precision depends on the prevalence of fakes, so it is given for several prevalences.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl
from scipy.stats import nbinom

from earwitness.core.errors import UsageError
from earwitness.core.estimate import Estimate
from earwitness.evaluation.estimates import estimate_rate
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import check_threshold
from earwitness.evaluation.schema import Claim, OperatingPoint, Prevalence, Settings, Transfer
from earwitness.evaluation.slices import Slice
from earwitness.metrics.measures import measure
from earwitness.metrics.sample import Costs, Floats, Ints, has_both
from earwitness.metrics.sweep import (
    conformal_threshold,
    reals_needed,
    threshold_at_cost,
    threshold_at_fpr,
)

EXPECTED = "a number from 0 to 1, eer, fpr=0.01, conformal=0.01, cost or cost=10"
PER = 100_000


@dataclass(frozen=True)
class Rule:
    """A threshold rule.

    Attributes:
        kind: ``file`` keeps the decisions of the predictions.
        value: The threshold, false positive rate or cost of a miss, if the rule has one.
    """

    kind: Literal["file", "score", "eer", "fpr", "conformal", "cost"]
    value: float | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether the threshold is fitted on rows."""
        return self.kind not in ("file", "score")

    @property
    def score(self) -> float | None:
        """The threshold, if the rule is a number."""
        return self.value if self.kind == "score" else None

    def __str__(self) -> str:
        if self.kind == "score":
            return f"{self.value:g}"
        return self.kind if self.value is None else f"{self.kind}={self.value:g}"


def parse_rule(given: float | str | None) -> Rule:
    """Parse a rule from the command line; ``None`` is ``file``; ``UsageError`` if it is no rule."""
    if given is None or given == "file":
        return Rule("file")
    name, _, number = str(given).partition("=")
    if name == "eer" and not number:
        return Rule("eer")
    if str(given) == "cost":
        return Rule("cost")
    try:
        value = float(number or name)
    except ValueError:
        value = math.nan
    limits: dict[str, tuple[Literal["fpr", "conformal", "cost"], float]] = {
        "fpr": ("fpr", 1),
        "conformal": ("conformal", 1),
        "cost": ("cost", math.inf),
    }
    if name in limits and 0 < value < limits[name][1]:
        return Rule(limits[name][0], value)
    if number or math.isnan(value):
        raise UsageError(f"threshold {given!r}, expected {EXPECTED}")
    check_threshold(value)
    return Rule("score", value)


def parse_costs(p_fake: float, c_miss: float, c_false_alarm: float) -> Costs:
    """Return a prior and costs; ``UsageError`` if one is out of bounds."""
    try:
        return Costs(p_fake, c_false_alarm, c_miss)
    except ValueError as error:
        raise UsageError(str(error)) from None


def scale_of(*frames: pl.DataFrame) -> str:
    """Return the column that thresholds apply to."""
    scored = [frame.filter(state="scored")["pred_prob"] for frame in frames]
    return "logit" if any(values.null_count() for values in scored) else "pred_prob"


def apply_threshold(rows: pl.DataFrame, column: str, threshold: float | None) -> pl.DataFrame:
    """Return rows with the decisions at a threshold; null without one."""
    called = (pl.col(column) >= threshold) if threshold is not None else pl.lit(None)
    label = pl.when(pl.col("state") == "scored").then(called.cast(pl.Int64))
    return rows.with_columns(label.alias("pred_label"))


@dataclass(frozen=True)
class FittedThreshold:
    """A fitted threshold, or the reason why there is none, and the number of items.

    ``strata`` has those of the strata instead, by the values of the columns ``within``.
    """

    value: float | None = None
    reason: str | None = None
    n_items: int = 0
    within: tuple[str, ...] = ()
    strata: Mapping[tuple[str, ...], FittedThreshold] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.strata:
            return f"thresholds by {' and '.join(self.within)}"
        return f"threshold {self.value:.4g}"


def fit_threshold(
    rows: pl.DataFrame, column: str, rule: Rule, settings: Settings
) -> FittedThreshold:
    """Fit a threshold on scored rows; a false positive rate needs enough groups of reals."""
    target, score = rows["target"].to_numpy(), rows[column].to_numpy()
    reason = _why_unfit(rows, column, rule)
    if reason:
        value = math.nan
    elif rule.kind == "conformal" and rule.value is not None:
        value = conformal_threshold(target, score, rows["group"].to_numpy(), rule.value)
    else:
        value = _fit(rule, target, score, settings.options.costs)
    if math.isinf(value) and rule.kind == "fpr":
        reason = f"no threshold flags fakes and at most {rule.value:g} of the reals"
    elif math.isinf(value):
        reason = "it costs least to call nothing fake"
    return FittedThreshold(None if reason else value, reason, rows.height)


def _why_unfit(rows: pl.DataFrame, column: str, rule: Rule) -> str | None:
    if rows[column].null_count():
        return f"some rows have no {column}"
    if rule.kind in ("fpr", "conformal") and rule.value is not None:
        needed = reals_needed(rule.value) - (rule.kind == "conformal")
        n_groups = rows.filter(target=0)["group"].n_unique()
        if n_groups < needed:
            return f"needs {needed} groups of reals to fit on, found {n_groups}"
        return None
    if rows.height == 0:
        return "nothing to fit on"
    if not has_both(rows["target"]):
        return f"only {'fakes' if rows['target'][0] else 'reals'} to fit on"
    return None


def _fit(rule: Rule, target: Ints, score: Floats, costs: Costs) -> float:
    if rule.kind == "eer":
        return measure("eer_threshold", target, score)
    if rule.kind == "fpr" and rule.value is not None:
        return threshold_at_fpr(target, score, rule.value)
    if rule.value is not None:
        costs = Costs(costs.p_fake, 1.0, rule.value)
    return threshold_at_cost(target, score, costs)


def in_calibration_half(frame: pl.DataFrame, seed: int) -> pl.Series:
    """Return the mask of rows in the calibration half, drawn by group."""
    groups = frame.group_by("group").agg(
        pl.col("corpus").min(), pl.col("target").min().alias("low"), pl.col("target").max()
    )
    hashes = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in groups["group"]]
    ordered = groups.with_columns(pl.Series("_hash", hashes)).sort(
        "corpus", "low", "target", "_hash"
    )
    return frame["group"].is_in(ordered.gather_every(2)["group"].implode())


def threshold_transfers(frame: pl.DataFrame, rule: Rule, settings: Settings) -> Iterator[Transfer]:
    """Yield a transfer per detector and pair of corpora; by ``fpr=0.05`` if none is fitted."""
    rule = rule if rule.is_fitted else Rule("fpr", 0.05)
    is_for_fit = in_calibration_half(frame, settings.seed)
    for rows in frame.with_columns(is_for_fit.alias("_fit")).partition_by(
        "detector", maintain_order=True
    ):
        items = deduplicate(rows).filter(state="scored")
        if items["logit"].count() or items["pred_prob"].count():
            yield from _transfers_of_detector(items, rule, settings)


def _transfers_of_detector(
    items: pl.DataFrame, rule: Rule, settings: Settings
) -> Iterator[Transfer]:
    column = scale_of(items)
    corpora = sorted(items["corpus"].unique())
    for fitted_on in corpora:
        fitted = fit_threshold(items.filter("_fit", corpus=fitted_on), column, rule, settings)
        given = None
        if fitted.value is not None:
            given = f"threshold {fitted.value:.4g}, fitted on {fitted_on}"
        for applied_to in corpora:
            rest = items.filter(~pl.col("_fit"), corpus=applied_to)
            called = apply_threshold(rest, column, fitted.value).drop_nulls("pred_label")
            fpr, recall = (
                estimate_rate(
                    *called.filter(target=target).select("pred_label", "group"),
                    confidence=settings.confidence,
                    reason=fitted.reason or f"no {name} in {applied_to}",
                    conditional_on=given,
                )
                for target, name in enumerate(("reals", "fakes"))
            )
            yield Transfer(
                detector=items["detector"][0],
                rule=str(rule),
                fitted_on=fitted_on,
                threshold=fitted.value,
                applied_to=applied_to,
                fpr=fpr,
                recall=recall,
                reason=fitted.reason,
            )


def operating_point(
    overall: Slice, rule: Rule, fitted: FittedThreshold, fitted_on: str | None, settings: Settings
) -> OperatingPoint:
    """Return the operating point of one detector, from its slice ``overall``."""
    recall, specificity = (overall.estimates[name] for name in ("recall", "specificity"))
    return OperatingPoint(
        detector=overall.detector,
        rule=str(rule),
        threshold=fitted.value if rule.is_fitted else rule.score,
        fitted_on=fitted_on if rule.is_fitted else None,
        n_fitted=fitted.n_items,
        recall=recall,
        specificity=specificity,
        false_flags_per_100k=false_flags(specificity),
        prevalences=[
            Prevalence(prevalence=share, precision=precision_at(share, recall, specificity))
            for share in (0.001, 0.01, 0.1, 0.28)
        ],
        claims=[_claim(fpr, overall, settings.confidence) for fpr in (0.05, 0.01, 0.001, 0.0001)],
        reason=fitted.reason,
    )


def false_flags(specificity: Estimate) -> Estimate:
    """Return the number of false flags per 100 000 reals."""
    value, low, high = (
        None if share is None else PER * (1 - share)
        for share in (specificity.value, specificity.high, specificity.low)
    )
    return specificity.model_copy(update={"value": value, "low": low, "high": high})


def precision_at(prevalence: float, recall: Estimate, specificity: Estimate) -> Estimate:
    """Return the precision at a prevalence of fakes; its interval is conservative."""
    no_flags = "nothing was called fake"
    bare = Estimate(
        reason=recall.reason or specificity.reason or no_flags,
        n_items=recall.n_items + specificity.n_items,
        n_groups=max(recall.n_groups, specificity.n_groups),
    )
    if recall.value is None or specificity.value is None:
        return bare
    value = _precision(prevalence, recall.value, specificity.value)
    if math.isnan(value):
        return bare.model_copy(update={"reason": no_flags})
    found = bare.model_copy(update={"value": value, "conditional_on": recall.conditional_on})
    ends = ((recall.low, specificity.low), (recall.high, specificity.high))
    low, high = (
        None if one is None or two is None else _precision(prevalence, one, two)
        for one, two in ends
    )
    if low is None:
        return found
    method = "ends of recall's and specificity's intervals"
    return found.model_copy(update={"low": low, "high": high, "method": method, "reason": None})


def _precision(prevalence: float, recall: float, specificity: float) -> float:
    right = prevalence * recall
    flags = right + (1 - prevalence) * (1 - specificity)
    return right / flags if flags > 0 else math.nan


def reals_to_claim(fpr: float, confidence: float, n_flagged: int = 0) -> int:
    """Return the number of independent reals needed to bound the false positive rate by ``fpr``.

    The bound is exact and one-sided (Clopper and Pearson, 1934). At 95 % and without flagged reals
    it is close to 3 / ``fpr``, the rule of three.
    """
    if n_flagged == 0:
        return math.ceil(math.log(1 - confidence) / math.log1p(-fpr))
    return n_flagged + 1 + int(nbinom.ppf(confidence, n_flagged + 1, fpr))


def _claim(fpr: float, overall: Slice, confidence: float) -> Claim:
    n_groups = overall.coverage.n_groups_real
    n_flagged = None if overall.counts is None else min(overall.counts.fp, n_groups)
    return Claim(
        fpr=fpr,
        n_reals=reals_to_claim(fpr, confidence),
        n_reals_here=n_groups,
        n_flagged_here=n_flagged,
        n_reals_flagged=None if n_flagged is None else reals_to_claim(fpr, confidence, n_flagged),
    )
