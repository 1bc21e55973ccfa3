"""Metrics of detectors that abstain: coverage, selective risk and the risk-coverage curve.

Conventions: an answer is 0 (real), 1 (fake) or ``ABSTAINED``. The margin is the logit minus that of
the threshold; its sign is the decision (fake from 0 up), its absolute value the confidence. Items
of equal confidence are accepted together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.compute import Metric, Sums, share
from earwitness.metrics.intervals import Interval, rate_interval
from earwitness.metrics.sample import ABSTAINED, Floats, Items, Options, Ranking, given
from earwitness.metrics.sweep import Steps

Mask = NDArray[np.bool_]


def risk_coverage(steps: Steps) -> tuple[Floats, Floats]:
    """Return coverage and selective risk at every confidence from the highest down.

    Args:
        steps: Counts at every step of ``Items.confidence_ranking``: ``fp`` right, ``tp`` wrong.

    Returns:
        Coverage and risk (El-Yaniv and Wiener, 2010): ``(..., n_steps)``.
    """
    accepted, wrong = (steps.fp + steps.tp)[..., 1:], steps.tp[..., 1:]
    risk = wrong / np.maximum(accepted, 1)
    return share(accepted.astype(float), np.broadcast_to(accepted[..., -1:], accepted.shape)), risk


def aurc(steps: Steps) -> Floats:
    """Return the area under the risk-coverage curve (Geifman and El-Yaniv, 2017): ``(...)``."""
    coverage, risk = risk_coverage(steps)
    area: Floats = (np.diff(coverage, axis=-1, prepend=0.0) * risk).sum(axis=-1)
    return area


def excess_aurc(steps: Steps) -> Floats:
    """Return the AURC above that of the best order of the same errors: ``(...)``.

    With risk r at full coverage, the best order has r + (1 - r) ln(1 - r) (Geifman et al., 2019).
    """
    risk = risk_coverage(steps)[1][..., -1]
    right = 1 - risk
    best = risk + right * np.log(np.where(right > 0, right, 1.0))
    return np.maximum(aurc(steps) - best, 0.0)


def _answer_columns(items: Items, _: Options) -> Sums:
    masks = {
        "n_decided": _is_decided(items),
        "n_wrong": _is_wrong(items),
        "n_real_flagged": (items.target == 0) & _is_flagged(items),
        "n_fake_flagged": (items.target == 1) & _is_flagged(items),
    }
    return {name: mask.astype(float) for name, mask in masks.items()}


def _is_decided(items: Items) -> Mask:
    decided: Mask = given(items.answer) != ABSTAINED
    return decided


def _is_wrong(items: Items) -> Mask:
    wrong: Mask = _is_decided(items) & (given(items.answer) != items.target)
    return wrong


def _is_flagged(items: Items) -> Mask:
    flagged: Mask = given(items.answer) == 1
    return flagged


def _interval_of(hit: Callable[[Items], Mask]) -> Callable[[Items, Options], Interval]:
    return lambda items, options: rate_interval(
        hit(items).astype(np.int64), items.group, options.confidence
    )


def _confidence(items: Items) -> Ranking:
    return items.confidence_ranking


def _rate_of(label: str, flagged: str, total: str, target: int) -> Metric:
    """Return the share of a class that is flagged, abstentions counted as not flagged."""
    return Metric(
        label=label,
        needs="answer",
        higher_is_better=target == 1,
        of_sums=lambda s, _: share(s[flagged], s[total]),
        columns=_answer_columns,
        interval=_interval_of(_is_flagged),
        one_class=True,
        part=lambda items: items.target == target,
    )


def _area_of(label: str, formula: Callable[[Steps], Floats]) -> Metric:
    """Return a metric of the risk-coverage curve."""
    return Metric(
        label=label,
        needs="margin",
        higher_is_better=False,
        of_steps=lambda steps, _: formula(steps),
        ranking=_confidence,
        one_class=True,
    )


SELECTIVE: dict[str, Metric] = {
    "coverage": Metric(
        label="coverage (not abstained)",
        needs="answer",
        higher_is_better=None,
        of_sums=lambda s, _: share(s["n_decided"], s["n_real"] + s["n_fake"]),
        columns=_answer_columns,
        interval=_interval_of(_is_decided),
        one_class=True,
    ),
    "selective_risk": Metric(
        label="selective risk (errors among decided)",
        needs="answer",
        higher_is_better=False,
        of_sums=lambda s, _: share(s["n_wrong"], s["n_decided"]),
        columns=_answer_columns,
        interval=_interval_of(_is_wrong),
        one_class=True,
        part=lambda items: items.target >= 0 if items.answer is None else _is_decided(items),
        undefined="the detector abstained from every item",
    ),
    "tpr_abstained_unflagged": _rate_of(
        "TPR, abstained as not flagged", "n_fake_flagged", "n_fake", 1
    ),
    "fpr_abstained_unflagged": _rate_of(
        "FPR, abstained as not flagged", "n_real_flagged", "n_real", 0
    ),
    "aurc": _area_of("AURC", aurc),
    "excess_aurc": _area_of("excess AURC", excess_aurc),
}
