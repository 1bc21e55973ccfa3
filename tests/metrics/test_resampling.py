from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics.compute import compute
from earwitness.metrics.intervals import NO_VARIATION
from earwitness.metrics.measures import METRICS, measure, point_values
from earwitness.metrics.resampling import (
    auroc_difference,
    bootstrap_intervals,
    compare_by_swaps,
    draw_weights,
    holm,
)
from earwitness.metrics.sample import Items, Options, numbered

ALL = tuple(METRICS)


def sample(n: int = 200, n_groups: int = 60, seed: int = 0, shift: float = 1.0) -> Items:
    rng = np.random.default_rng(seed)
    target = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    logit = np.round(rng.normal(size=n) * 2 + shift * (target - 0.5), 1)
    prob = 1 / (1 + np.exp(-logit))
    group = numbered(rng.integers(0, n_groups, n))
    call = (prob >= 0.5).astype(int)
    return Items(target, group, call, logit, logit, prob, logit, call)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    items = sample()
    weights = draw_weights(items, 50, np.random.default_rng(1))
    whole = compute(items, weights, METRICS)
    for limit in ("ITEMS_AT_ONCE", "GROUPS_AT_ONCE"):
        monkeypatch.setattr(f"earwitness.metrics.compute.{limit}", 3 * len(items))
    parts = compute(items, weights, METRICS)
    for name in ALL:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12)


def test_groups_are_drawn_whole_and_within_strata() -> None:
    group = np.r_[np.arange(10), np.arange(10, 30), np.repeat(np.arange(30, 45), 2)]
    target = np.r_[np.zeros(10, int), np.ones(20, int), np.tile([0, 1], 15)]
    weights = draw_weights(Items(target, group), 500, np.random.default_rng(0))
    assert (weights[:, :10].sum(axis=1) == 10).all()
    assert (weights[:, 10:30].sum(axis=1) == 20).all()
    assert (weights[:, 30:].sum(axis=1) == 15).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(45), abs=0.2)
    assert weights[:, 10:30].var() == pytest.approx(0.95, abs=0.05)


def test_intervals_contain_the_value_and_follow_the_seed() -> None:
    items = sample(600, 200)
    found = bootstrap_intervals(items, ALL, seed=7, n_resamples=300)
    assert found == bootstrap_intervals(items, ALL, seed=7, n_resamples=300)
    assert found != bootstrap_intervals(items, ALL, seed=8, n_resamples=300)
    expected = point_values(items)
    for name in set(ALL) - {"eer_threshold", "act_dcf", "coverage"}:  # unbounded, or 1
        assert found[name].low < expected[name] < found[name].high, name
    assert found["f1"].method == "group bootstrap, 300 resamples"


def test_copies_within_a_group_do_not_narrow_an_interval() -> None:
    items = sample(100, 10_000)
    copied = items.where(np.repeat(np.arange(100), 5))
    names = ("brier", "eer", "f1")
    once = bootstrap_intervals(items, names, seed=0, n_resamples=200)
    again = bootstrap_intervals(copied, names, seed=0, n_resamples=200)
    for name in names:
        assert (again[name].low, again[name].high) == pytest.approx(
            (once[name].low, once[name].high)
        )


def test_why_there_is_no_interval() -> None:
    few = sample(100, 9)
    assert bootstrap_intervals(few, ["f1"], seed=0)["f1"].reason == TOO_FEW_GROUPS
    target = np.repeat([0, 1], 30)
    constant = Items(target, np.arange(60), score=np.ones(60))
    found = bootstrap_intervals(constant, ["eer", "average_precision"], seed=0, n_resamples=50)
    assert found["eer"].reason == found["average_precision"].reason == NO_VARIATION
    rare = Items(target, np.arange(60), np.r_[np.zeros(59, int), 1])
    reason = bootstrap_intervals(rare, ["precision"], seed=0, n_resamples=200)["precision"].reason
    assert reason is not None
    assert reason.startswith("undefined in ")


