"""Threshold transfer: what a threshold that was fitted on one corpus does on the others.

Conventions: thresholds are fitted on one half of the groups and applied to the other, so that the
row of a corpus on itself is as honest as the others. Every item counts once.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Settings, Transfer
from earwitness.evaluation.figures import estimate_rate
from earwitness.evaluation.fitting import decided, fit_on, scale_of
from earwitness.evaluation.halves import for_fitting
from earwitness.evaluation.rows import once
from earwitness.evaluation.rules import Rule

USUAL = Rule("fpr", 0.05)
"""Rule of the table where the evaluation fits no threshold."""


def transfers(frame: pl.DataFrame, rule: Rule, settings: Settings) -> Iterator[Transfer]:
    """Yield a line for each detector and pair of corpora.

    Args:
        frame: Rows of all detectors, as ``gather`` gives them.
        rule: How thresholds are fitted; ``USUAL`` where it fits none.
        settings: Seed, costs and the level of the intervals.
    """
    for_fit = for_fitting(frame, settings.seed)
    for rows in frame.with_columns(for_fit.alias("_fit")).partition_by(
        "detector", maintain_order=True
    ):
        items = once(rows).filter(state="scored")
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
            called = decided(rest, column, threshold)
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
