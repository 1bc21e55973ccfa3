"""All metrics in one table: label, requirements, formula, interval and direction.

Conventions: fake is the positive class; scores rise with fakeness. A formula is written once, for
many reweighted samples at a time, on sums over items or on the counts at every threshold; the value
of a metric is its formula at weight one. A metric without its denominator, or with one class alone
where it takes both, is NaN; an AUROC under 0.5 stays there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.special import logit as logit_of

from earwitness.core.errors import UsageError
from earwitness.core.estimate import Counts
from earwitness.core.registry import Registry, summarize_error
from earwitness.metrics import sweep
from earwitness.metrics.intervals import (
    Interval,
    auroc_interval,
    mixed_interval,
    rate_interval,
    tpr_interval,
)
from earwitness.metrics.sample import Floats, Ints, Items, Options, Values
from earwitness.metrics.sweep import Steps, reals_needed

Needs = Literal["decision", "score", "logit", "prob"]
Sums = Mapping[str, Floats]
"""Column → its sum in every sample, ``(n_samples,)`` or ``(n_samples, n_bins)``."""

Counted = TypeVar("Counted", Sums, Steps)

CLIP = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 (2.2e-16) before a logarithm is taken."""

ITEMS_AT_ONCE = 100_000
"""Weights of items held at once: few enough for a processor's cache."""

GROUPS_AT_ONCE = 2_000_000
"""Weights of groups multiplied at once: many enough for a matrix product to pay."""


