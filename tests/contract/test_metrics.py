"""What must hold for every metric; a new one is added to ``REFERENCES``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import sklearn.metrics as learn

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS, Estimate
from earwitness.evaluation.estimates import estimate_all
from earwitness.evaluation.schema import Settings
from earwitness.metrics.compute import compute, count_decisions
from earwitness.metrics.measures import (
    METRICS,
    measure,
    measure_counts,
    names_needing,
    point_values,
    select,
)
from earwitness.metrics.sample import ABSTAINED, Costs, Items, Options

SETTINGS = Settings(n_resamples=60)
OF_DECISIONS = tuple(names_needing("decision"))
RANKING = tuple(name for name in names_needing("score") if name != "eer_threshold")
TPR = ("tpr_at_fpr_1pct", "tpr_at_fpr_5pct")
SELECTIVE = {"coverage", "selective_risk", "aurc", "excess_aurc"}
ONE_CLASS_HAS = {
    0: {"accuracy", "specificity", "fpr_abstained_unflagged", *SELECTIVE},
    1: {"accuracy", "recall", "tpr_abstained_unflagged", *SELECTIVE},
}
OF_ALL_GROUPS = ("precision", "coverage", "selective_risk")
EPS = np.finfo(float).eps
COSTS = Costs(p_fake=0.2, c_false_alarm=3.0, c_miss=2.0)


def make_items(target: np.ndarray, logit: np.ndarray, group: np.ndarray) -> Items:
    prob = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    decision = (prob >= 0.5).astype(int)
    answer = np.where(np.arange(len(group)) % 5 == 2, ABSTAINED, decision)
    return Items(target, group, decision, logit, logit, prob, logit, answer)


def sample(kind: str, n_groups: int = 15, n_each: int = 8) -> Items:
    """As many groups of reals as of fakes, of ``n_each`` items."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(2 * n_groups), n_each)
    target = (group >= n_groups).astype(int)
    noise = rng.normal(size=2 * n_groups)[group] + rng.normal(size=len(group))
    logits = {
        "usual": noise + target,
        "reversed": noise - 3 * target,
        "perfect": noise + 100.0 * target - 50,
        "all wrong": noise - 100.0 * target + 50,
        "ties": np.round(noise + target),
        "constant": np.zeros(len(group)),
        "all real": noise / 10 + target - 5,
        "all fake": noise / 10 + target + 5,
        "saturated": 600 * np.sign(noise + target),
        "one real on top": np.where(np.arange(len(group)) == 0, 90, noise / 10 + 9 * target - 4),
    }
    return make_items(target, logits[kind], group)


KINDS = ("usual", "reversed", "perfect", "all wrong", "ties", "constant", "all real", "all fake")
KINDS += ("saturated", "one real on top")


def rates(items: Items) -> list[tuple[float, float, float]]:
    """Threshold, false positive rate and miss rate, for every threshold and above them all."""
    real, fake = items.target == 0, items.target == 1
    thresholds = [math.inf, *sorted(set(items.score.tolist()), reverse=True)]
    return [
        (t, float((items.score[real] >= t).mean()), float((items.score[fake] < t).mean()))
        for t in thresholds
    ]


def equal_errors(items: Items) -> tuple[float, float]:
    """Equal error rate and its threshold, as probability."""
    by_gap = [(round(abs(a - b), 12), a + b, -t) for t, a, b in rates(items) if t < math.inf]
    _, total, threshold = min(by_gap)
    return total / 2, float(items.prob[items.score == -threshold].min())


def cost(fpr: float, fnr: float, costs: Costs = COSTS) -> float:
    of_reals = costs.c_false_alarm * (1 - costs.p_fake)
    of_fakes = costs.c_miss * costs.p_fake
    return (of_reals * fpr + of_fakes * fnr) / min(of_reals, of_fakes)


def actual_cost(items: Items) -> float:
    odds = COSTS.c_false_alarm * (1 - COSTS.p_fake) / (COSTS.c_miss * COSTS.p_fake)
    called = items.logit > math.log(odds)
    return cost(called[items.target == 0].mean(), (~called[items.target == 1]).mean())


def cllr(items: Items) -> float:
    fakes, reals = items.logit[items.target == 1], items.logit[items.target == 0]
    of_fakes = np.logaddexp(0, -fakes).mean() / math.log(2)
    return float(of_fakes + np.logaddexp(0, reals).mean() / math.log(2)) / 2


def expected_calibration_error(items: Items, n_bins: int = 15) -> float:
    found = 0.0
    for n in range(n_bins):
        inside = (items.prob >= n / n_bins) & (items.prob < (n + 1) / n_bins)
        inside |= (n == n_bins - 1) & (items.prob == 1)
        if inside.any():
            gap = abs(items.prob[inside].mean() - items.target[inside].mean())
            found += inside.mean() * gap
    return found


def recall_at(items: Items, fpr: float) -> float:
    return max(1 - fnr for _, alarms, fnr in rates(items) if alarms <= fpr)


def macro_f1(items: Items) -> float:
    return float(learn.f1_score(items.target, items.decision, average="macro"))


