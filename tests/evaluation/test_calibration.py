"""Thresholds and calibration maps that follow from a sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.evaluation.calibration import LEAST_SCALE, fit_scaling
from earwitness.metrics.measures import measure
from earwitness.metrics.sample import Costs, Options
from earwitness.metrics.sweep import threshold_at_cost, threshold_at_fpr

samples = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=40
).filter(lambda rows: {target for target, _ in rows} == {0, 1})


@given(rows=samples, fpr=st.sampled_from([0.1, 0.3, 0.5]))
def test_no_lower_score_keeps_the_rate(rows: list[tuple[int, int]], fpr: float) -> None:
    target, score = np.array(rows).T
    reals = score[target == 0]
    found = threshold_at_fpr(target, score, fpr)
    if len(reals) < 1 / fpr:
        assert math.isnan(found)
        return
    kept = [s for s in set(score.tolist()) if (reals >= s).mean() <= fpr + 1e-12]
    assert found == (min(kept) if kept else math.inf)


@given(rows=samples, c_miss=st.sampled_from([0.1, 1.0, 30.0]))
def test_the_cheapest_threshold_costs_the_least(rows: list[tuple[int, int]], c_miss: float) -> None:
    target, score = np.array(rows).T
    costs = Costs(c_miss=c_miss)
    found = threshold_at_cost(target, score, costs)
    called = score >= found
    cost = costs.normalised(float(called[target == 0].mean()), float((~called[target == 1]).mean()))
    assert cost == pytest.approx(measure("min_dcf", target, score, Options(costs)))


def test_one_class_has_no_threshold_and_no_map() -> None:
    assert math.isnan(threshold_at_cost([1, 1], [0.1, 0.2], Costs()))
    assert math.isnan(fit_scaling([1, 1], [0.1, 0.2], "platt")[0])


def test_the_map_that_made_the_scores_is_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000) * 2
    target = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(int)
    scale, offset = fit_scaling(target, (true - 0.7) / 0.3, "platt")
    assert (scale, offset) == pytest.approx((0.3, 0.7), abs=0.05)
    scale, offset = fit_scaling(target, true / 0.3, "temperature")
    assert scale == pytest.approx(0.3, abs=0.02)
    assert offset == 0


def test_separable_samples_have_a_finite_map_and_upside_down_ones_none() -> None:
    target, logit = np.repeat([0, 1], 20), np.repeat([-1.0, 1.0], 20)
    scale, _ = fit_scaling(target, logit, "platt")
    assert 1 < scale < 10
    assert fit_scaling(target, -logit, "platt")[0] == pytest.approx(LEAST_SCALE)
