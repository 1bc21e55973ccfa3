"""Operating points: error rates and precision at a detector's threshold.

Conventions: a flag is an item called fake. Precision depends on the prevalence of fakes,
which no benchmark tells: precision is given for several shares of fakes.
"""

from __future__ import annotations

import math

from scipy.stats import binom

from earwitness.core.estimate import Estimate
from earwitness.evaluation.calibration import Fitted
from earwitness.evaluation.schema import Claim, OperatingPoint, Prevalence, Settings
from earwitness.evaluation.slice_schema import Slice
from earwitness.evaluation.thresholds import Rule

PREVALENCES = (0.001, 0.01, 0.1, 0.28)
"""Prevalences of fakes at which precision is given."""

CLAIMS = (0.05, 0.01, 0.001, 0.0001)
"""False positive rates for which the reals needed to claim them are given."""

PER = 100_000
CORNERS = "ends of recall's and specificity's intervals"


def operating_point(
    overall: Slice, rule: Rule, fitted: Fitted, where: str | None, settings: Settings
) -> OperatingPoint:
    """Return the card of one detector.

    Args:
        overall: Its slice ``overall``.
        rule: How its threshold was chosen.
        fitted: What was fitted for it.
        where: What it was fitted on; ``None`` where nothing was.
        settings: The level of the intervals.
    """
    recall, specificity = (overall.estimates[name] for name in ("recall", "specificity"))
    return OperatingPoint(
        detector=overall.detector,
        rule=str(rule),
        threshold=fitted.threshold if rule.is_fitted else rule.score,
        fitted_on=where if rule.is_fitted else None,
        n_fitted=fitted.n_items,
        recall=recall,
        specificity=specificity,
        false_flags_per_100k=false_flags(specificity),
        prevalences=[
            Prevalence(prevalence=share, precision=precision_at(share, recall, specificity))
            for share in PREVALENCES
        ],
        claims=[_claim(fpr, overall, settings.confidence) for fpr in CLAIMS],
        reason=fitted.reason,
    )


def false_flags(specificity: Estimate) -> Estimate:
    """Return how many of 100 000 reals would be flagged."""
    value, low, high = (
        None if share is None else PER * (1 - share)
        for share in (specificity.value, specificity.high, specificity.low)
    )
    return specificity.model_copy(update={"value": value, "low": low, "high": high})


def precision_at(prevalence: float, recall: Estimate, specificity: Estimate) -> Estimate:
    """Return the share of flags that are right where this share of what comes in is fake.

    The interval takes recall and specificity at their lower ends together, and at their upper
    ones: wider than 95 % asks for, never narrower.
    """
    bare = Estimate(
        reason=recall.reason or specificity.reason or "nothing was called fake",
        n_items=recall.n_items + specificity.n_items,
        n_groups=max(recall.n_groups, specificity.n_groups),
    )
    if recall.value is None or specificity.value is None:
        return bare
    value = _precision(prevalence, recall.value, specificity.value)
    if math.isnan(value):
        return bare.model_copy(update={"reason": "nothing was called fake"})
    known = {"value": value, "conditional_on": recall.conditional_on}
    if None in (recall.low, specificity.low):
        return bare.model_copy(update=known)
    low, high = (
        _precision(prevalence, *(end for end in pair if end is not None))
        for pair in ((recall.low, specificity.low), (recall.high, specificity.high))
    )
    ends = {"low": low, "high": high, "method": CORNERS, "reason": None}
    return bare.model_copy(update=known | ends)


def reals_to_claim(fpr: float, confidence: float, n_flagged: int = 0) -> int:
    """Return how many independent reals bound the false positive rate by ``fpr``.

    The exact bound of the binomial distribution (Clopper and Pearson, 1934), one-sided; at 95 %
    and with none flagged it is near 3 / ``fpr``, the rule of three.

    Args:
        fpr: The rate to claim.
        confidence: Of the claim.
        n_flagged: Reals that are flagged.
    """
    if n_flagged == 0:
        return math.ceil(math.log(1 - confidence) / math.log1p(-fpr))
    few, many = n_flagged, 2 * n_flagged
    while binom.cdf(n_flagged, many, fpr) > 1 - confidence:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        is_enough = binom.cdf(n_flagged, middle, fpr) <= 1 - confidence
        few, many = (few, middle) if is_enough else (middle, many)
    return many


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


def _precision(prevalence: float, recall: float, specificity: float) -> float:
    right = prevalence * recall
    flags = right + (1 - prevalence) * (1 - specificity)
    return right / flags if flags > 0 else math.nan
