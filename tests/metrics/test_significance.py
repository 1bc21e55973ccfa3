from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from earwitness.core.estimate import TOO_FEW_GROUPS
from earwitness.metrics import resampling
from earwitness.metrics.intervals import NO_VARIATION
from earwitness.metrics.measures import point_values
from earwitness.metrics.sample import Items


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
    found = resampling.auroc_difference(first, second)
    assert (found.low + found.high) / 2 == pytest.approx(f1.mean() - f2.mean())
    assert (found.high - found.low) / 2 == pytest.approx(error * t.ppf(0.975, 39), rel=1e-3)


def test_copies_within_a_group_make_nothing_surer() -> None:
    first, second = pair(1, n_each=1, better=0.5)
    rows = np.repeat(np.arange(len(first)), 6)
    once = resampling.auroc_difference(first, second)
    again = resampling.auroc_difference(first.where(rows), second.where(rows))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    swaps = resampling.compare_by_swaps(first, second, ["accuracy", "brier"], seed=0)
    copied = resampling.compare_by_swaps(
        first.where(rows), second.where(rows), ["accuracy", "brier"], seed=0
    )
    assert copied["accuracy"].p == pytest.approx(swaps["accuracy"].p)
    assert copied["brier"].p == pytest.approx(swaps["brier"].p)


def test_the_order_of_the_detectors_turns_the_sign_alone() -> None:
    first, second = pair(2, better=1.0)
    there, back = (
        resampling.auroc_difference(first, second),
        resampling.auroc_difference(second, first),
    )
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    names = ["auroc", "f1", "eer", "cllr"]
    there, back = (
        resampling.compare_by_swaps(*both, names, seed=3, n_swaps=200)
        for both in ((first, second), (second, first))
    )
    for name in names:
        assert back[name].value == pytest.approx(-there[name].value)
        assert back[name].p == there[name].p


def test_a_great_difference_is_seen_by_both() -> None:
    first, second = pair(3, better=3.0)
    names = ["auroc", "accuracy", "eer", "log_loss"]
    found = resampling.compare_by_swaps(first, second, names, seed=0)
    assert found["auroc"].low > 0
    assert found["auroc"].low < found["auroc"].value < found["auroc"].high
    assert all(difference.p < 0.01 for difference in found.values())
    ours, theirs = point_values(first), point_values(second)
    for name in names:
        assert found[name].value == pytest.approx(ours[name] - theirs[name]), name


def test_a_monotone_map_of_one_detector_changes_nothing_about_order() -> None:
    first, second = pair(4, better=0.5)
    mapped = replace(second, score=np.exp(second.score) * 1000)
    names = ["eer", "average_precision", "auroc"]
    plain = resampling.compare_by_swaps(first, second, names, seed=0, n_swaps=100)
    assert resampling.compare_by_swaps(first, mapped, names, seed=0, n_swaps=100) == plain


def test_why_there_is_no_p() -> None:
    first, second = pair(5, n_groups=9)
    assert resampling.auroc_difference(first, second).reason == TOO_FEW_GROUPS
    first, _ = pair(5)
    assert resampling.auroc_difference(first, first).reason == NO_VARIATION
    alike = resampling.compare_by_swaps(first, first, ["accuracy"], seed=0, n_swaps=50)
    assert alike["accuracy"].p == 1
    fakes = first.where(first.target == 1)
    found = resampling.compare_by_swaps(fakes, fakes, ["specificity"], seed=0, n_swaps=5)
    assert found["specificity"].reason == "undefined for one of the detectors"
    with pytest.raises(ValueError, match="expected the same items in the same order"):
        resampling.compare_by_swaps(first, fakes, ["accuracy"], seed=0)


def test_holm_by_hand() -> None:
    assert resampling.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = resampling.holm([0.6, math.nan, 0.9])
    assert corrected == pytest.approx([1, math.nan, 1], nan_ok=True)
    assert resampling.holm([]) == []


@pytest.mark.parametrize("n_groups", [12, 30])
def test_equal_detectors_are_seldom_told_apart(n_groups: int) -> None:
    n_without_0 = 0
    n_rejected = {"auroc": 0, "accuracy": 0}
    for seed in range(150):
        first, second = pair(seed, n_groups=n_groups)
        for name, found in resampling.compare_by_swaps(
            first, second, list(n_rejected), seed=seed, n_swaps=199
        ).items():
            n_rejected[name] += found.p < 0.05
        interval = resampling.auroc_difference(first, second)
        n_without_0 += interval.low > 0 or interval.high < 0
    assert n_without_0 <= 16
    assert max(n_rejected.values()) <= 16
