from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from earwitness.core.estimate import MIN_GROUPS, TOO_FEW_GROUPS
from earwitness.metrics import intervals
from earwitness.metrics.intervals import (
    Interval,
    Placements,
    clustered_variance,
    place,
)
from earwitness.metrics.measures import measure
from earwitness.metrics.sample import Items, numbered

HALVES = (0.5, 0.5)


def auroc_interval(target: np.ndarray, score: np.ndarray, group: np.ndarray) -> Interval:
    return intervals.auroc_interval(Items(target, numbered(group), score=score))


def placements_of(target: np.ndarray, score: np.ndarray) -> Placements:
    return place(Items(target, np.arange(len(target)), score=score))


def clustered(
    seed: int, *, n_groups: int, n_each: int, shift: float = 1.5, both: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that share half their variance within a group."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), n_each)
    shared = rng.normal(size=(2, n_groups))
    real = shared[0][group] + rng.normal(size=len(group))
    fake = shared[0 if both else 1][group] + rng.normal(size=len(group)) + shift
    target = np.repeat([0, 1], len(group))
    groups = np.r_[group, group if both else group + n_groups]
    return target, np.r_[real, fake], groups


def test_placements_average_to_auroc_ties_and_all() -> None:
    rng = np.random.default_rng(3)
    target, score = rng.integers(0, 2, 80), rng.integers(0, 6, 80).astype(float)
    placements = placements_of(target, score)
    assert placements.mean == pytest.approx(measure("auroc", target, score))
    assert placements.of_reals.mean() == pytest.approx(measure("auroc", target, score))


def test_groups_of_one_give_delongs_variance() -> None:
    target, score, _ = clustered(0, n_groups=30, n_each=1)
    placements = placements_of(target, score)
    delong = placements.of_fakes.var(ddof=1) / 30 + placements.of_reals.var(ddof=1) / 30
    found, _ = clustered_variance(placements, target, np.arange(60))
    assert found == pytest.approx(delong)


def test_copies_within_a_group_add_nothing() -> None:
    target, score, group = clustered(1, n_groups=25, n_each=1)
    once = auroc_interval(target, score, group)
    copies = [np.repeat(values, 7) for values in (target, score, group)]
    again = auroc_interval(*copies)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    loose = auroc_interval(copies[0], copies[1], np.arange(len(copies[0])))
    assert loose.high - loose.low < 0.5 * (once.high - once.low)


def test_reals_and_fakes_of_one_group_vary_together() -> None:
    target, score, group = clustered(2, n_groups=40, n_each=3, both=True)
    together = auroc_interval(target, score, group)
    apart = auroc_interval(target, score, np.where(target == 1, group + 40, group))
    assert together.high - together.low < 0.8 * (apart.high - apart.low)


def test_a_perfect_order_has_an_exact_bound_from_its_groups() -> None:
    target = np.repeat([0, 1], 60)
    score = target.astype(float)
    group = np.r_[np.arange(60) % 20, 20 + np.arange(60) % 30]
    found = auroc_interval(target, score, group)
    assert (found.low, found.high) == (pytest.approx(0.05 ** (1 / 20)), 1.0)
    assert "one-sided" in str(found.method)
    turned = auroc_interval(target, -score, group)
    assert (turned.low, turned.high) == (0.0, pytest.approx(1 - 0.05 ** (1 / 20)))
    shared = auroc_interval(target, score, np.arange(120) % 30)
    assert shared.low == pytest.approx(0.05 ** (1 / 15))


def test_too_few_groups_and_no_variation() -> None:
    target, score, group = clustered(0, n_groups=9, n_each=50)
    assert auroc_interval(target, score, group).reason == TOO_FEW_GROUPS
    hit = np.ones(90, int)
    assert intervals.rate_interval(hit, np.arange(90) % 9).reason == TOO_FEW_GROUPS
    mixed = intervals.mixed_interval(hit, np.repeat([0, 1], 45), np.arange(90) // 9, HALVES)
    assert mixed.reason == TOO_FEW_GROUPS
    constant = auroc_interval(np.repeat([0, 1], 20), np.ones(40), np.arange(40))
    assert constant.reason == intervals.NO_VARIATION
    assert math.isnan(constant.low)


@pytest.mark.parametrize(
    ("n_real", "n_fake", "reason"),
    [
        (73, MIN_GROUPS, None),
        (73, MIN_GROUPS - 1, TOO_FEW_GROUPS),
        (72, MIN_GROUPS, f"{TOO_FEW_GROUPS} of reals: 5 % needs 73, here 72"),
    ],
)
def test_tpr_at_fpr_needs_enough_groups_of_each_class(
    n_real: int, n_fake: int, reason: str | None
) -> None:
    target = np.repeat([0, 1], [n_real, n_fake])
    items = Items(target, np.arange(len(target)), score=np.arange(len(target)) % 50 + target)
    assert intervals.tpr_interval(items, 0.05).reason == reason


def test_independent_items_have_wilsons_interval() -> None:
    hit = np.r_[np.ones(700, int), np.zeros(300, int)]
    found = intervals.rate_interval(hit, np.arange(1000))
    z, n, share = norm.ppf(0.975), 1000, 0.7
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    assert (found.low + found.high) / 2 == pytest.approx(centre, abs=2e-4)
    assert found.low == pytest.approx(0.6709, abs=2e-4)


def test_a_rate_counts_groups_not_items() -> None:
    once = np.r_[np.ones(30, int), np.zeros(20, int)]
    single = intervals.rate_interval(once, np.arange(50))
    copied = intervals.rate_interval(np.repeat(once, 9), np.repeat(np.arange(50), 9))
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))