def _decisions(items: Items, _: Options) -> Sums:
    """Return the four outcomes of decisions, one column each."""
    fake, called = items.target == 1, _given(items.decision) == 1
    cells = {"tp": fake & called, "fn": fake & ~called, "fp": ~fake & called, "tn": ~fake & ~called}
    return {name: cell.astype(float) for name, cell in cells.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """A metric. Exactly one of ``of_sums`` and ``of_steps`` is its formula.

    Attributes:
        label: Its name for people.
        needs: The column of ``Items`` that it takes.
        higher_is_better: Its direction; ``None`` if it has none.
        of_sums: Formula on sums over items: ``n_real``, ``n_fake`` and ``columns``.
        of_steps: Formula on the counts at every threshold.
        columns: Returns the values of each item that ``of_sums`` takes sums of, by name; by
            default decisions: ``tp``, ``fn``, ``fp`` and ``tn``.
        interval: Closed form of the interval; ``None`` takes the group bootstrap.
        bounds: Its least and greatest possible value, for the bootstrap's interval.
        worst: Returns the greatest possible value on some items, where no constant bounds it.
        bias: Returns a metric whose mean over resamples measures the bias of this one.
        one_class: Whether it is defined on reals alone or on fakes alone.
        part: Selects the items that the metric is a share of; ``None`` is all.
        undefined: Why it may be undefined where there are both classes; ``{n_real}`` is replaced.
    """

    label: str
    needs: Needs
    higher_is_better: bool | None = True
    of_sums: Callable[[Sums, Options], Floats] | None = None
    of_steps: Callable[[Steps, Options], Floats] | None = None
    columns: Callable[[Items, Options], Sums] = _decisions
    interval: Callable[[Items, Options], Interval] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    worst: Callable[[Items], float] | None = None
    bias: Callable[[Items, Options], Metric] | None = None
    one_class: bool = False
    part: Callable[[Items], NDArray[np.bool_]] | None = None
    undefined: str = "undefined on these items"

    def __post_init__(self) -> None:
        if (self.of_sums is None) == (self.of_steps is None):
            raise ValueError(f"{self.label}: expected of_sums or of_steps, and not both")

    def part_of(self, items: Items) -> Items:
        """Return the items that the metric is a share of."""
        return items if self.part is None else items.where(self.part(items))

    def bounds_on(self, items: Items) -> tuple[float, float]:
        """Return the least and the greatest possible value on some items."""
        return self.bounds if self.worst is None else (self.bounds[0], self.worst(items))


def known_metrics() -> dict[str, Metric]:
    """Return all metrics by name, in the order to show them: ours, then those of plug-ins.

    Plug-ins that cannot be loaded, or that fail on a small sample, are reported once and left out.
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
        expected="an earwitness.metrics.measures.Metric",
    )
    for name, metric in METRICS.items():
        registry.add(name, metric)
    return registry


@cache
def _problem_of(metric: Metric) -> str | None:
    """Return why another package's metric cannot be used: what it does on a small sample."""
    target, logit = np.tile([0, 1], 200), np.linspace(-2, 2, 400)
    prob, group = expit(logit), np.arange(400) // 2
    items = Items(target, group, (prob >= 0.5).astype(np.int64), logit, logit, prob)
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
    """Return some metrics by name."""
    known = known_metrics()
    return {name: known[name] for name in names}


def compute(
    items: Items,
    weights: NDArray[np.integer],
    metrics: Mapping[str, Metric],
    options: Options | None = None,
) -> dict[str, Floats]:
    """Return metrics under every weighting of the groups.

    Args:
        items: The sample, with the columns that the metrics need.
        weights: ``(n_samples, n_groups)``, how often each group counts.
        metrics: Metrics by name.
        options: Costs and bins.

    Returns:
        Name → ``(n_samples,)``.
    """
    options = options or Options()
    found: dict[str, list[Floats]] = {name: [] for name in metrics}
    if len(items) and any(one.of_sums for one in metrics.values()):
        table = _group_sums(items, metrics.values(), options)
        for block in _blocks(weights, GROUPS_AT_ONCE // max(items.n_groups, 1)):
            sums = _weighted_sums(block, table)
            both = (sums["n_real"] > 0) & (sums["n_fake"] > 0)
            for name, one in metrics.items():
                if one.of_sums is not None:
                    found[name].append(_evaluate(one, one.of_sums, sums, options, both))
    if items.has_both and any(one.of_steps for one in metrics.values()):
        for block in _blocks(weights, ITEMS_AT_ONCE // max(len(items), 1)):
            steps = sweep.count_ordered(items.ranking, block[:, items.group[items.ranking.order]])
            both = (steps.n_real[..., 0] > 0) & (steps.n_fake[..., 0] > 0)
            for name, one in metrics.items():
                if one.of_steps is not None:
                    found[name].append(_evaluate(one, one.of_steps, steps, options, both))
    undefined = [np.full(len(weights), np.nan)]
    return {name: np.concatenate(parts or undefined) for name, parts in found.items()}


def _evaluate(
    metric: Metric,
    formula: Callable[[Counted, Options], Floats],
    counted: Counted,
    options: Options,
    both: NDArray[np.bool_],
) -> Floats:
    """Return the values of a formula; NaN where it is not finite, or takes both classes."""
    if not (metric.one_class or both.any()):
        return np.full(len(both), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = formula(counted, options)
    return np.where(np.isfinite(values) & (both | metric.one_class), values, np.nan)


def point_values(
    items: Items, names: Collection[str] | None = None, options: Options | None = None
) -> dict[str, float]:
    """Return the metrics that the items have the columns for; NaN where undefined."""
    chosen = select(known_metrics() if names is None else names)
    given = {name: one for name, one in chosen.items() if getattr(items, one.needs) is not None}
    found = compute(items, np.ones((1, items.n_groups), dtype=np.int64), given, options)
    return {name: float(values[0]) for name, values in found.items()}


def measure(
    name: str, target: ArrayLike, values: ArrayLike, options: Options | None = None
) -> float:
    """Return one metric of independent items; NaN where undefined.

    Args:
        name: A metric ("auroc").
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        values: ``(n_items,)`` of what the metric needs: decisions, scores, logits or probabilities.
        options: Costs and bins.
    """
    truth = np.asarray(target, dtype=np.int64)
    group = np.zeros(len(truth), dtype=np.int64)
    column = {known_metrics()[name].needs: np.asarray(values)}
    return point_values(Items(truth, group, **column), [name], options)[name]


def measure_counts(name: str, counts: Counts) -> float:
    """Return a metric of decisions from their counts; NaN without its denominator alone."""
    formula = METRICS[name].of_sums
    assert formula is not None  # noqa: S101 - metrics of decisions are formulas on sums
    cells = ("tp", "fn", "fp", "tn", "n_real", "n_fake")
    return float(formula({cell: np.asarray(getattr(counts, cell)) for cell in cells}, Options()))


def names_needing(*needs: Needs) -> list[str]:
    """Return the metrics that take one of these columns."""
    return [name for name, metric in known_metrics().items() if metric.needs in needs]


def count_decisions(target: ArrayLike, decision: ArrayLike) -> Counts:
    """Count the four outcomes of decisions.

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
    cells = _decisions(Items(truth, truth, decision=call), Options())
    return Counts(**{name: int(cell.sum()) for name, cell in cells.items()})


def logits(prob: ArrayLike) -> Floats:
    """Return the logits of probabilities, clipped by ``CLIP``: from -36.04 to 36.04."""
    return np.asarray(logit_of(_clipped(prob)), dtype=np.float64)


def bin_of(prob: ArrayLike, n_bins: int) -> Ints:
    """Return the bin of each probability, from 0: ``(n_items,)``; the last bin holds 1."""
    scaled = _checked_probs(prob) * n_bins
    return np.minimum(scaled.astype(np.int64), n_bins - 1)


def _given(values: Values | None) -> Values:
    if values is None:
        raise ValueError("a metric needs a column that the items do not have")
    return values


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


def _blocks(weights: NDArray[np.integer], size: int) -> Iterator[NDArray[np.integer]]:
    size = max(size, 1)
    return (weights[start : start + size] for start in range(0, len(weights), size))


def _group_sums(items: Items, metrics: Collection[Metric], options: Options) -> Sums:
    """Return the columns of some metrics summed by group, each function called once."""
    columns: dict[str, Floats] = {
        "n_real": (items.target == 0).astype(float),
        "n_fake": (items.target == 1).astype(float),
    }
    for function in dict.fromkeys(one.columns for one in metrics if one.of_sums is not None):
        columns |= function(items, options)
    return {name: _by_group(values, items) for name, values in columns.items()}


def _by_group(values: Floats, items: Items) -> Floats:
    if values.ndim > 1:
        return np.column_stack([_by_group(column, items) for column in values.T])
    return np.bincount(items.group, values, items.n_groups).astype(np.float64)


def _weighted_sums(block: NDArray[np.integer], table: Sums) -> dict[str, Floats]:
    """Return the sums of every column in every sample, by one matrix product."""
    parts = [values.reshape(len(values), -1) for values in table.values()]
    product = block.astype(np.float64) @ np.hstack(parts)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    return {
        key: sums if table[key].ndim > 1 else sums[:, 0]
        for key, sums in zip(table, np.split(product, ends, axis=1), strict=True)
    }


def _share(part: Floats, whole: Floats) -> Floats:
    shares = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _mean(column: str) -> Callable[[Sums, Options], Floats]:
    return lambda s, _: _share(s[column], s["n_real"] + s["n_fake"])


def _f1(tp: Floats, fp: Floats, fn: Floats) -> Floats:
    """Return the harmonic mean of precision and recall; 0 where errors are all there is."""
    precision, recall = _share(tp, tp + fp), _share(tp, tp + fn)
    mean = np.where(tp > 0, _share(2 * precision * recall, precision + recall), 0.0)
    return np.where(tp + fp + fn > 0, mean, np.nan)


def _mcc(s: Sums, _: Options) -> Floats:
    """Return Matthews' correlation; 0 where all decisions are alike, as in scikit-learn."""
    margins = s["n_real"] * s["n_fake"] * (s["tp"] + s["fp"]) * (s["tn"] + s["fn"])
    agreement = s["tp"] * s["tn"] - s["fp"] * s["fn"]
    both = (s["n_real"] > 0) & (s["n_fake"] > 0)
    return np.where(both & (margins == 0), 0.0, _share(agreement, np.sqrt(margins)))


def _cllr_columns(items: Items, _: Options) -> Sums:
    bits, fake = _bits(items.target, _given(items.logit)), items.target == 1
    return {"bits_real": bits * ~fake, "bits_fake": bits * fake}


def _bits(target: Ints, logit: Floats) -> Floats:
    """Return what each item adds to Cllr, in bits."""
    signs = np.where(target == 1, -1.0, 1.0)
    return np.asarray(np.logaddexp(0, signs * _checked_logits(logit)) / math.log(2))


def _cllr(s: Sums, _: Options) -> Floats:
    """Return the cost of the log-likelihood ratio (Brümmer and du Preez, 2006)."""
    return (_share(s["bits_real"], s["n_real"]) + _share(s["bits_fake"], s["n_fake"])) / 2


def _dcf_columns(items: Items, options: Options) -> Sums:
    above, fake = _checked_logits(_given(items.logit)) > options.costs.threshold, items.target == 1
    return {"alarms": (~fake & above).astype(float), "misses": (fake & ~above).astype(float)}


def _act_dcf(s: Sums, options: Options) -> Floats:
    """Return the normalised cost at the threshold that the costs prescribe (ASVspoof 5)."""
    fpr, fnr = _share(s["alarms"], s["n_real"]), _share(s["misses"], s["n_fake"])
    return options.costs.normalised(fpr, fnr)


def _act_dcf_interval(items: Items, options: Options) -> Interval:
    columns = _dcf_columns(items, options)
    wrong = (columns["alarms"] + columns["misses"]).astype(np.int64)
    weights = (options.costs.normalised(1.0, 0.0), options.costs.normalised(0.0, 1.0))
    return mixed_interval(wrong, items.target, items.group, weights, options.confidence)


def _brier_columns(items: Items, _: Options) -> Sums:
    return {"squares": (_checked_probs(_given(items.prob)) - items.target) ** 2}


def _log_loss_columns(items: Items, _: Options) -> Sums:
    return {"nats": _nats(items.target, _given(items.prob))}


def _nats(target: Ints, prob: Floats) -> Floats:
    """Return what each item adds to the log loss, in nats."""
    clipped = _clipped(prob)
    return -np.log(np.where(target == 1, clipped, 1 - clipped))


def _ece_columns(items: Items, options: Options) -> Sums:
    prob = _checked_probs(_given(items.prob))
    inside = bin_of(prob, options.n_bins)[:, None] == np.arange(options.n_bins)
    return {"bins": (prob - items.target)[:, None] * inside}


def _ece(s: Sums, _: Options) -> Floats:
    """Return the mean distance of probability and share of fakes over bins (Guo et al., 2017)."""
    return _share(np.abs(s["bins"]).sum(axis=-1), s["n_real"] + s["n_fake"])


def _ece_noise(items: Items, options: Options) -> Metric:
    """Return how far the bins of a sample are from those of the whole, summed over bins."""
    whole = _ece_columns(items, options)["bins"].mean(axis=0)

    def formula(s: Sums, _: Options) -> Floats:
        excess = s["bins"] / (s["n_real"] + s["n_fake"])[..., None]
        noise: Floats = np.abs(excess - whole).sum(axis=-1)
        return noise

    return Metric(label="noise of ECE", needs="prob", of_sums=formula, columns=_ece_columns)


def _min_dcf_optimism(items: Items, _: Options) -> Metric:
    """Return how much more each sample's cheapest threshold costs on the whole."""
    whole = sweep.count_steps(items.ranking)
    return Metric(
        label="optimism of minDCF",
        needs="score",
        of_steps=lambda steps, options: sweep.min_dcf_optimism(steps, whole, options.costs),
    )


def _worst(loss: Callable[[Ints, Floats], Floats], needs: Needs) -> Callable[[Items], float]:
    """Return a function: what the most confident item would cost if it were wrong."""

    def worst(items: Items) -> float:
        values = getattr(items, needs)
        return max(float(loss(truth, values).max()) for truth in (items.target, 1 - items.target))

    return worst


def _called_fake(items: Items) -> NDArray[np.bool_]:
    return np.full(len(items), True) if items.decision is None else items.decision == 1


def _rate_interval(items: Items, options: Options) -> Interval:
    hit = (_given(items.decision) == items.target).astype(np.int64)
    return rate_interval(hit, items.group, options.confidence)


def _accuracy_interval(items: Items, options: Options, share: float | None = None) -> Interval:
    if not items.has_both:
        return _rate_interval(items, options)
    share = float(items.target.mean()) if share is None else share
    hit, weights = (_given(items.decision) == items.target).astype(np.int64), (1 - share, share)
    return mixed_interval(hit, items.target, items.group, weights, options.confidence)


def _tpr(fpr: float, label: str) -> Metric:
    """Return TPR at a rate of false positives; undefined with too few reals to see that rate."""
    needed = reals_needed(fpr)

    def formula(steps: Steps, _: Options) -> Floats:
        return np.where(steps.n_real[..., 0] < needed, np.nan, sweep.tpr_at_fpr(steps, fpr))

    return Metric(
        label=label,
        needs="score",
        of_steps=formula,
        interval=lambda items, options: tpr_interval(items, fpr, options.confidence),
        undefined=f"takes {needed} reals, {{n_real}} in this slice",
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
        of_sums=lambda s, _: (_share(s["tp"], s["n_fake"]) + _share(s["tn"], s["n_real"])) / 2,
        interval=lambda items, options: _accuracy_interval(items, options, 0.5),
    ),
    "recall": Metric(
        label="recall (fakes found)",
        needs="decision",
        of_sums=lambda s, _: _share(s["tp"], s["n_fake"]),
        interval=_rate_interval,
        one_class=True,
        part=lambda items: items.target == 1,
    ),
    "specificity": Metric(
        label="specificity (reals let pass)",
        needs="decision",
        of_sums=lambda s, _: _share(s["tn"], s["n_real"]),
        interval=_rate_interval,
        one_class=True,
        part=lambda items: items.target == 0,
    ),
    "precision": Metric(
        label="precision",
        needs="decision",
        of_sums=lambda s, _: _share(s["tp"], s["tp"] + s["fp"]),
        interval=_rate_interval,
        part=_called_fake,
        undefined="nothing was called fake",
    ),
    "f1": Metric(
        label="F1",
        needs="decision",
        of_sums=lambda s, _: _f1(s["tp"], s["fp"], s["fn"]),
    ),
    "f1_macro": Metric(
        label="macro F1",
        needs="decision",
        of_sums=lambda s, _: (_f1(s["tp"], s["fp"], s["fn"]) + _f1(s["tn"], s["fn"], s["fp"])) / 2,
    ),
    "accuracy": Metric(
        label="accuracy",
        needs="decision",
        of_sums=lambda s, _: _share(s["tp"] + s["tn"], s["n_real"] + s["n_fake"]),
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
}
