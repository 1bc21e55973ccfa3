from __future__ import annotations

import numpy as np
import pytest

from earwitness.core.estimate import TOO_FEW_GROUPS
from earwitness.metrics.compute import compute
from earwitness.metrics.intervals import NO_VARIATION
from earwitness.metrics.measures import METRICS, measure, point_values
from earwitness.metrics.resampling import bootstrap_intervals, draw_weights
from earwitness.metrics.sample import Items, Options, numbered

ALL = tuple(METRICS)


def sample(n: int = 200, n_groups: int = 60, seed: int = 0, shift: float = 1.0) -> Items:
    rng = np.random.default_rng(seed)
    target = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    logit = np.round(rng.normal(size=n) * 2 + shift * (target - 0.5), 1)
    prob = 1 / (1 + np.exp(-logit))
    group = numbered(rng.integers(0, n_groups, n))
    return Items(target, group, (prob >= 0.5).astype(int), logit, logit, prob)


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


def test_intervals_hold_the_figure_and_follow_the_seed() -> None:
    items = sample(600, 200)
    found = bootstrap_intervals(items, ALL, seed=7, n_resamples=300)
    assert found == bootstrap_intervals(items, ALL, seed=7, n_resamples=300)
    assert found != bootstrap_intervals(items, ALL, seed=8, n_resamples=300)
    expected = point_values(items)
    for name in set(ALL) - {"eer_threshold", "act_dcf"}:  # not between 0 and 1, not bootstrapped
        assert found[name].low < expected[name] < found[name].high, name
    assert found["f1"].method == "group bootstrap, 300 resamples"


def test_copies_within_a_group_add_nothing() -> None:
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
