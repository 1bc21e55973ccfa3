import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.core.counts import Counts
from earwitness.metrics import measures

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


def test_counts_are_told_apart():
    counts = measures.count_decisions(
        [1, 1, 1, 1, 0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1, 1, 1]
    )
    assert counts == Counts(tp=4, tn=2, fp=3, fn=1)
    assert (counts.n, counts.n_real, counts.n_fake) == (10, 5, 5)


@settings(deadline=None)
@given(pairs)
def test_rates_are_those_of_scikit_learn_where_defined(rows):
    target, decision = np.array(rows).T
    counts = measures.count_decisions(target, decision)
    matrix = reference.confusion_matrix(target, decision, labels=[0, 1])
    assert (counts.tn, counts.fp, counts.fn, counts.tp) == tuple(matrix.ravel())
    assert measures.accuracy(counts) == pytest.approx(reference.accuracy_score(target, decision))
    expected = {
        measures.precision: reference.precision_score(target, decision, zero_division=np.nan),
        measures.recall: reference.recall_score(target, decision, zero_division=np.nan),
        measures.specificity: reference.recall_score(
            target, decision, pos_label=0, zero_division=np.nan
        ),
    }
    for rate, value in expected.items():
        assert rate(counts) == pytest.approx(value, nan_ok=True)
    f1 = reference.f1_score(target, decision, zero_division=np.nan)
    assert measures.f1(counts) == pytest.approx(f1, nan_ok=True)
    if len(set(target)) == 2:
        macro = reference.f1_score(target, decision, average="macro")
        assert measures.f1_macro(counts) == pytest.approx(macro)
    if len(set(target)) == 2:
        matthews = reference.matthews_corrcoef(target, decision)
        assert measures.mcc(counts) == pytest.approx(matthews, abs=1e-12)
    else:
        assert math.isnan(measures.mcc(counts))
    if len(set(target)) == 2:
        balanced = reference.balanced_accuracy_score(target, decision)
        assert measures.balanced_accuracy(counts) == pytest.approx(balanced)


@settings(deadline=None)
@given(pairs)
def test_order_of_items_does_not_matter(rows):
    target, decision = np.array(rows).T
    turned = measures.count_decisions(target[::-1], decision[::-1])
    assert measures.count_decisions(target, decision) == turned


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
def test_a_rate_without_denominator_is_nan(counts, undefined):
    names = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy")
    found = {name for name in names if math.isnan(getattr(measures, name)(counts))}
    assert found == set(undefined.split())


def test_one_class_sets_keep_the_published_conventions():
    assert measures.precision(Counts(748, 0, 0, 1252)) == 1.0
    assert measures.f1(Counts(748, 0, 0, 1252)) == 0.544395924308588
    assert measures.precision(Counts(0, 1915, 85, 0)) == 0.0
    assert measures.recall(Counts(0, 0, 0, 2000)) == 0.0


def test_values_that_are_neither_real_nor_fake_are_refused():
    with pytest.raises(ValueError, match=r"target holds more than 0 and 1: .*2"):
        measures.count_decisions([0, 2], [0, 1])
    with pytest.raises(ValueError, match="decision holds more than 0 and 1"):
        measures.count_decisions([0, 1], [0.5, 1])
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        measures.count_decisions([0, 1], [1])


def test_no_items_is_no_decisions():
    assert measures.count_decisions([], []) == Counts(0, 0, 0, 0)
