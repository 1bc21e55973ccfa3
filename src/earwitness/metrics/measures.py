"""Registry of metrics: label, input, formula, interval and direction.

Conventions: fake is the positive class; scores rise with fakeness. A formula is on sums over items
or on the counts at every threshold, for many reweighted samples; the value of a metric is its
formula at weight one, NaN if undefined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from earwitness.core.errors import UsageError
from earwitness.core.estimate import Counts
from earwitness.core.registry import Registry, summarize_error
from earwitness.metrics import sweep
from earwitness.metrics.compute import Metric, Needs, Sums, compute, share
from earwitness.metrics.intervals import (
    Interval,
    auroc_interval,
    mixed_interval,
    rate_interval,
    tpr_interval,
)
from earwitness.metrics.sample import (
    Floats,
    Ints,
    Items,
    Options,
    bin_of,
    check_logits,
    check_probs,
    clip_probs,
    given,
)
from earwitness.metrics.selective import SELECTIVE
from earwitness.metrics.sweep import Steps, reals_needed


def known_metrics() -> dict[str, Metric]:
    """Return all metrics by name, in display order.

    Plug-ins that cannot be loaded, or fail on a small sample, are reported once and left out.
    """
    registry, known = _registry(), {}
    for name, metric in registry.items():
        problem = None if registry.is_built_in(name) else _problem_of(metric)
        if problem is None:
            known[name] = metric
        else:
            registry.skip(f"metric {name!r}: {problem}")
    return known


@cache
def _registry() -> Registry:
    registry = Registry(
        "metric",
        UsageError,
        group="earwitness.metrics",
        accepts=lambda value: isinstance(value, Metric),
        expected="an earwitness.metrics.compute.Metric",
    )
    for name, metric in METRICS.items():
        registry.add(name, metric)
    return registry


@cache
def _problem_of(metric: Metric) -> str | None:
    """Return the error of a plug-in's metric on a small sample."""
    target, logit = np.tile([0, 1], 200), np.linspace(-2, 2, 400)
    prob, group = expit(logit), np.arange(400) // 2
    call = (prob >= 0.5).astype(np.int64)
    items = Items(target, group, call, logit, logit, prob, logit, call)
    weights = np.random.default_rng(0).integers(0, 3, (2, items.n_groups))
    try:
        both, *each = (compute(items, w, {"": metric})[""] for w in (weights, *weights[:, None]))
        if np.shape(both) != (2,) or not np.allclose(both, np.concatenate(each), equal_nan=True):
            return "expected a formula that returns one value a sample"
        if metric.interval is not None:
            metric.interval(metric.part_of(items), Options())
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        return summarize_error(error)
    return None


def select(names: Collection[str]) -> dict[str, Metric]:
    """Return metrics by name."""
    known = known_metrics()
    return {name: known[name] for name in names}


def point_values(
    items: Items, names: Collection[str] | None = None, options: Options | None = None
) -> dict[str, float]:
    """Return the values of the metrics that items have the columns for; NaN if undefined."""
    chosen = select(known_metrics() if names is None else names)
    held = {name: one for name, one in chosen.items() if getattr(items, one.needs) is not None}
    found = compute(items, np.ones((1, items.n_groups), dtype=np.int64), held, options)
    return {name: float(values[0]) for name, values in found.items()}


def measure(
    name: str, target: ArrayLike, values: ArrayLike, options: Options | None = None
) -> float:
    """Return the value of one metric of independent items; NaN if undefined.

    Args:
        name: Name of the metric.
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        values: ``(n_items,)`` decisions, scores, logits or probabilities, as the metric needs.
        options: Costs and bins.
    """
    truth = np.asarray(target, dtype=np.int64)
    group = np.zeros(len(truth), dtype=np.int64)
    column = {known_metrics()[name].needs: np.asarray(values)}
    return point_values(Items(truth, group, **column), [name], options)[name]


def measure_counts(name: str, counts: Counts) -> float:
    """Return the value of a metric of decisions; NaN only without its denominator."""
    formula = METRICS[name].of_sums
    assert formula is not None  # noqa: S101 - metrics of decisions are formulas on sums
    cells = ("tp", "fn", "fp", "tn", "n_real", "n_fake")
    return float(formula({cell: np.asarray(getattr(counts, cell)) for cell in cells}, Options()))


def names_needing(*needs: Needs) -> list[str]:
    """Return the names of the metrics that need one of these columns."""
    return [name for name, metric in known_metrics().items() if metric.needs in needs]


def _mean(column: str) -> Callable[[Sums, Options], Floats]:
    return lambda s, _: share(s[column], s["n_real"] + s["n_fake"])


