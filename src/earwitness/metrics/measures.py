"""Figures over all thresholds: what an order of items is worth.

Conventions: scores rise with fakeness; one row an item; NaN where a figure is undefined, which is
with one class alone, and never folded: an AUROC under 0.5 stays there. Equal scores are called
fake together, so that no figure depends on the order of the rows.
"""

from __future__ import annotations

import math

import numpy as np
import sklearn.metrics as learn
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit as logit_of

from earwitness.core.counts import Counts
from earwitness.metrics import sweep
from earwitness.metrics.sample import ASVSPOOF5, Costs


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
    return float(sweep.eer(sweep.count_steps(sweep.rank(target, score))))


def eer_threshold(target: ArrayLike, score: ArrayLike) -> float:
    """Return the score from which on items are called fake where error rates are nearest.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    if not has_both(target):
        return math.nan
    ranking = sweep.rank(target, score)
    return float(ranking.thresholds[sweep.eer_step(sweep.count_steps(ranking)) - 1])


def min_dcf(target: ArrayLike, score: ArrayLike, costs: Costs = ASVSPOOF5) -> float:
    """Return the least detection cost over all thresholds, normalised (ASVspoof 5, minDCF).

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    return float(sweep.min_dcf(sweep.count_steps(sweep.rank(target, score)), costs))


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
    return float(sweep.tpr_at_fpr(sweep.count_steps(sweep.rank(target, score)), fpr))


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


def count_decisions(target: ArrayLike, decision: ArrayLike) -> Counts:
    """Count how decisions fell out.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        decision: ``(n_items,)`` of 0 (called real) and 1 (called fake).

    Raises:
        ValueError: The shapes differ, or a value is neither 0 nor 1.
    """
    truth, call = np.asarray(target), np.asarray(decision)
    if truth.shape != call.shape or truth.ndim != 1:
        raise ValueError(f"shapes {truth.shape} and {call.shape}, expected (n_items,) twice")
    for name, values in (("target", truth), ("decision", call)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} holds more than 0 and 1: {np.unique(values)[:5]}")
    is_fake, called_fake = truth == 1, call == 1
    return Counts(
        tp=int((is_fake & called_fake).sum()),
        tn=int((~is_fake & ~called_fake).sum()),
        fp=int((~is_fake & called_fake).sum()),
        fn=int((is_fake & ~called_fake).sum()),
    )


def accuracy(counts: Counts) -> float:
    """Return the share of right decisions; NaN without items."""
    return _share(counts.tp + counts.tn, counts.n)


def precision(counts: Counts) -> float:
    """Return the share of fakes among what was called fake; NaN where nothing was."""
    return _share(counts.tp, counts.tp + counts.fp)


def recall(counts: Counts) -> float:
    """Return the share of fakes that were called fake; NaN without fakes."""
    return _share(counts.tp, counts.n_fake)


def specificity(counts: Counts) -> float:
    """Return the share of reals that were called real; NaN without reals."""
    return _share(counts.tn, counts.n_real)


def f1(counts: Counts) -> float:
    """Return the harmonic mean of precision and recall.

    0 where no fake was called fake; NaN where there was none to find and nothing called fake.
    """
    if not counts.tp:
        return 0.0 if counts.fp + counts.fn else math.nan
    of_calls, of_fakes = precision(counts), recall(counts)
    return 2 * of_calls * of_fakes / (of_calls + of_fakes)


def balanced_accuracy(counts: Counts) -> float:
    """Return the mean of recall and specificity; NaN unless there are reals and fakes."""
    return (recall(counts) + specificity(counts)) / 2


def f1_macro(counts: Counts) -> float:
    """Return the mean of the F1 of fakes and the F1 of reals; NaN where either is."""
    of_reals = Counts(tp=counts.tn, tn=counts.tp, fp=counts.fn, fn=counts.fp)
    return (f1(counts) + f1(of_reals)) / 2


def mcc(counts: Counts) -> float:
    """Return Matthews' correlation of decision and truth, from -1 to 1.

    0 where all decisions are alike, as in scikit-learn; NaN where all items are of one class.
    """
    called_fake, called_real = counts.tp + counts.fp, counts.tn + counts.fn
    if not (counts.n_fake and counts.n_real):
        return math.nan
    margins = math.prod((counts.n_fake, counts.n_real, called_fake, called_real))
    agreement = counts.tp * counts.tn - counts.fp * counts.fn
    return agreement / math.sqrt(margins) if margins else 0.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
