"""Figures at one decision threshold.

Conventions: 0 is real, 1 is fake, and fake is the positive class. A metric that scikit-learn calls
ill-defined (its denominator is zero) is NaN, never 0 or 1; on a set of fakes alone precision is 1
by construction, because there is no real to raise a false alarm on.

Formulas: the textbook definitions over the four counts of a 2 × 2 table.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from earwitness.core.results import Counts


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
