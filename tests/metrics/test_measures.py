from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from earwitness.core.estimate import Counts
from earwitness.metrics import sweep
from earwitness.metrics.compute import Metric, count_decisions
from earwitness.metrics.measures import measure, measure_counts
from earwitness.metrics.sample import CLIP, Costs, Items, Options, bin_of, logits, rank
from earwitness.metrics.sweep import count_steps, last_step_at, reals_needed, tpr_at_fpr


def test_the_four_outcomes_are_counted() -> None:
    counts = count_decisions([1, 1, 1, 1, 0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1, 1, 1])
    assert counts == Counts(tp=4, tn=2, fp=3, fn=1)
    assert (counts.n, counts.n_real, counts.n_fake) == (10, 5, 5)
    assert count_decisions([], []) == Counts(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        (Counts(0, 0, 0, 0), "accuracy precision recall specificity f1 balanced_accuracy"),
        (Counts(3, 0, 0, 1), "specificity balanced_accuracy"),
        (Counts(0, 0, 0, 4), "precision specificity balanced_accuracy"),
        (Counts(0, 3, 1, 0), "recall balanced_accuracy"),
        (Counts(0, 4, 0, 0), "precision recall f1 balanced_accuracy"),
        (Counts(0, 3, 0, 1), "precision"),
        (Counts(0, 3, 1, 1), ""),
        (Counts(1, 1, 1, 1), ""),
    ],
)
def test_a_rate_without_denominator_is_nan(counts: Counts, undefined: str) -> None:
    names = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy")
    found = {name for name in names if math.isnan(measure_counts(name, counts))}
    assert found == set(undefined.split())


def test_one_class_tables_keep_the_published_conventions() -> None:
    assert measure_counts("precision", Counts(748, 0, 0, 1252)) == 1.0
    assert measure_counts("f1", Counts(748, 0, 0, 1252)) == 0.544395924308588
    assert measure_counts("precision", Counts(0, 1915, 85, 0)) == 0.0
    assert measure_counts("recall", Counts(0, 0, 0, 2000)) == 0.0
    assert measure_counts("f1", Counts(0, 5, 1, 2)) == 0.0


@pytest.mark.parametrize("target", [[0, 1, 1], [0, 0, 1]])
@pytest.mark.parametrize("called", [0, 1])
def test_mcc_is_0_if_all_decisions_are_the_same_also_with_one_item_of_a_class(
    target: list[int], called: int
) -> None:
    assert measure("mcc", target, [called] * 3) == 0


@pytest.mark.parametrize("counts", [Counts(3, 0, 0, 1), Counts(0, 3, 1, 0)])
def test_mcc_of_one_class_is_undefined(counts: Counts) -> None:
    assert math.isnan(measure_counts("mcc", counts))


def test_values_that_are_neither_real_nor_fake_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target holds more than 0 and 1: .*2"):
        count_decisions([0, 2], [0, 1])
    with pytest.raises(ValueError, match="decision holds more than 0 and 1"):
        count_decisions([0, 1], [0.5, 1])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        count_decisions([0, 1], [1])


def test_flipping_labels_and_scores_together_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    costs = Options(Costs(p_fake=0.5, c_false_alarm=1, c_miss=10))
    swapped = Options(Costs(p_fake=0.5, c_false_alarm=10, c_miss=1))
    for size in range(2, 40):
        target, score = np.r_[0, 1, rng.integers(0, 2, size)], rng.integers(-9, 9, size + 2) / 8
        for name in ("auroc", "eer", "cllr"):
            flipped = measure(name, 1 - target, -score)
            assert flipped == pytest.approx(measure(name, target, score), abs=1e-12)
        found = measure("min_dcf", 1 - target, -score, swapped)
        assert found == pytest.approx(measure("min_dcf", target, score, costs), abs=1e-12)


def test_auroc_under_a_half_is_not_folded() -> None:
    assert measure("auroc", [0, 0, 1, 1], [3, 4, 1, 2]) == 0


@pytest.mark.parametrize(("name", "fpr"), [("tpr_at_fpr_1pct", 0.01), ("tpr_at_fpr_5pct", 0.05)])
def test_tpr_at_fpr_takes_enough_reals(name: str, fpr: float) -> None:
    n_real = reals_needed(fpr)
    assert n_real == round(1 / fpr)
    score = np.arange(n_real + 2) / 2  # reals below, one fake under the top real and one above
    target = np.r_[np.zeros(n_real - 1), 1, 0, 1]
    assert measure(name, target, score) == 1
    assert math.isnan(measure(name, target[1:], score[1:]))
    assert float(tpr_at_fpr(count_steps(rank(target, score)), fpr / 2)) == 0.5


