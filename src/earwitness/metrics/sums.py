"""Figures that follow from sums over items, and the sums of each group.

Conventions: sums carry leading axes for samples, ``(n_samples,)``, bins of the calibration error
one more behind. A figure without its denominator is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from earwitness.metrics import measures
from earwitness.metrics.sample import Costs, Floats, Ints, Items

Sums = Mapping[str, Floats]


def tally(items: Items, costs: Costs, n_bins: int) -> dict[str, Floats]:
    """Return what is summed over items, by group: ``(n_groups,)``, bins ``(n_groups, n_bins)``.

    Args:
        items: The sample; what needs decisions, logits or probabilities is left out without them.
        costs: Prior and costs that tell the threshold of the actual detection cost.
        n_bins: Bins of the calibration error.
    """
    fake = items.target == 1
    columns: dict[str, Floats] = {"n_real": (~fake).astype(float), "n_fake": fake.astype(float)}
    if items.decision is not None:
        called = items.decision == 1
        columns |= {"tp": fake & called, "fn": fake & ~called}
        columns |= {"fp": ~fake & called, "tn": ~fake & ~called}
    if items.logit is not None:
        above = items.logit > costs.threshold
        bits = measures.cllr_bits(items.target, items.logit)
        columns |= {"alarms": ~fake & above, "misses": fake & ~above}
        columns |= {"bits_real": bits * ~fake, "bits_fake": bits * fake}
    if items.prob is not None:
        columns["squares"] = (items.prob - items.target) ** 2
        columns["nats"] = measures.log_losses(items.target, items.prob)
    sums = {
        name: _by_group(items.group, values, items.n_groups) for name, values in columns.items()
    }
    return sums | ({} if items.prob is None else {"bins": _bins(items, items.prob, n_bins)})


def formulas(costs: Costs, table: Sums) -> dict[str, Callable[[Sums], Floats]]:
    """Return metric → how it follows from sums.

    Args:
        costs: Prior and costs of ``act_dcf``.
        table: Sums of each group (``tally``), whose mean ``ece_noise`` takes for the truth.
    """
    return _FORMULAS | {
        "ece_noise": lambda s: _bin_noise(s, table),
        "act_dcf": lambda s: costs.normalised(
            _share(s["alarms"], s["n_real"]), _share(s["misses"], s["n_fake"])
        ),
    }


def _bin_noise(s: Sums, table: Sums) -> Floats:
    """Return how far the bins of a sample are from those of all groups, summed over bins."""
    n_items = (table["n_real"] + table["n_fake"]).sum()
    excess = _share(s["bins"], (s["n_real"] + s["n_fake"])[..., None] + 0 * s["bins"])
    noise: Floats = np.abs(excess - table["bins"].sum(axis=0) / n_items).sum(axis=-1)
    return noise


def _bins(items: Items, prob: Floats, n_bins: int) -> Floats:
    cell = items.group * n_bins + measures.bin_of(prob, n_bins)
    sums = _by_group(cell, prob - items.target, items.n_groups * n_bins)
    return sums.reshape(items.n_groups, n_bins)


def _by_group(group: Ints, values: Floats, n_groups: int) -> Floats:
    return np.bincount(group, values, n_groups).astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    shares = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _f1(tp: Floats, errors: Floats) -> Floats:
    return _share(2 * tp, 2 * tp + errors)


def _f1_macro(s: Sums) -> Floats:
    errors = s["fp"] + s["fn"]
    return (_f1(s["tp"], errors) + _f1(s["tn"], errors)) / 2


def _mcc(s: Sums) -> Floats:
    called, let_pass = s["tp"] + s["fp"], s["tn"] + s["fn"]
    margins = np.sqrt(s["n_real"]) * np.sqrt(s["n_fake"]) * np.sqrt(called) * np.sqrt(let_pass)
    agreement = s["tp"] * s["tn"] - s["fp"] * s["fn"]
    both = (s["n_real"] > 0) & (s["n_fake"] > 0)
    return np.where(both & (margins == 0), 0.0, _share(agreement, margins))


_FORMULAS: dict[str, Callable[[Sums], Floats]] = {
    "accuracy": lambda s: _share(s["tp"] + s["tn"], s["n_real"] + s["n_fake"]),
    "balanced_accuracy": lambda s: (
        (_share(s["tp"], s["n_fake"]) + _share(s["tn"], s["n_real"])) / 2
    ),
    "precision": lambda s: _share(s["tp"], s["tp"] + s["fp"]),
    "recall": lambda s: _share(s["tp"], s["n_fake"]),
    "specificity": lambda s: _share(s["tn"], s["n_real"]),
    "f1": lambda s: _f1(s["tp"], s["fp"] + s["fn"]),
    "f1_macro": _f1_macro,
    "mcc": _mcc,
    "cllr": lambda s: (
        (_share(s["bits_real"], s["n_real"]) + _share(s["bits_fake"], s["n_fake"])) / 2
    ),
    "brier": lambda s: _share(s["squares"], s["n_real"] + s["n_fake"]),
    "log_loss": lambda s: _share(s["nats"], s["n_real"] + s["n_fake"]),
    "ece": lambda s: _share(np.abs(s["bins"]).sum(axis=-1), s["n_real"] + s["n_fake"]),
}
