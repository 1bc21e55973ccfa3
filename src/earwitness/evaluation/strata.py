"""Thresholds within strata: one for each combination of values of some columns.

Conventions: a stratum without enough rows to fit on has no threshold, and the detector abstains
from its rows. With ``conformal=F``, each stratum keeps its own false positive rate (Mondrian
conformal prediction; Vovk et al., 2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from earwitness.evaluation.estimates import estimate_rate
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.slices import StratumThreshold
from earwitness.evaluation.thresholds import FittedThreshold, Rule, apply_threshold, fit_threshold

_OUTPUTS = ("logit", "pred_prob", "pred_label")


def fit_strata(
    fitting: pl.DataFrame, rows: pl.DataFrame, column: str, rule: Rule, settings: Settings
) -> FittedThreshold:
    """Fit a threshold in each stratum of the rows.

    Args:
        fitting: Scored rows to fit on.
        rows: Rows whose strata need a threshold.
        column: Column that thresholds apply to.
        rule: A fitted rule.
        settings: Settings with the columns of strata in ``within``.
    """
    own = dict(_strata(fitting, settings.within))
    strata = {
        name: fit_threshold(own.get(name, fitting.clear()), column, rule, settings)
        for name, _ in _strata(rows, settings.within)
    }
    reason = None
    if all(found.value is None for found in strata.values()):
        reason = f"no stratum has one; {next(iter(strata.values())).reason}"
    return FittedThreshold(None, reason, fitting.height, tuple(settings.within), strata)


def apply_strata(rows: pl.DataFrame, column: str, fitted: FittedThreshold) -> pl.DataFrame:
    """Return rows with the decisions of their strata, abstentions without a threshold."""
    parts = []
    for name, part in _strata(rows.with_row_index("_row"), fitted.within):
        found = fitted.strata[name]
        decided = apply_threshold(part, column, found.value)
        if found.value is None:
            is_scored = pl.col("state") == "scored"
            why = pl.lit(f"no threshold for {', '.join(name)}: {found.reason}")
            decided = decided.with_columns(
                pl.when(is_scored).then(why).otherwise("abstained").alias("abstained"),
                *(pl.when(~is_scored).then(name).alias(name) for name in _OUTPUTS),
                pl.when(is_scored).then(pl.lit("abstained")).otherwise("state").alias("state"),
            )
        parts.append(decided)
    return pl.concat(parts).sort("_row").drop("_row")


def list_strata(
    report: pl.DataFrame, thresholds: Mapping[str, FittedThreshold], rule: Rule, settings: Settings
) -> Iterator[StratumThreshold]:
    """Yield the threshold of each detector and stratum with its rates on the reported rows."""
    for detector, fitted in thresholds.items():
        rows = deduplicate(report.filter(detector=detector))
        parts = dict(_strata(rows, fitted.within)) if fitted.within else {}
        for name, found in sorted(fitted.strata.items()):
            part = parts.get(name, rows.clear()).drop_nulls("pred_label")
            fpr, recall = (
                estimate_rate(
                    *part.filter(target=target).select("pred_label", "group"),
                    confidence=settings.confidence,
                    reason=found.reason or f"no {which}",
                    conditional_on=None if found.value is None else f"threshold {found.value:.4g}",
                )
                for target, which in enumerate(("reals", "fakes"))
            )
            yield StratumThreshold(
                detector=detector,
                rule=str(rule),
                stratum=dict(zip(fitted.within, name, strict=True)),
                threshold=found.value,
                n_fitted=found.n_items,
                fpr=fpr,
                recall=recall,
                reason=found.reason,
            )


def _strata(
    rows: pl.DataFrame, within: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], pl.DataFrame]]:
    """Yield the rows of each stratum with its values."""
    for name, part in rows.group_by([f"by:{column}" for column in within], maintain_order=True):
        yield tuple(map(str, name)), part
