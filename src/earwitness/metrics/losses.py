"""Figures of scores as numbers: what they say if they are taken for probabilities.

Conventions: ``prob`` lies between 0 and 1 and ``logit`` on the whole line, both high for fake.
Taking ``-logit`` for the log-likelihood ratio of real against fake, as Cllr and actDCF do, holds
only for a detector that was trained on as many reals as fakes. NaN with one class alone, where a
constant answer would be perfect.
"""

from __future__ import annotations

import math

import numpy as np
import sklearn.metrics as learn
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit as logit_of

from earwitness.metrics.costs import ASVSPOOF5, Costs
from earwitness.metrics.ranking import has_both

Floats = NDArray[np.float64]

CLIP = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 (2.2e-16) before a logarithm is taken."""

N_BINS = 15
"""Bins of the expected calibration error, of equal width (Guo et al., 2017)."""


def logits(prob: ArrayLike) -> Floats:
    """Return the logits of probabilities, clipped by ``CLIP``: from -36.04 to 36.04."""
    return np.asarray(logit_of(_clipped(prob)), dtype=np.float64)


def brier(target: ArrayLike, prob: ArrayLike) -> float:
    """Return the mean squared distance of probability and truth.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        prob: ``(n_items,)`` from 0 to 1.
    """
    return float(learn.brier_score_loss(target, prob)) if has_both(target) else math.nan


def log_loss(target: ArrayLike, prob: ArrayLike) -> float:
    """Return the mean negative log-likelihood in nats, probabilities clipped by ``CLIP``.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        prob: ``(n_items,)`` from 0 to 1.
    """
    return float(learn.log_loss(target, _clipped(prob))) if has_both(target) else math.nan


def ece(target: ArrayLike, prob: ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error.

    That is the distance between the mean probability and the share of fakes in a bin, averaged
    over bins by their items. Bins are of equal width over [0, 1]; a bin holds its lower edge, the
    last one 1 as well.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        prob: ``(n_items,)`` from 0 to 1.
        n_bins: How many bins.
    """
    if not has_both(target):
        return math.nan
    excess = np.asarray(prob, dtype=np.float64) - np.asarray(target)
    sums = np.bincount(bin_of(prob, n_bins), weights=excess, minlength=n_bins)
    return float(np.abs(sums).sum() / len(excess))


def bin_of(prob: ArrayLike, n_bins: int = N_BINS) -> NDArray[np.int64]:
    """Return the bin of each probability, from 0: ``(n_items,)``."""
    scaled = _checked_probs(prob) * n_bins
    return np.minimum(scaled.astype(np.int64), n_bins - 1)


def cllr(target: ArrayLike, logit: ArrayLike) -> float:
    """Return the cost of the log-likelihood ratio in bits (Brümmer and du Preez, 2006).

    0 is perfect, 1 is what a constant 0 gets.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        logit: ``(n_items,)`` finite numbers.
    """
    if not has_both(target):
        return math.nan
    bits, fake = cllr_bits(target, logit), np.asarray(target) == 1
    return float((bits[fake].mean() + bits[~fake].mean()) / 2)


def cllr_bits(target: ArrayLike, logit: ArrayLike) -> Floats:
    """Return what each item adds to Cllr, in bits: ``(n_items,)``."""
    signs = np.where(np.asarray(target) == 1, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, signs * _checked_logits(logit)) / math.log(2))


def log_losses(target: ArrayLike, prob: ArrayLike) -> Floats:
    """Return what each item adds to the log loss, in nats: ``(n_items,)``."""
    clipped = _clipped(prob)
    return -np.log(np.where(np.asarray(target) == 1, clipped, 1 - clipped))


def act_dcf(target: ArrayLike, logit: ArrayLike, costs: Costs = ASVSPOOF5) -> float:
    """Return the normalised detection cost at the threshold that costs alone prescribe.

    Items above ``costs.threshold`` are called fake (ASVspoof 5, actDCF).

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        logit: ``(n_items,)`` finite numbers.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    called, fake = _checked_logits(logit) > costs.threshold, np.asarray(target) == 1
    return costs.normalised(float(called[~fake].mean()), float((~called[fake]).mean()))


def _clipped(prob: ArrayLike) -> Floats:
    return np.clip(_checked_probs(prob), CLIP, 1 - CLIP)


def _checked_probs(prob: ArrayLike) -> Floats:
    values = np.asarray(prob, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("prob holds NaN or values outside 0 to 1, expected numbers from 0 to 1")
    return values


def _checked_logits(logit: ArrayLike) -> Floats:
    values = np.asarray(logit, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("logit holds NaN or infinity, expected finite numbers")
    return values
