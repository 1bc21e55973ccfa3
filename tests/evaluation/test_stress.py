from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.stress import SENSITIVITY, measure_stress
from earwitness.metrics.intervals import mean_interval
from earwitness.metrics.resampling import holm
from earwitness.perturb.suites import load_suite
from earwitness.report.stress import describe_sensitivity

N = 40


def made(name: str, logits: list[float | None], *, targets: list[int] | None = None) -> Predictions:
    """Predictions of alternating reals and fakes; without a logit, an abstention."""
    frame = pl.DataFrame(
        {
            "filepath": [f"{n}.wav" for n in range(len(logits))],
            "target": targets or [n % 2 for n in range(len(logits))],
            "detector": "d",
            "logit": logits,
            "pred_prob": [None if x is None else 1 / (1 + math.exp(-x)) for x in logits],
            "pred_label": [None if x is None else int(x >= 0) for x in logits],
            "abstained": ["nothing to analyse" if x is None else None for x in logits],
            "error": [None] * len(logits),
        },
        schema_overrides={"logit": pl.Float64, "abstained": pl.String, "error": pl.String},
    )
    return Predictions(name, "d", frame)


CLEAN: list[float | None] = [(-1.0 if n % 2 == 0 else 1.0) - n / 1000 for n in range(N)]


def test_flips_shift_and_abstentions_are_counted_as_written_out() -> None:
    changed = list(CLEAN)
    changed[1] = changed[3] = -0.5  # two of twenty fakes are lost
    changed[0] = 0.5  # one of twenty reals is flagged
    changed[5] = None
    (row,) = measure_stress([made("clean", CLEAN), made("p", changed)]).rows
    assert (row.n_items, row.n_paired) == (40, 39)
    assert row.fake_to_real.value == pytest.approx(2 / 19)
    assert row.real_to_fake.value == pytest.approx(1 / 20)
    assert row.changed.value == pytest.approx(3 / 39)
    shifts = [b - a for a, b in zip(CLEAN, changed, strict=True) if a is not None and b is not None]
    assert row.logit_shift.value == pytest.approx(sum(shifts) / 39)
    assert row.largest_shift == pytest.approx(max(map(abs, shifts)))
    assert row.abstained.value == pytest.approx(1 / 40)
    assert (row.n_to_abstention, row.n_from_abstention, row.n_failed) == (1, 0, 0)
    assert row.accuracy_change.value == pytest.approx(-3 / 39)
    pairs = [
        (b > a) + (a == b) / 2
        for a in [changed[n] for n in range(0, N, 2)]
        for b in [changed[n] for n in range(1, N, 2) if n != 5]
        if a is not None and b is not None
    ]
    assert row.auroc.value == pytest.approx(sum(pairs) / len(pairs))
    assert row.auroc_clean.value == 1
    assert row.auroc_change.value == pytest.approx(sum(pairs) / len(pairs) - 1)
    assert [case.filepath for case in row.worst] == ["0.wav", "1.wav", "3.wav"]
    file = row.rates[0]
    assert (file.tpr.value, file.fpr.value) == (pytest.approx(17 / 19), pytest.approx(1 / 20))
    assert row.rates[1].tpr.reason is not None  # 20 reals cannot fix a rate of 1 %


def test_p_values_are_corrected_over_the_whole_matrix() -> None:
    worse = [-1.0 if x is not None and x > 0 else x for x in CLEAN]
    bad = [0.5 if n in (0, 2, 4, 6, 8, 10) else x for n, x in enumerate(CLEAN)]
    rows = measure_stress([made("clean", CLEAN), made("p", worse), made("q", bad)]).rows
    tests = [test for row in rows for test in (row.auroc_change, row.accuracy_change)]
    assert [test.p_holm for test in tests] == holm([test.p or math.nan for test in tests])
    assert all(test.p_holm >= test.p for test in tests if test.p and test.p_holm)


def test_a_single_class_has_flips_of_one_direction_and_a_reason_for_the_rest() -> None:
    fakes = [1] * 20
    clean: list[float | None] = [1.0 + n / 100 for n in range(20)]
    changed = [-1.0, *clean[1:]]
    (row,) = measure_stress(
        [made("clean", clean, targets=fakes), made("p", changed, targets=fakes)]
    ).rows
    assert row.fake_to_real.value == pytest.approx(1 / 20)
    assert row.real_to_fake.reason == "no reals were called real on clean"
    assert row.auroc.reason == "only fakes in this slice"
    assert row.accuracy_change.value == pytest.approx(-1 / 20)


def test_a_detector_that_abstains_from_everything_has_no_flips() -> None:
    nothing: list[float | None] = [None] * N
    (row,) = measure_stress([made("clean", CLEAN), made("p", nothing)]).rows
    assert (row.n_paired, row.n_to_abstention) == (0, N)
    assert row.abstained.value == 1
    assert row.fake_to_real.value is None
    assert row.accuracy_change.reason is not None


def test_clean_rows_are_needed() -> None:
    with pytest.raises(UsageError, match="d: no predictions of 'clean'"):
        measure_stress([made("p", CLEAN)])


def test_the_interval_of_a_mean_is_students_over_groups() -> None:
    values = np.random.default_rng(0).standard_normal(30)
    group = np.repeat(np.arange(15), 2)
    sums = [(values[group == g] - values.mean()).sum() / 30 for g in range(15)]
    variance = sum(x**2 for x in sums) * 15 / 14
    second, fourth = sum(x**2 for x in sums), sum(x**4 for x in sums)
    freedom = min(14, 2 * second**2 / (fourth - second**2 / 15))
    reach = t.ppf(0.975, freedom) * math.sqrt(variance)
    found = mean_interval(values, group)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_sensitivity_compares_resamplers_with_each_other_and_not_with_clean_rows() -> None:
    cut = [-3.0 if n % 2 == 0 else 0.2 for n in range(N)]  # what all resamplers remove
    sinc = [-0.1 if n in (1, 3) else x for n, x in enumerate(cut)]
    moved = [x + 0.25 if x is not None else None for x in CLEAN]
    found = measure_stress(
        [
            made("clean", CLEAN),
            *(made("resample_16000", cut), made("resample_sinc_16000", sinc)),
            *(made("offset_ms_+10", moved), made("mono_left", cut)),
        ]
    ).sensitivity
    assert [(row.aspect, row.against) for row in found] == [
        *(("resampler", "resample_16000"), ("crop offset", "clean"))
    ]
    assert [row.n_changed for row in found] == [2, 0]
    assert found[0].changed.value == pytest.approx(2 / N)
    assert [row.largest_shift for row in found] == pytest.approx([0.3, 0.25])
    matrix = measure_stress(
        [
            *(made("clean", CLEAN), made("resample_16000", cut)),
            made("resample_sinc_16000", sinc),
        ]
    )
    assert [*describe_sensitivity(matrix)] == [
        "d: decisions depend on the resampler; resample_sinc_16000 instead of resample_16000 "
        "changes 2 of 40 decisions"
    ]


def test_every_comparison_of_the_sensitivity_is_in_its_suite() -> None:
    names = {entry.name for entry in load_suite("sensitivity").perturbations}
    assert names >= {*SENSITIVITY, *(against for _, against in SENSITIVITY.values())} - {"clean"}
