from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from earwitness.core.estimate import TOO_FEW_GROUPS
from earwitness.metrics.two_samples import (
    N_PERMUTATIONS,
    compare_distributions,
    compare_means,
    compare_shares,
)

LEAST_P = 1 / (1 + N_PERMUTATIONS)


def test_statistics_are_those_of_the_two_samples() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=30), rng.normal(0.5, 2, size=50)
    values, side = np.concatenate([first, second]), np.repeat([0, 1], [30, 50])
    group = np.arange(80)
    means = compare_means(values, side, group)
    assert means.value == pytest.approx(second.mean() - first.mean())
    distance = compare_distributions(values, side, group)
    assert distance.value == pytest.approx(ks_2samp(first, second).statistic)
    codecs = np.repeat(["mp3", "aac", "mp3", "opus"], [20, 10, 20, 30])
    shares = compare_shares(codecs, side, group)  # mp3 2/3 and 2/5, aac 1/3 and 0, opus 0 and 3/5
    assert shares.value == pytest.approx((2 / 3 - 2 / 5 + 1 / 3 + 3 / 5) / 2)


def test_p_values_of_pairs_are_those_of_all_swaps() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=12)
    after = before + rng.normal(0.3, 0.5, size=12)
    values, side = np.concatenate([before, after]), np.repeat([0, 1], 12)
    found = compare_means(values, side, np.tile(np.arange(12), 2))
    change = after - before
    means = [
        abs(np.mean(np.multiply(signs, change))) for signs in itertools.product([1, -1], repeat=12)
    ]
    exact = np.mean(np.array(means) >= abs(change.mean()) - 1e-12)
    assert found.p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / N_PERMUTATIONS))


def test_groups_stay_together() -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(24), 25)
    values, side = rng.normal(size=24)[group], group % 2
    as_groups, as_items = (
        float(compare_means(values, side, which).p or 0) for which in (group, np.arange(len(group)))
    )
    assert as_items == pytest.approx(LEAST_P)  # 600 items look like much evidence
    assert as_groups > 20 * as_items
    assert as_groups == compare_means(values[::25], side[::25], np.arange(24)).p


def test_the_same_twice_is_no_shift() -> None:
    values = np.tile(np.random.default_rng(3).normal(size=40), 2)
    side, group = np.repeat([0, 1], 40), np.tile(np.arange(40), 2)
    for compare in (compare_means, compare_distributions, compare_shares):
        assert compare(values, side, group) == (0.0, 1.0, None)


def test_few_groups_have_no_test() -> None:
    side = np.repeat([0, 1], [9, 30])
    found = compare_means(np.arange(39), side, np.arange(39))
    assert (found.p, found.reason) == (None, TOO_FEW_GROUPS)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(4)
    given = rng.normal(size=60), np.arange(60) % 2, np.arange(60)
    assert compare_means(*given, seed=1) == compare_means(*given, seed=1)
    assert compare_means(*given, seed=1).p != compare_means(*given, seed=2).p