def risks(items: Items) -> list[tuple[float, float]]:
    """Coverage and share of errors of the items above every confidence, the highest first."""
    confidence, wrong = np.abs(items.logit), items.decision != items.target
    kept = [confidence >= least for least in sorted(set(confidence.tolist()), reverse=True)]
    return [(float(one.mean()), float(wrong[one].mean())) for one in kept]


def area_under_risk(items: Items) -> float:
    points = [(0.0, 0.0), *risks(items)]
    return sum((b - a) * risk for (a, _), (b, risk) in pairwise(points))


def excess_area(items: Items) -> float:
    risk = float((items.decision != items.target).mean())
    best = risk if risk == 1 else risk + (1 - risk) * math.log(1 - risk)
    return area_under_risk(items) - best


def decided(items: Items) -> np.ndarray:
    return items.answer != ABSTAINED


def errors_among_decided(items: Items) -> float:
    return float((items.answer != items.target)[decided(items)].mean())


REFERENCES: dict[str, Callable[[Items], float]] = {
    "auroc": lambda i: learn.roc_auc_score(i.target, i.score),
    "eer": lambda i: equal_errors(i)[0],
    "balanced_accuracy": lambda i: learn.balanced_accuracy_score(i.target, i.decision),
    "recall": lambda i: learn.recall_score(i.target, i.decision),
    "specificity": lambda i: learn.recall_score(i.target, i.decision, pos_label=0),
    "precision": lambda i: learn.precision_score(i.target, i.decision, zero_division=np.nan),
    "f1": lambda i: learn.f1_score(i.target, i.decision),
    "f1_macro": macro_f1,
    "accuracy": lambda i: learn.accuracy_score(i.target, i.decision),
    "mcc": lambda i: learn.matthews_corrcoef(i.target, i.decision),
    "average_precision": lambda i: learn.average_precision_score(i.target, i.score),
    "tpr_at_fpr_1pct": lambda i: recall_at(i, 0.01),
    "tpr_at_fpr_5pct": lambda i: recall_at(i, 0.05),
    "eer_threshold": lambda i: equal_errors(i)[1],
    "min_dcf": lambda i: min(cost(fpr, fnr) for _, fpr, fnr in rates(i)),
    "act_dcf": actual_cost,
    "cllr": cllr,
    "brier": lambda i: learn.brier_score_loss(i.target, i.prob),
    "log_loss": lambda i: learn.log_loss(i.target, np.clip(i.prob, EPS, 1 - EPS)),
    "ece": expected_calibration_error,
    "coverage": lambda i: decided(i).mean(),
    "selective_risk": errors_among_decided,
    "tpr_abstained_unflagged": lambda i: (i.answer == 1)[i.target == 1].mean(),
    "fpr_abstained_unflagged": lambda i: (i.answer == 1)[i.target == 0].mean(),
    "aurc": area_under_risk,
    "excess_aurc": excess_area,
}