def _f1(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Return F1; 0 without true positives, NaN without positives at all."""
    precision, recall = share(tp, tp + fp), share(tp, tp + fn)
    mean = np.where(tp > 0, share(2 * precision * recall, precision + recall), 0.0)
    return np.where(tp + fp + fn > 0, mean, np.nan)


def _mcc(s: Sums, _: Options) -> Floats:
    """Return Matthews' correlation; 0 if all decisions are the same, as in scikit-learn."""
    margins = s["n_real"] * s["n_fake"] * (s["tp"] + s["fp"]) * (s["tn"] + s["fn"])
    agreement = s["tp"] * s["tn"] - s["fp"] * s["fn"]
    both = (s["n_real"] > 0) & (s["n_fake"] > 0)
    return np.where(both & (margins == 0), 0.0, share(agreement, np.sqrt(margins)))


def _cllr_columns(items: Items, _: Options) -> Sums:
    bits, fake = _bits(items.target, given(items.logit)), items.target == 1
    return {"bits_real": bits * ~fake, "bits_fake": bits * fake}


def _bits(target: Ints, logit: Floats) -> Floats:
    """Return each item's contribution to Cllr, in bits."""
    signs = np.where(target == 1, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, signs * check_logits(logit)) / math.log(2))


def _cllr(s: Sums, _: Options) -> Floats:
    """Return the cost of the log-likelihood ratio (Brümmer and du Preez, 2006)."""
    return (share(s["bits_real"], s["n_real"]) + share(s["bits_fake"], s["n_fake"])) / 2


def _dcf_columns(items: Items, options: Options) -> Sums:
    above, fake = check_logits(given(items.logit)) > options.costs.threshold, items.target == 1
    return {"alarms": (~fake & above).astype(float), "misses": (fake & ~above).astype(float)}


def _act_dcf(s: Sums, options: Options) -> Floats:
    """Return the normalised cost at the Bayes threshold (ASVspoof 5)."""
    fpr, fnr = share(s["alarms"], s["n_real"]), share(s["misses"], s["n_fake"])
    return options.costs.normalised(fpr, fnr)


def _act_dcf_interval(items: Items, options: Options) -> Interval:
    columns = _dcf_columns(items, options)
    wrong = (columns["alarms"] + columns["misses"]).astype(np.int64)
    weights = (options.costs.normalised(1.0, 0.0), options.costs.normalised(0.0, 1.0))
    return mixed_interval(wrong, items.target, items.group, weights, options.confidence)


def _brier_columns(items: Items, _: Options) -> Sums:
    return {"squares": (check_probs(given(items.prob)) - items.target) ** 2}


def _log_loss_columns(items: Items, _: Options) -> Sums:
    return {"nats": _nats(items.target, given(items.prob))}


def _nats(target: Ints, prob: Floats) -> Floats:
    """Return each item's contribution to the log loss, in nats."""
    clipped = clip_probs(prob)
    return -np.log(np.where(target == 1, clipped, 1 - clipped))


def _ece_columns(items: Items, options: Options) -> Sums:
    prob = check_probs(given(items.prob))
    inside = bin_of(prob, options.n_bins)[:, None] == np.arange(options.n_bins)
    return {"bins": (prob - items.target)[:, None] * inside}


def _ece(s: Sums, _: Options) -> Floats:
    """Return the expected calibration error (Guo et al., 2017)."""
    return share(np.abs(s["bins"]).sum(axis=-1), s["n_real"] + s["n_fake"])


def _ece_noise(items: Items, options: Options) -> Metric:
    """Return the distance of a resample's bins from those of the sample, summed over bins."""
    whole = _ece_columns(items, options)["bins"].mean(axis=0)

    def formula(s: Sums, _: Options) -> Floats:
        excess = s["bins"] / (s["n_real"] + s["n_fake"])[..., None]
        noise: Floats = np.abs(excess - whole).sum(axis=-1)
        return noise

    return Metric(label="noise of ECE", needs="prob", of_sums=formula, columns=_ece_columns)


def _min_dcf_optimism(items: Items, options: Options) -> Metric:
    """Return the excess cost of a resample's best threshold on the sample."""
    steps = sweep.count_steps(items.ranking)
    whole = options.costs.normalised(steps.fpr, 1 - steps.tpr)
    return Metric(
        label="optimism of minDCF",
        needs="score",
        of_steps=lambda steps, options: sweep.min_dcf_optimism(steps, whole, options.costs),
    )


def _worst(loss: Callable[[Ints, Floats], Floats], needs: Needs) -> Callable[[Items], float]:
    """Return a function for the loss of the most confident item if it were wrong."""

    def worst(items: Items) -> float:
        values = getattr(items, needs)
        return max(float(loss(truth, values).max()) for truth in (items.target, 1 - items.target))

    return worst


def _called_fake(items: Items) -> NDArray[np.bool_]:
    return np.full(len(items), True) if items.decision is None else items.decision == 1


def _rate_interval(items: Items, options: Options) -> Interval:
    hit = (given(items.decision) == items.target).astype(np.int64)
    return rate_interval(hit, items.group, options.confidence)