def test_a_rate_of_one_is_as_sure_as_its_groups() -> None:
    found = intervals.rate_interval(np.ones(400, int), np.arange(400) % 40)
    assert found.high == 1
    assert found.low == pytest.approx(40 / (40 + norm.ppf(0.975) ** 2))
    assert found.low < beta.ppf(0.05, 40, 1)


def test_balanced_accuracy_takes_both_classes() -> None:
    rng = np.random.default_rng(5)
    target, group = np.repeat([0, 1], 200), np.arange(400)
    hit = (rng.random(400) < np.where(target == 1, 0.6, 0.9)).astype(int)
    found = intervals.mixed_interval(hit, target, group, HALVES)
    shares = hit[target == 0].mean(), hit[target == 1].mean()
    error = math.sqrt(sum(p * (1 - p) / 200 for p in shares)) / 2
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert found.low < sum(shares) / 2 < found.high


def test_one_sure_class_does_not_make_the_mean_sure() -> None:
    target = np.repeat([0, 1], 50)
    found = intervals.mixed_interval(1 - target, target, np.arange(100), HALVES)
    assert found.low < 0.49
    assert found.high > 0.51


def test_shared_groups_correlate_recall_and_specificity() -> None:
    rng = np.random.default_rng(6)
    good = rng.integers(0, 2, 60)
    target, group, hit = np.repeat([0, 1], 60), np.tile(np.arange(60), 2), np.tile(good, 2)
    together = intervals.mixed_interval(hit, target, group, HALVES)
    apart = intervals.mixed_interval(hit, target, np.arange(120), HALVES)
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40)), min_size=10, max_size=80))
def test_a_rate_is_in_its_interval(rows: list[tuple[int, int]]) -> None:
    hit, group = np.array(rows).T
    found = intervals.rate_interval(hit, numbered(group))
    if found.reason is None:
        assert 0 <= found.low <= hit.mean() <= found.high <= 1


def test_ninety_five_percent_cover_the_truth() -> None:
    truth, n_covered = norm.cdf(1.5 / 2), 0  # scores of both classes have variance 2
    for seed in range(300):
        found = auroc_interval(*clustered(seed, n_groups=50, n_each=4))
        n_covered += found.low <= truth <= found.high
    assert 0.91 <= n_covered / 300 <= 0.985


def test_a_variance_of_few_groups_has_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(0)
    target, group = np.repeat([0, 1], 400), np.arange(800)
    freedom = {}
    for shift in (0.5, 4.0):
        score = rng.normal(size=800) + shift * target
        _, freedom[shift] = clustered_variance(placements_of(target, score), target, group)
    assert freedom[0.5] > 400
    assert freedom[4.0] < 60


@pytest.mark.parametrize("n_groups", [12, 20, 50])
def test_heavy_tailed_groups_near_1_are_covered(n_groups: int) -> None:
    rng = np.random.default_rng(0)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group = np.repeat(np.arange(2 * size), 4)
        target = (group >= size).astype(int)
        common = rng.standard_t(2.5, 2 * size)[group]
        return target, common + rng.normal(size=len(group)) + 8 * target, group

    truth = measure("auroc", *draw(100_000)[:2])
    assert truth == pytest.approx(0.988, abs=0.004)
    found = [auroc_interval(*draw(n_groups)) for _ in range(150)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.91


def test_few_independent_items_near_1_have_no_absurd_interval() -> None:
    target, score = np.repeat([0, 1], 12), np.arange(24.0)
    score[[11, 14]] = score[[14, 11]]
    found = auroc_interval(target, score, np.arange(24))
    assert 0.6 < found.low < found.high < 1


def test_a_score_interval_contains_its_point_at_any_bounds() -> None:
    for value in (-1.0, -0.999, 0.0, 0.5, 1.0):
        found = intervals.score_interval(value, 0.01, 3, 12, bounds=(-1, 1))
        assert -1 <= found.low <= value <= found.high <= 1
        assert found.low < found.high