def test_rates_at_every_threshold_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target, score = rng.integers(0, 2, 500), rng.integers(0, 30, 500)
    fpr, tpr, thresholds = reference.roc_curve(target, score, drop_intermediate=False)
    steps = count_steps(rank(target, score))
    assert steps.fpr == pytest.approx(fpr)
    assert steps.tpr == pytest.approx(tpr)
    assert steps.thresholds == pytest.approx(thresholds[1:])


def test_rates_of_a_missing_class_are_nan() -> None:
    steps = count_steps(rank([1, 1], [0.1, 0.2]))
    assert np.isnan(steps.fpr).all()
    assert steps.tpr.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("name", ["auroc", "eer", "eer_threshold", "average_precision"])
def test_a_metric_of_one_sweep_has_no_leading_axes(name: str) -> None:
    rng = np.random.default_rng(1)
    target, score = rng.integers(0, 2, 50), rng.integers(0, 20, 50).astype(float)
    found = getattr(sweep, name)(count_steps(rank(target, score)))
    assert np.shape(found) == ()
    assert found == measure(name, target, score)


def test_constant_scores() -> None:
    target, score = [0, 0, 1, 1, 1], [0.3] * 5
    assert measure("auroc", target, score) == 0.5
    assert measure("eer", target, score) == 0.5
    assert measure("eer_threshold", target, score) == 0.3
    assert measure("min_dcf", target, score) == 1
    assert measure("cllr", target, [0.0] * 5) == 1


def test_ece_by_hand() -> None:
    target, prob = [0, 1, 1, 1, 0], [0.1, 0.3, 0.9, 1.0, 0.5]
    # two bins: [0, 0.5) holds 0.1 and 0.3, [0.5, 1] the rest
    by_hand = (abs(0.4 - 1) + abs(2.4 - 2)) / 5
    assert measure("ece", target, prob, Options(n_bins=2)) == pytest.approx(by_hand)
    assert list(bin_of([0.0, 0.5, 1.0], 2)) == [0, 1, 1]


def test_certain_and_wrong_is_finite() -> None:
    assert measure("log_loss", [0, 1], [0.0, 0.0]) == pytest.approx(-math.log(CLIP) / 2)
    assert measure("log_loss", [0, 1], [1.0, 1.0]) == pytest.approx(-math.log(CLIP) / 2)
    assert logits([0.0, 0.5, 1.0]) == pytest.approx([-36.0437, 0, 36.0437], abs=1e-4)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="p_fake 1, expected a number between 0 and 1"):
        Costs(p_fake=1)
    with pytest.raises(ValueError, match="p_fake 0, expected a number between 0 and 1"):
        Costs(p_fake=0)
    with pytest.raises(ValueError, match="c_miss 0, expected numbers above 0"):
        Costs(c_miss=0)
    with pytest.raises(ValueError, match="c_false_alarm 0, c_miss"):
        Costs(c_false_alarm=0)
    with pytest.raises(ValueError, match="NaN or infinity, expected finite"):
        measure("eer", [0, 1], [0.0, math.nan])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        measure("eer", [0, 1], [0.0])
    for fpr in (0, 1):
        with pytest.raises(ValueError, match=f"fpr {fpr}, expected a number between"):
            reals_needed(fpr)
    with pytest.raises(ValueError, match="mine: expected of_sums or of_steps, and not both"):
        Metric(label="mine", needs="score")


def test_thresholds_are_the_lowest_probabilities_of_ties() -> None:
    score, prob = np.array([3.0, 1.0, 1.0, 0.0]), np.array([0.9, 0.3, 0.2, 0.1])
    items = Items(np.array([1, 0, 1, 0]), np.arange(4), score=score, prob=prob)
    assert items.ranking.thresholds.tolist() == [0.9, 0.2, 0.1]


def test_a_rate_that_counts_meet_exactly_is_allowed_in_spite_of_rounding() -> None:
    assert 0.29 * 100 < 29
    target, score = np.repeat([0, 1], [100, 1]), np.append(np.arange(100.0), 70.5)
    assert tpr_at_fpr(count_steps(rank(target, score)), 0.29) == 1
    assert last_step_at(count_steps(rank(target, score)), 0.29) == 30
