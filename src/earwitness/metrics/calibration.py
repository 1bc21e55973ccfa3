"""Calibration: an affine map of logits, fitted by likelihood.

Conventions: 1 is fake, logits rise with fakeness, and the map never turns them round. Sources:
temperature scaling is that of Guo et al. (2017), the map with an offset and the smoothed targets
that keep it finite on separable samples are Platt's (1999).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit

from earwitness.metrics import sweep
from earwitness.metrics.measures import has_both, reals_needed
from earwitness.metrics.sample import Costs, Floats

Method = Literal["temperature", "platt"]

LEAST_SCALE = 1e-6
"""Scales end here: a sample whose scores run the wrong way asks for none at all."""


def fit_scaling(target: ArrayLike, logit: ArrayLike, method: Method) -> tuple[float, float]:
    """Return scale and offset under which the logistic function of logits is likeliest.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake), both there.
        logit: ``(n_items,)`` finite numbers.
        method: ``temperature`` keeps the offset at 0.

    Returns:
        ``scale`` and ``offset``; NaN with one class alone. A scale of ``LEAST_SCALE`` says that
        higher scores are not more often fake.
    """
    if not has_both(target):
        return math.nan, math.nan
    truth, given = np.asarray(target), np.asarray(logit, dtype=np.float64)
    n_fake, n_real = int((truth == 1).sum()), int((truth == 0).sum())
    wanted = np.where(truth == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    unit = float(np.abs(given).max()) or 1.0
    scaled = given / unit

    def loss(map_: Floats) -> tuple[float, Floats]:
        moved = map_[0] * scaled + map_[1]
        value = float((np.logaddexp(0, moved) - wanted * moved).mean())
        excess = expit(moved) - wanted
        return value, np.array([(excess * scaled).mean(), excess.mean()])

    offsets = (0.0, 0.0) if method == "temperature" else (None, None)
    start = np.array([max(1.0, LEAST_SCALE * unit), 0.0])
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(LEAST_SCALE * unit, None), offsets],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000},
    )
    return float(found.x[0] / unit), float(found.x[1])


def threshold_at_fpr(target: ArrayLike, score: ArrayLike, fpr: float) -> float:
    """Return the lowest score that as a threshold calls at most ``fpr`` of the reals fake.

    Reals alone serve as well. NaN below ``reals_needed(fpr)`` reals.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        fpr: Between 0 and 1.
    """
    n_real = int((np.asarray(target) == 0).sum())
    if n_real < reals_needed(fpr):
        return math.nan
    ranking = sweep.rank(target, score)
    called = sweep.count_steps(ranking).fp
    last = int((called <= fpr * n_real * (1 + 1e-12)).sum()) - 1
    return math.inf if last == 0 else float(ranking.thresholds[last - 1])


def threshold_at_cost(target: ArrayLike, score: ArrayLike, costs: Costs) -> float:
    """Return the threshold with the least detection cost; of several, the highest.

    NaN with one class alone.

    Args:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        score: ``(n_items,)`` finite numbers, high for fake.
        costs: Prior and costs.
    """
    if not has_both(target):
        return math.nan
    ranking = sweep.rank(target, score)
    counted = sweep.count_steps(ranking)
    step = int(np.argmin(costs.normalised(counted.fpr, 1 - counted.tpr)))
    return math.inf if step == 0 else float(ranking.thresholds[step - 1])
