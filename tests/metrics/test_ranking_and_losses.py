"""What must hold for any scores, and what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import assume, given
from hypothesis import strategies as st

from earwitness.metrics import measures, sweep
from earwitness.metrics.sample import Costs

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-40, 40)), min_size=2, max_size=60)


def two_classes(drawn: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    target, score = np.array(drawn).T
    assume(0 < target.sum() < len(target))
    return target, score / 8


@given(rows)
def test_monotone_maps_change_nothing_about_the_order(drawn: list[tuple[int, int]]) -> None:
    target, score = two_classes(drawn)
    for mapped in (np.exp(score), score**3 + 5, 1 / (1 + np.exp(-score))):
        for figure in (measures.auroc, measures.average_precision, measures.eer, measures.min_dcf):
            assert figure(target, mapped) == pytest.approx(figure(target, score), abs=1e-12)


@given(rows)
def test_flipping_labels_and_scores_together_changes_nothing(drawn: list[tuple[int, int]]) -> None:
    target, score = two_classes(drawn)
    for figure in (measures.auroc, measures.eer, measures.cllr):
        assert figure(1 - target, -score) == pytest.approx(figure(target, score), abs=1e-12)
    swapped = Costs(p_fake=0.5, c_false_alarm=10, c_miss=1)
    costs = Costs(p_fake=0.5, c_false_alarm=1, c_miss=10)
    turned = measures.min_dcf(1 - target, -score, swapped)
    assert turned == pytest.approx(measures.min_dcf(target, score, costs), abs=1e-12)


@given(rows, st.data())
def test_weights_are_repeated_rows(drawn: list[tuple[int, int]], data: st.DataObject) -> None:
    target, score = two_classes(drawn)
    n = len(target)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    again, repeated = np.repeat(target, weights), np.repeat(score, weights)
    assume(measures.has_both(again))
    weighted = sweep.count_steps(sweep.rank(target, score), np.stack([weights, weights]))
    pairs = {
        measures.auroc: sweep.auroc(weighted),
        measures.average_precision: sweep.average_precision(weighted),
        measures.eer: sweep.eer(weighted),
        measures.min_dcf: sweep.min_dcf(weighted, Costs()),
    }
    for figure, found in pairs.items():
        assert found == pytest.approx(np.full(2, figure(again, repeated)), abs=1e-12)


def test_auroc_under_a_half_is_not_folded() -> None:
    assert measures.auroc([0, 0, 1, 1], [3, 4, 1, 2]) == 0


def test_one_class_alone_is_nan_everywhere() -> None:
    for target in ([1, 1, 1], [0, 0, 0], []):
        score = np.linspace(0.1, 0.9, len(target))
        for figure in (
            *(measures.auroc, measures.average_precision, measures.eer, measures.eer_threshold),
            *(measures.min_dcf, measures.cllr, measures.act_dcf),
            *(measures.brier, measures.log_loss, measures.ece),
        ):
            assert math.isnan(figure(target, score)), figure
        assert math.isnan(measures.tpr_at_fpr(target, score, 0.5))


@pytest.mark.parametrize(("fpr", "n_real"), [(0.01, 100), (0.05, 20)])
def test_tpr_at_fpr_takes_enough_reals(fpr: float, n_real: int) -> None:
    score = np.arange(n_real + 2) / 2  # reals below, one fake under the top real and one above
    target = np.r_[np.zeros(n_real - 1), 1, 0, 1]
    assert measures.tpr_at_fpr(target, score, fpr) == 1
    assert math.isnan(measures.tpr_at_fpr(target[1:], score[1:], fpr))
    stricter = sweep.count_steps(sweep.rank(target, score))
    assert float(sweep.tpr_at_fpr(stricter, fpr / 2)) == 0.5


def test_rates_are_never_below_what_scikit_learn_reaches() -> None:
    rng = np.random.default_rng(0)
    target, score = rng.integers(0, 2, 500), rng.integers(0, 30, 500)
    fpr, tpr, _ = reference.roc_curve(target, score, drop_intermediate=False)
    ours = sweep.count_steps(sweep.rank(target, score))
    assert ours.fpr == pytest.approx(fpr)
    assert ours.tpr == pytest.approx(tpr)


def test_constant_scores() -> None:
    target, score = [0, 0, 1, 1, 1], [0.3] * 5
    assert measures.auroc(target, score) == 0.5
    assert measures.eer(target, score) == 0.5
    assert measures.eer_threshold(target, score) == 0.3
    assert measures.min_dcf(target, score) == 1
    assert measures.cllr(target, [0.0] * 5) == 1


def test_ece_by_hand() -> None:
    target, prob = [0, 1, 1, 1, 0], [0.1, 0.3, 0.9, 1.0, 0.5]
    # two bins: [0, 0.5) holds 0.1 and 0.3, [0.5, 1] the rest
    assert measures.ece(target, prob, 2) == pytest.approx((abs(0.4 - 1) + abs(2.4 - 2)) / 5)
    assert list(measures.bin_of([0.0, 0.5, 1.0], 2)) == [0, 1, 1]


def test_certain_and_wrong_is_finite() -> None:
    assert measures.log_loss([0, 1], [0.0, 0.0]) == pytest.approx(-math.log(measures.CLIP) / 2)
    assert measures.logits([0.0, 0.5, 1.0]) == pytest.approx([-36.0437, 0, 36.0437], abs=1e-4)


def test_items_of_the_losses_average_to_the_figures() -> None:
    target, prob = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.4, 0.6])
    assert measures.log_losses(target, prob).mean() == pytest.approx(
        measures.log_loss(target, prob)
    )


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="p_fake 1, expected a number between 0 and 1"):
        Costs(p_fake=1)
    with pytest.raises(ValueError, match="c_miss 0, expected numbers above 0"):
        Costs(c_miss=0)
    with pytest.raises(ValueError, match="NaN or infinity, expected finite"):
        measures.eer([0, 1], [0.0, math.nan])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        measures.eer([0, 1], [0.0])
    with pytest.raises(ValueError, match="fpr 0, expected a number between"):
        measures.tpr_at_fpr([0, 1], [0, 1], 0)