def _accuracy_interval(items: Items, options: Options, share: float | None = None) -> Interval:
    if not items.has_both:
        return _rate_interval(items, options)
    share = float(items.target.mean()) if share is None else share
    hit, weights = (given(items.decision) == items.target).astype(np.int64), (1 - share, share)
    return mixed_interval(hit, items.target, items.group, weights, options.confidence)


def _tpr(fpr: float, label: str) -> Metric:
    """Return the metric TPR at a false positive rate."""
    needed = reals_needed(fpr)

    def formula(steps: Steps, _: Options) -> Floats:
        return np.where(steps.n_real[..., 0] < needed, np.nan, sweep.tpr_at_fpr(steps, fpr))

    return Metric(
        label=label,
        needs="score",
        of_steps=formula,
        interval=lambda items, options: tpr_interval(items, fpr, options.confidence),
        undefined=f"needs {needed} reals, {{n_real}} in this slice",
    )


METRICS: dict[str, Metric] = {
    "auroc": Metric(
        label="AUROC",
        needs="score",
        of_steps=lambda steps, _: sweep.auroc(steps),
        interval=lambda items, options: auroc_interval(items, options.confidence),
    ),
    "eer": Metric(
        label="EER",
        needs="score",
        higher_is_better=False,
        of_steps=lambda steps, _: sweep.eer(steps),
    ),
    "balanced_accuracy": Metric(
        label="balanced accuracy",
        needs="decision",
        of_sums=lambda s, _: (share(s["tp"], s["n_fake"]) + share(s["tn"], s["n_real"])) / 2,
        interval=lambda items, options: _accuracy_interval(items, options, 0.5),
    ),
    "recall": Metric(
        label="recall (fakes found)",
        needs="decision",
        of_sums=lambda s, _: share(s["tp"], s["n_fake"]),
        interval=_rate_interval,
        one_class=True,
        part=lambda items: items.target == 1,
    ),
    "specificity": Metric(
        label="specificity (reals let pass)",
        needs="decision",
        of_sums=lambda s, _: share(s["tn"], s["n_real"]),
        interval=_rate_interval,
        one_class=True,
        part=lambda items: items.target == 0,
    ),
    "precision": Metric(
        label="precision",
        needs="decision",
        of_sums=lambda s, _: share(s["tp"], s["tp"] + s["fp"]),
        interval=_rate_interval,
        part=_called_fake,
        undefined="nothing was called fake",
    ),
    "f1": Metric(label="F1", needs="decision", of_sums=lambda s, _: _f1(s["tp"], s["fp"], s["fn"])),
    "f1_macro": Metric(
        label="macro F1",
        needs="decision",
        of_sums=lambda s, _: (_f1(s["tp"], s["fp"], s["fn"]) + _f1(s["tn"], s["fn"], s["fp"])) / 2,
    ),
    "accuracy": Metric(
        label="accuracy",
        needs="decision",
        of_sums=lambda s, _: share(s["tp"] + s["tn"], s["n_real"] + s["n_fake"]),
        interval=_accuracy_interval,
        one_class=True,
    ),
    "mcc": Metric(label="MCC", needs="decision", of_sums=_mcc, bounds=(-1.0, 1.0)),
    "average_precision": Metric(
        label="average precision",
        needs="score",
        of_steps=lambda steps, _: sweep.average_precision(steps),
    ),
    "tpr_at_fpr_1pct": _tpr(0.01, "TPR at 1 % FPR"),
    "tpr_at_fpr_5pct": _tpr(0.05, "TPR at 5 % FPR"),
    "eer_threshold": Metric(
        label="threshold at the EER",
        needs="score",
        higher_is_better=None,
        of_steps=lambda steps, _: sweep.eer_threshold(steps),
        interval=lambda *_: Interval(reason="a setting of the detector: no interval"),
    ),
    "min_dcf": Metric(
        label="minDCF",
        needs="score",
        higher_is_better=False,
        of_steps=lambda steps, options: sweep.min_dcf(steps, options.costs),
        bias=_min_dcf_optimism,
    ),
    "act_dcf": Metric(
        label="actDCF",
        needs="logit",
        higher_is_better=False,
        of_sums=_act_dcf,
        columns=_dcf_columns,
        interval=_act_dcf_interval,
    ),
    "cllr": Metric(
        label="Cllr (bits)",
        needs="logit",
        higher_is_better=False,
        of_sums=_cllr,
        columns=_cllr_columns,
        worst=_worst(_bits, "logit"),
    ),
    "brier": Metric(
        label="Brier score",
        needs="prob",
        higher_is_better=False,
        of_sums=_mean("squares"),
        columns=_brier_columns,
    ),
    "log_loss": Metric(
        label="log loss (nats)",
        needs="prob",
        higher_is_better=False,
        of_sums=_mean("nats"),
        columns=_log_loss_columns,
        worst=_worst(_nats, "prob"),
    ),
    "ece": Metric(
        label="ECE",
        needs="prob",
        higher_is_better=False,
        of_sums=_ece,
        columns=_ece_columns,
        bias=_ece_noise,
    ),
} | SELECTIVE
