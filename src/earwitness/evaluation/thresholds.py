"""Rules for decision thresholds: fitted on a sample, applied, and transferred to other corpora.

Convention: thresholds are on the scale of ``pred_prob`` where every scored row has one, else of
``logit``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.estimate import Estimate
from earwitness.evaluation.estimates import estimate_rate
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import check_threshold
from earwitness.evaluation.schema import (
    Settings,
    Transfer,
)
from earwitness.metrics.measures import measure
from earwitness.metrics.sample import Costs, Floats, Ints, numbered
from earwitness.metrics.sweep import reals_needed, threshold_at_cost, threshold_at_fpr

FITTING_HALF = "the calibration half"


def scale_of(*frames: pl.DataFrame) -> str:
    """Return the column that thresholds are on: ``pred_prob`` where no scored row lacks it."""
    scored = [frame.filter(state="scored")["pred_prob"] for frame in frames]
    return "logit" if any(values.null_count() for values in scored) else "pred_prob"


def apply_threshold(rows: pl.DataFrame, column: str, threshold: float | None) -> pl.DataFrame:
    """Return rows with the decisions at a threshold; without one, none."""
    called = (pl.col(column) >= threshold) if threshold is not None else pl.lit(None)
    label = pl.when(pl.col("state") == "scored").then(called.cast(pl.Int64))
    return rows.with_columns(label.alias("pred_label"))


def fit_on(rows: pl.DataFrame, column: str, rule: Rule, settings: Settings) -> float | str:
    """Return the threshold that a rule gives on scored rows, or why there is none."""
    if rows[column].null_count():
        return f"some rows have no {column}"
    target, score = rows["target"].to_numpy(), rows[column].to_numpy()
    return fit_threshold(rule, target, score, numbered(rows["group"]), settings.options.costs)


EXPECTED = "a number from 0 to 1, eer, fpr=0.01, cost or cost=10"


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        kind: ``file`` takes the decisions of the predictions.
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


USUAL = Rule("fpr", 0.05)
"""Rule of the transfer table where the evaluation fits no threshold."""


def parse_rule(given: float | str | None) -> Rule:
    """Parse a rule from the command line; ``None`` is ``file``.

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


def parse_costs(p_fake: float, c_miss: float, c_false_alarm: float) -> Costs:
    """Read a prior and costs.

    Raises:
        UsageError: One is out of bounds.
    """
    try:
        return Costs(p_fake, c_false_alarm, c_miss)
    except ValueError as error:
        raise UsageError(str(error)) from None


def transfers(frame: pl.DataFrame, rule: Rule, settings: Settings) -> Iterator[Transfer]:
    """Yield a line for each detector and pair of corpora.

    Args:
        frame: Rows of all detectors, as ``load_rows`` returns them.
        rule: How thresholds are fitted; ``USUAL`` where it fits none.
        settings: Seed, costs and the level of the intervals.
    """
    for_fit = for_fitting(frame, settings.seed)
    for rows in frame.with_columns(for_fit.alias("_fit")).partition_by(
        "detector", maintain_order=True
    ):
        items = deduplicate(rows).filter(state="scored")
        if items["logit"].count() or items["pred_prob"].count():
            yield from _of_detector(items, rule if rule.is_fitted else USUAL, settings)


def _of_detector(items: pl.DataFrame, rule: Rule, settings: Settings) -> Iterator[Transfer]:
    column = scale_of(items)
    corpora = sorted(items["corpus"].unique())
    for fitted_on in corpora:
        found = fit_on(items.filter("_fit", corpus=fitted_on), column, rule, settings)
        threshold, reason = (None, found) if isinstance(found, str) else (found, None)
        for applied_to in corpora:
            rest = items.filter(~pl.col("_fit"), corpus=applied_to)
            given = f"threshold {threshold:.4g}, fitted on {fitted_on}" if reason is None else None
            called = apply_threshold(rest, column, threshold)
            yield Transfer(
                detector=items["detector"][0],
                rule=str(rule),
                fitted_on=fitted_on,
                threshold=threshold,
                applied_to=applied_to,
                fpr=_called_fake(called, 0, reason or f"no reals in {applied_to}", given, settings),
                recall=_called_fake(
                    called, 1, reason or f"no fakes in {applied_to}", given, settings
                ),
                reason=reason,
            )


def _called_fake(
    called: pl.DataFrame, target: int, reason: str, given: str | None, settings: Settings
) -> Estimate:
    """Return the share of a class that is called fake."""
    own = called.filter(target=target).drop_nulls("pred_label")
    return estimate_rate(
        own["pred_label"].to_numpy(),
        own["group"].to_numpy(),
        confidence=settings.confidence,
        reason=reason,
        conditional_on=given,
    )


def for_fitting(frame: pl.DataFrame, seed: int) -> pl.Series:
    """Return which rows are for fitting.

    Args:
        frame: As ``load_rows`` returns it.
        seed: Another seed gives other halves.
    """
    groups = frame.group_by("group").agg(
        pl.col("corpus").min(), pl.col("target").min().alias("low"), pl.col("target").max()
    )
    places = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in groups["group"]]
    ordered = groups.with_columns(pl.Series("_place", places)).sort(
        "corpus", "low", "target", "_place"
    )
    chosen = ordered.gather_every(2)["group"]
    return frame["group"].is_in(chosen.implode())
