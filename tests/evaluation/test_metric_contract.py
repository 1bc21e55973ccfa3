"""What holds for every metric: its point, its interval, and the reason where one is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from earwitness.core.estimate import Estimate
from earwitness.evaluation.estimates import METRICS, OF_DECISIONS, estimate_all, point_values
from earwitness.evaluation.schema import Settings
from earwitness.metrics import measures
from earwitness.metrics.bootstrap import TPR_AT_FPR, resample
from earwitness.metrics.sample import Items

SETTINGS = Settings(n_resamples=60)
OF_ORDER = ("auroc", "average_precision", "eer", "min_dcf", *TPR_AT_FPR)
ONE_CLASS_HAS = {0: {"accuracy", "specificity"}, 1: {"accuracy", "recall"}}


def scored(target: np.ndarray, logit: np.ndarray, group: np.ndarray) -> Items:
    prob = 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
    return Items(target, group, (prob >= 0.5).astype(int), logit, logit, prob)


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
    return scored(target, logits[kind], group)


KINDS = ("usual", "reversed", "perfect", "all wrong", "ties", "constant", "all real", "all fake")
KINDS += ("saturated", "one real on top")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_groups", "n_each"), [(10, 1), (12, 8), (80, 2)])
def test_an_interval_contains_its_point_or_is_missing_with_a_reason(
    kind: str, n_groups: int, n_each: int
) -> None:
    items = sample(kind, n_groups, n_each)
    for name, found in estimate_all(items, SETTINGS).items():
        check(name, found)
        if found.value is not None:
            value = point_values(items, SETTINGS)[name]
            assert found.value == value, name


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


@pytest.mark.parametrize("n_groups", [1, 9])
def test_few_groups_have_a_point_without_an_interval(n_groups: int) -> None:
    for name, found in estimate_all(sample("usual", n_groups, 30), SETTINGS).items():
        if name == "precision" and n_groups == 9:
            continue  # of 18 groups, real and fake, with an item called fake
        assert found.low is None, name
        assert found.reason, name
        assert found.is_defined or name == "tpr_at_fpr_1pct"


@pytest.mark.parametrize("kind", KINDS)
def test_the_point_is_the_resample_of_weight_one(kind: str) -> None:
    items = sample(kind, 60, 2)
    points = {
        name: value
        for name, value in point_values(items, SETTINGS).items()
        if name != "eer_threshold"
    }
    found = resample(items, np.ones((1, items.n_groups), dtype=int), list(points))
    for name, value in points.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("change", [np.arctan, lambda x: 5 * x**3 - 2, np.exp])
def test_monotone_maps_leave_the_metrics_of_order_alone(
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    items = sample("ties", 120, 1)
    mapped = replace(items, score=change(items.score))
    before, after = (estimate_all(one, SETTINGS) for one in (items, mapped))
    for name in (*OF_ORDER, *OF_DECISIONS):
        assert before[name] == after[name], name


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
        for metric in (measures.cllr, measures.act_dcf):
            with pytest.raises(ValueError, match="logit holds NaN or infinity"):
                metric(items.target, logit)
        for metric in (measures.brier, measures.log_loss, measures.ece):
            with pytest.raises(ValueError, match=r"NaN|contains|outside|less|greater"):
                metric(items.target, logit)