def test_what_never_happened_is_bounded_by_the_groups() -> None:
    target = np.repeat([0, 1], 30)
    perfect = Items(target, np.arange(60), target, target.astype(float))
    found = bootstrap_intervals(perfect, ["eer", "f1", "mcc"], seed=0, n_resamples=50)
    z = 1.959964
    assert (found["eer"].low, found["eer"].high) == (0, pytest.approx(z**2 / (30 + z**2)))
    assert (found["f1"].low, found["f1"].high) == (pytest.approx(30 / (30 + z**2)), 1)
    assert found["mcc"].low == pytest.approx(1 - 2 * z**2 / (30 + z**2))


def test_a_calibrated_detector_may_have_no_calibration_error() -> None:
    rng = np.random.default_rng(3)
    n_zero = 0
    for seed in range(30):
        prob = rng.random(300)
        target = (rng.random(300) < prob).astype(int)
        items = Items(target, np.arange(300), prob=prob)
        found = bootstrap_intervals(items, ["ece"], seed=seed, n_resamples=200)["ece"]
        point = measure("ece", target, prob)
        assert found.low <= point <= found.high
        n_zero += found.low == 0
    assert n_zero >= 26
    wrong = Items(target, np.arange(300), prob=np.where(target == 1, 0.2, 0.7) + prob / 10)
    assert bootstrap_intervals(wrong, ["ece"], seed=0, n_resamples=200)["ece"].low > 0.5


def test_the_upper_end_of_min_dcf_allows_for_its_optimism() -> None:
    items = sample(60, 60, seed=2, shift=1.5)
    found = bootstrap_intervals(items, ["min_dcf"], seed=0, n_resamples=300)["min_dcf"]
    weights = draw_weights(items, 300, np.random.default_rng(0))
    optimism = METRICS["min_dcf"].bias(items, Options())
    extra = compute(items, weights, {"optimism": optimism})["optimism"]
    assert extra.mean() > 0.02
    assert found.low <= measure("min_dcf", items.target, items.score) <= found.high <= 1


