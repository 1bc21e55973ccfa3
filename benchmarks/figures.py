"""Intervals for figures of many rows, by the group bootstrap: part of ``make bench``.

Conventions: rows a second are resamples a second; the plain side draws groups, gathers their rows
and asks scikit-learn for each figure, as people write it first, and is timed on a few resamples.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn import metrics

from earwitness.metrics.resampling import N_RESAMPLES, bootstrap_intervals
from earwitness.metrics.sample import Floats, Ints, Items

N_ROWS, N_GROUPS, FEW = 100_000, 20_000, 10
OURS = ("f1", "mcc", "average_precision", "eer", "min_dcf", "tpr_at_fpr_1pct", "brier", "log_loss")
"""What the plain side computes, too."""


def case_bootstrap() -> dict[str, float]:
    """2 000 resamples of 100 000 rows: eight figures with intervals."""
    items = make_items()
    start = time.perf_counter()
    bootstrap_intervals(items, OURS, seed=0)
    ours_s = time.perf_counter() - start
    return {"n": N_RESAMPLES, "plain_s": plain(items) * N_RESAMPLES / FEW, "ours_s": ours_s}


def make_items() -> Items:
    """Tracks, each real once and made anew four times."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(N_GROUPS), N_ROWS // N_GROUPS)
    target = np.tile([0, 1, 1, 1, 1], N_GROUPS)
    logit = rng.normal(size=N_ROWS) + rng.normal(size=N_GROUPS)[group] + 2 * target - 1
    prob = 1 / (1 + np.exp(-logit))
    decision = (prob >= 0.5).astype(np.int64)
    return Items(target, group, decision=decision, score=logit, logit=logit, prob=prob)


def plain(items: Items) -> float:
    """Return the seconds that a few resamples take."""
    rng = np.random.default_rng(1)
    members = np.split(np.argsort(items.group, kind="stable"), N_GROUPS)
    start = time.perf_counter()
    for _ in range(FEW):
        drawn = np.concatenate([members[group] for group in rng.integers(0, N_GROUPS, N_GROUPS)])
        assert items.prob is not None and items.decision is not None  # noqa: PT018
        plain_figures(items.target[drawn], items.decision[drawn], items.prob[drawn])
    return time.perf_counter() - start


def plain_figures(target: Ints, decision: Ints, prob: Floats) -> dict[str, float]:
    fpr, tpr, _ = metrics.roc_curve(target, prob)
    step = int(np.argmin(np.abs(fpr - (1 - tpr))))
    return {
        "f1": metrics.f1_score(target, decision),
        "mcc": metrics.matthews_corrcoef(target, decision),
        "average_precision": metrics.average_precision_score(target, prob),
        "eer": (fpr[step] + 1 - tpr[step]) / 2,
        "min_dcf": float(np.min(0.95 * fpr + 0.05 * 10 * (1 - tpr))),
        "tpr_at_fpr_1pct": float(tpr[fpr <= 0.01].max()),
        "brier": metrics.brier_score_loss(target, prob),
        "log_loss": metrics.log_loss(target, prob),
    }
