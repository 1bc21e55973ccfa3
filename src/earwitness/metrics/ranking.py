"""Figures over all thresholds: what an order of items is worth.

Conventions: scores rise with fakeness; one row an item; NaN where a figure is undefined, which is
with one class alone, and never folded: an AUROC under 0.5 stays there. Equal scores are called
fake together, so that no figure depends on the order of the rows.
"""

from __future__ import annotations

import math

import numpy as np
import sklearn.metrics as learn
from numpy.typing import ArrayLike

from earwitness.metrics import steps
from earwitness.metrics.costs import ASVSPOOF5, Costs


def auroc(target: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve: P(fake above real) + P(tie) / 2.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    return float(learn.roc_auc_score(target, score)) if has_both(target) else math.nan


def average_precision(target: ArrayLike, score: ArrayLike) -> float:
    """Return precision averaged over fakes as they are found, without interpolation.

    It depends on the share of fakes: a constant score gets that share.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    return float(learn.average_precision_score(target, score)) if has_both(target) else math.nan


def eer(target: ArrayLike, score: ArrayLike) -> float:
    """Return the equal error rate: the mean of both error rates where they are nearest.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    if not has_both(target):
        return math.nan
    return float(steps.eer(steps.count_steps(steps.rank(target, score))))


def eer_threshold(target: ArrayLike, score: ArrayLike) -> float:
    """Return the score from which on items are called fake where error rates are nearest.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    if not has_both(target):
        return math.nan
    ranking = steps.rank(target, score)
    return float(ranking.thresholds[steps.eer_step(steps.count_steps(ranking)) - 1])


def min_dcf(target: ArrayLike, score: ArrayLike, costs: Costs = ASVSPOOF5) -> float:
    """Return the least detection cost over all thresholds, normalised (ASVspoof 5, minDCF).

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    return float(steps.min_dcf(steps.count_steps(steps.rank(target, score)), costs))


def tpr_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float) -> float:
    """Return the share of fakes found with at most ``fpr`` of the reals called fake.

    NaN below ``reals_needed(fpr)`` reals, where that rate cannot be told from 0.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        fpr: Between 0 and 1.
    """
    n_real = int((np.asarray(target) == 0).sum())
    if not has_both(target) or n_real < reals_needed(fpr):
        return math.nan
    return float(steps.tpr_at_fpr(steps.count_steps(steps.rank(target, score)), fpr))


def reals_needed(fpr: float) -> int:
    """Return how many reals it takes for one of them to be a share of ``fpr``: 100 at 1 %.

    Raises:
        ValueError: ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr {fpr}, expected a number between 0 and 1")
    return math.ceil(round(1 / fpr, 6))


def has_both(target: ArrayLike) -> bool:
    """Whether there are reals and fakes."""
    truth = np.asarray(target)
    return bool((truth == 0).any() and (truth == 1).any())