def pair(
    seed: int, *, n_groups: int = 40, n_each: int = 4, better: float = 0.0
) -> tuple[Items, Items]:
    """Two detectors on the same clustered items; the first may be better."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(2 * n_groups), n_each)
    target = (group >= n_groups).astype(int)

    def detector(shift: float) -> Items:
        own = rng.normal(size=2 * n_groups)[group] + rng.normal(size=len(group))
        logit = own + shift * (target - 0.5)
        prob = 1 / (1 + np.exp(-logit))
        return Items(target, group, (logit >= 0).astype(int), logit, logit, prob)

    return detector(1.5 + better), detector(1.5)


def test_delong_by_hand_on_independent_items() -> None:
    first, second = pair(0, n_each=1)
    fake, real = first.target == 1, first.target == 0

    def placed(items: Items) -> tuple[np.ndarray, np.ndarray]:
        order = items.score[fake][:, None] > items.score[real][None, :]
        return order.mean(axis=1), order.mean(axis=0)

    (f1, r1), (f2, r2) = placed(first), placed(second)
    error = math.sqrt((f1 - f2).var(ddof=1) / fake.sum() + (r1 - r2).var(ddof=1) / real.sum())
    found = auroc_difference(first, second)
    assert (found.low + found.high) / 2 == pytest.approx(f1.mean() - f2.mean())
    assert (found.high - found.low) / 2 == pytest.approx(error * t.ppf(0.975, 39), rel=1e-3)


def test_copies_within_a_group_make_nothing_surer() -> None:
    first, second = pair(1, n_each=1, better=0.5)
    rows = np.repeat(np.arange(len(first)), 6)
    once = auroc_difference(first, second)
    again = auroc_difference(first.where(rows), second.where(rows))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    swaps = compare_by_swaps(first, second, ["accuracy", "brier"], seed=0)
    copied = compare_by_swaps(first.where(rows), second.where(rows), ["accuracy", "brier"], seed=0)
    assert copied["accuracy"].p == pytest.approx(swaps["accuracy"].p)
    assert copied["brier"].p == pytest.approx(swaps["brier"].p)


def test_the_order_of_the_detectors_turns_the_sign_alone() -> None:
    first, second = pair(2, better=1.0)
    there, back = (
        auroc_difference(first, second),
        auroc_difference(second, first),
    )
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    names = ["auroc", "f1", "eer", "cllr"]
    there, back = (
        compare_by_swaps(*both, names, seed=3, n_swaps=200)
        for both in ((first, second), (second, first))
    )
    for name in names:
        assert back[name].value == pytest.approx(-there[name].value)
        assert back[name].p == there[name].p


def test_a_great_difference_is_seen_by_both() -> None:
    first, second = pair(3, better=3.0)
    names = ["auroc", "accuracy", "eer", "log_loss"]
    found = compare_by_swaps(first, second, names, seed=0)
    assert found["auroc"].low > 0
    assert found["auroc"].low < found["auroc"].value < found["auroc"].high
    assert all(difference.p < 0.01 for difference in found.values())
    ours, theirs = point_values(first), point_values(second)
    for name in names:
        assert found[name].value == pytest.approx(ours[name] - theirs[name]), name


@pytest.mark.parametrize("n_changed", [14, 20, 40])
def test_a_difference_beyond_all_swaps_may_survive_the_correction_of_many_tests(
    n_changed: int,
) -> None:
    first, _ = pair(3, n_groups=60)
    right = replace(first, decision=first.target)
    some = (first.group < n_changed) & (np.r_[-1, first.group[:-1]] != first.group)
    wrong = replace(first, decision=np.where(some, 1 - first.target, first.target))
    p = compare_by_swaps(right, wrong, ["accuracy"], seed=0)["accuracy"].p
    exact = 2.0 ** (1 - n_changed)  # the sign test, which no approximation may go below
    assert exact <= p <= exact**0.7


def test_a_monotone_map_of_one_detector_changes_nothing_about_order() -> None:
    first, second = pair(4, better=0.5)
    mapped = replace(second, score=np.exp(second.score) * 1000)
    names = ["eer", "average_precision", "auroc"]
    plain = compare_by_swaps(first, second, names, seed=0, n_swaps=100)
    assert compare_by_swaps(first, mapped, names, seed=0, n_swaps=100) == plain


def test_why_there_is_no_p() -> None:
    first, second = pair(5, n_groups=9)
    assert auroc_difference(first, second).reason == TOO_FEW_GROUPS
    assert auroc_difference(*pair(5, n_groups=MIN_GROUPS)).reason is None
    for n_groups, reason in ((MIN_GROUPS, None), (MIN_GROUPS - 1, TOO_FEW_GROUPS)):
        one, two = (items.where(items.group < n_groups) for items in pair(5))
        found = compare_by_swaps(one, two, ["accuracy"], seed=0, n_swaps=5)
        assert found["accuracy"].reason == reason
    first, _ = pair(5)
    assert auroc_difference(first, first).reason == NO_VARIATION
    alike = compare_by_swaps(first, first, ["accuracy"], seed=0, n_swaps=50)
    assert alike["accuracy"].p == 1
    fakes = first.where(first.target == 1)
    found = compare_by_swaps(fakes, fakes, ["specificity"], seed=0, n_swaps=5)
    assert found["specificity"].reason == "undefined for one of the detectors"
    with pytest.raises(ValueError, match="expected the same items in the same order"):
        compare_by_swaps(first, fakes, ["accuracy"], seed=0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.6, math.nan, 0.9])
    assert corrected == pytest.approx([1, math.nan, 1], nan_ok=True)
    assert holm([]) == []


@pytest.mark.parametrize("n_groups", [12, 30])
def test_equal_detectors_seldom_differ_significantly(n_groups: int) -> None:
    n_without_0 = 0
    n_rejected = {"auroc": 0, "accuracy": 0}
    for seed in range(150):
        first, second = pair(seed, n_groups=n_groups)
        for name, found in compare_by_swaps(
            first, second, list(n_rejected), seed=seed, n_swaps=199
        ).items():
            n_rejected[name] += found.p < 0.05
        interval = auroc_difference(first, second)
        n_without_0 += interval.low > 0 or interval.high < 0
    assert n_without_0 <= 16
    assert max(n_rejected.values()) <= 16