def test_every_metric_has_a_reference() -> None:
    assert set(REFERENCES) == set(METRICS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_value_is_that_of_the_reference_and_of_the_resample_of_weight_one(kind: str) -> None:
    items, options = sample(kind, 60, 2), Options(costs=COSTS)
    points = point_values(items, None, options)
    ones = compute(items, np.ones((1, items.n_groups), dtype=int), METRICS, options)
    assert set(points) == set(METRICS)
    for name, value in points.items():
        assert ones[name][0] == pytest.approx(value, abs=0, nan_ok=True), name
        expected = REFERENCES[name](items)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("kind", ["usual", "ties", "all real"])
def test_a_weighting_of_groups_is_the_sample_with_its_groups_repeated(kind: str) -> None:
    items = sample(kind, 110, 1)
    items = items.where(np.arange(len(items)) % 9 != 8)
    weights = np.random.default_rng(1).integers(0, 4, (2, items.n_groups))
    found = compute(items, weights, METRICS)
    for row, counts in enumerate(weights):
        expected = point_values(items.where(np.repeat(np.arange(len(items)), counts)))
        ours = {name: values[row] for name, values in found.items()}
        assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_groups", "n_each"), [(10, 1), (12, 8), (80, 2)])
def test_an_interval_brackets_its_point_or_is_missing_with_a_reason(
    kind: str, n_groups: int, n_each: int
) -> None:
    items = sample(kind, n_groups, n_each)
    points = point_values(items, METRICS, SETTINGS.options)
    for name, found in estimate_all(items, SETTINGS).items():
        check(name, found)
        assert found.number == pytest.approx(points[name], rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("n_groups", [MIN_GROUPS, MIN_GROUPS - 1])
def test_intervals_need_enough_groups_of_each_class(n_groups: int) -> None:
    found = estimate_all(sample("usual", n_groups), SETTINGS)
    for name in set(METRICS) - {"eer_threshold", *OF_ALL_GROUPS, *TPR}:
        assert (found[name].low is not None) == (n_groups == MIN_GROUPS), name


def check(name: str, found: Estimate) -> None:
    if found.low is None:
        assert found.reason, name
        return
    assert found.value is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high, (name, found)
    assert found.low < found.high, (name, found)
    assert found.method, name


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_with_a_reason(label: int) -> None:
    items = sample("usual").where(sample("usual").target == label)
    found = estimate_all(items, SETTINGS)
    defined = {name for name, one in found.items() if one.is_defined}
    assert defined == ONE_CLASS_HAS[label]
    for name in set(METRICS) - defined:
        assert found[name].reason == f"only {'fakes' if label else 'reals'} in this slice", name
    assert all(math.isnan(v) == (n not in defined) for n, v in point_values(items).items())


def test_no_items_and_missing_columns_are_undefined_with_a_reason() -> None:
    nothing = sample("usual").where(np.arange(0))
    assert {one.reason for one in estimate_all(nothing, SETTINGS).values()} == {
        "no scored items in this slice"
    }
    items = sample("usual")
    found = estimate_all(Items(items.target, items.group, score=items.score), SETTINGS)
    assert found["recall"].reason == "no decisions"
    assert found["brier"].reason == "no pred_prob"
    labels = estimate_all(Items(items.target, items.group, items.decision), SETTINGS)
    assert {labels[name].reason for name in (*RANKING, "brier", "cllr")} == {
        "labels alone, no scores"
    }
    reason = estimate_all(sample("usual", 10, 1), SETTINGS)["tpr_at_fpr_5pct"].reason
    assert reason == "needs 20 reals, 10 in this slice"


@pytest.mark.parametrize("n_groups", [1, 9])
def test_few_groups_have_a_point_without_an_interval(n_groups: int) -> None:
    for name, found in estimate_all(sample("usual", n_groups, 30), SETTINGS).items():
        if name in OF_ALL_GROUPS and n_groups == 9:
            continue  # of 18 groups, real and fake
        assert found.low is None, name
        expected = "a setting" if name == "eer_threshold" else TOO_FEW_GROUPS
        assert str(found.reason).startswith(expected) or name.startswith("tpr"), name
        assert found.is_defined or name == "tpr_at_fpr_1pct"


def test_ten_groups_a_class_have_intervals() -> None:
    found = estimate_all(sample("usual", 10, 30), SETTINGS)
    without = {name for name, one in found.items() if one.low is None}
    assert without == {"eer_threshold", "tpr_at_fpr_1pct", "tpr_at_fpr_5pct"}


@pytest.mark.parametrize("change", [np.arctan, lambda x: 5 * x**3 - 2, np.exp])
def test_monotone_maps_leave_ranking_metrics_alone(
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    items = sample("ties", 120, 1)
    mapped = replace(items, score=change(items.score))
    before, after = (estimate_all(one, SETTINGS) for one in (items, mapped))
    for name in (*RANKING, *OF_DECISIONS):
        assert before[name] == after[name], name


def test_the_order_of_items_does_not_matter() -> None:
    items = sample("ties", 60, 2)
    shuffled = items.where(np.random.default_rng(0).permutation(len(items)))
    assert point_values(shuffled) == pytest.approx(point_values(items), abs=1e-12)


def test_the_better_of_two_detectors_has_the_better_metric() -> None:
    items, better = sample("usual", 60, 2), sample("usual", 60, 2)
    better = make_items(better.target, better.logit + 1.5 * better.target - 0.9, better.group)
    ours, theirs = point_values(better), point_values(items)
    for name, metric in METRICS.items():
        if metric.higher_is_better is not None:
            assert (ours[name] > theirs[name]) == metric.higher_is_better, name


def test_copies_of_items_within_groups_make_no_interval_narrower() -> None:
    items = sample("usual", 100, 1)
    before = estimate_all(items, SETTINGS)
    after = estimate_all(items.where(np.repeat(np.arange(len(items)), 5)), SETTINGS)
    for name, one in before.items():
        if one.low is not None and one.high is not None:
            low, high = after[name].low, after[name].high
            assert (low, high) == pytest.approx((one.low, one.high), abs=1e-6), name


def test_numbers_that_are_no_scores_are_refused() -> None:
    for wrong in (math.nan, math.inf, -math.inf):
        items = sample("usual")
        logit = np.where(np.arange(len(items)) == 3, wrong, items.logit)
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            estimate_all(replace(items, score=logit), SETTINGS)
        for name in names_needing("logit"):
            with pytest.raises(ValueError, match="logit holds NaN or infinity"):
                measure(name, items.target, logit)
    for wrong in (math.nan, -0.01, 1.01):
        for name in names_needing("prob"):
            with pytest.raises(ValueError, match="prob holds NaN or values outside 0 to 1"):
                measure(name, [0, 1], [0.5, wrong])


def test_metrics_of_decisions_follow_from_counts_alone() -> None:
    for kind in KINDS:
        items = sample(kind)
        counts = count_decisions(items.target, items.decision)
        expected = point_values(items, select(OF_DECISIONS))
        found = {name: measure_counts(name, counts) for name in OF_DECISIONS}
        assert found == pytest.approx(expected, abs=0, nan_ok=True)
