"""Fitted thresholds, calibration, what flags are worth, and thresholds on other corpora."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import earwitness as ew
from earwitness.core.errors import UsageError
from earwitness.core.estimate import Estimate
from earwitness.core.predictions import Predictions
from earwitness.evaluation.rows import Inputs, load_rows, open_sources
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.thresholds import (
    false_flags,
    in_calibration_half,
    parse_rule,
    precision_at,
    reals_to_claim,
)
from earwitness.metrics.measures import measure
from earwitness.report import formatting
from earwitness.report.metric_tables import operating_table
from frames import keep, predictions

REAL, FAKE = pl.col("target") == 0, pl.col("target") == 1


def evaluate(*sources: Predictions, **options: object) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60, **options)


def halves(whole: Predictions, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = load_rows(Inputs(open_sources([whole])))[0]
    chosen = in_calibration_half(frame, seed)
    return frame.filter(chosen), frame.filter(~chosen)


def test_a_half_is_fitted_on_and_the_other_reported_on() -> None:
    whole = predictions(n_tracks=120)
    metrics = evaluate(whole, threshold="eer")
    fitted_on, reported = halves(whole)
    (point,) = metrics.operating_points
    assert point.threshold == measure("eer_threshold", fitted_on["target"], fitted_on["pred_prob"])
    assert (point.rule, point.fitted_on, point.n_fitted) == ("eer", "the calibration half", 180)
    overall = metrics.where(kind="overall")[0]
    reals = reported.filter(REAL)["pred_prob"]
    assert overall.estimates["specificity"].value == (reals < point.threshold).mean()
    assert overall.coverage.n_items == reported.height
    condition = f"threshold {point.threshold:.4g}, fitted on the calibration half"
    assert overall.estimates["recall"].conditional_on == condition
    assert overall.estimates["auroc"].conditional_on is None
    assert metrics.provenance.settings.half
    assert metrics.manifests[0].n_items == 360
    assert "Metrics are of one half of the groups (180 of 360 items)" in metrics.notes[0]


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 5), shuffle=st.integers(0, 100))
def test_halves_share_no_group_and_ignore_the_order_of_rows(seed: int, shuffle: int) -> None:
    whole = predictions(n_tracks=21)
    mixed = Predictions("mixed", "cnn", whole.frame.sample(fraction=1, shuffle=True, seed=shuffle))
    one, two = halves(whole, seed)
    assert not set(one["group"]) & set(two["group"])
    assert abs(one["group"].n_unique() - two["group"].n_unique()) <= 1
    assert set(halves(mixed, seed)[0]["item"]) == set(one["item"])
    assert abs(one.filter(corpus="FMA").height - two.filter(corpus="FMA").height) <= 3


def test_calibration_predictions_are_fitted_on_without_what_is_reported_on() -> None:
    whole = predictions(n_tracks=120)
    fma, half = pl.col("source_dataset") == "FMA", keep(whole, pl.col("group_id") != "FMA:0")
    metrics = evaluate(
        keep(whole, fma), threshold="fpr=0.05", calibration=[keep(half, ~fma, "for fitting")]
    )
    reals = whole.frame.filter(REAL & ~fma)["pred_prob"].sort(descending=True)
    (point,) = metrics.operating_points
    assert reals[3] < point.threshold <= reals[2]
    assert point.fitted_on == "the calibration files"
    assert metrics.where(kind="overall")[0].coverage.n_items == 180
    assert [s.role for s in metrics.provenance.sources] == ["evaluation", "calibration"]
    overlapping = evaluate(keep(whole, fma), threshold="eer", calibration=[whole])
    assert overlapping.operating_points[0].n_fitted == 180
    assert "180 calibration items share a file or a group" in overlapping.notes[0]
    with pytest.raises(UsageError, match="cnn: no scored row on the calibration files"):
        evaluate(keep(whole, fma), threshold="eer", calibration=[keep(whole, fma)])
    with pytest.raises(UsageError, match="expected a threshold or calibrate to fit"):
        evaluate(keep(whole, fma), calibration=[keep(half, ~fma)])


def test_a_rule_that_cannot_be_met_says_why() -> None:
    metrics = evaluate(predictions(), threshold="fpr=0.01")
    (point,) = metrics.operating_points
    assert (point.threshold, point.recall.value) == (None, None)
    assert point.reason == "needs 100 groups of reals to fit on, found 30"
    overall = metrics.where(kind="overall")[0]
    assert overall.counts is None
    assert overall.estimates["recall"].reason == "no decisions"
    assert overall.estimates["auroc"].value is not None
    assert {line.reason for line in metrics.transfers} == {
        "needs 100 groups of reals to fit on, found 15"
    }


def test_a_rate_of_false_flags_takes_groups_not_items() -> None:
    whole = predictions(n_tracks=300)
    loose = keep(whole, REAL)
    crowded = loose.frame.with_columns(
        group_id=pl.format("g{}", pl.int_range(pl.len()) % 40)
    ).with_columns(pl.format("own/{}.wav", pl.int_range(pl.len())).alias("filepath"))
    crowded = crowded.with_columns(pl.lit("own").alias("source_dataset"))
    fakes = keep(whole, FAKE).frame.with_columns(pl.lit("own").alias("source_dataset"))
    mixed = Predictions("mixed", "cnn", pl.concat([crowded, fakes.with_columns(group_id=None)]))
    (point,) = evaluate(mixed, threshold="fpr=0.01").operating_points
    assert point.reason == "needs 100 groups of reals to fit on, found 20"


@pytest.mark.parametrize(
    ("n_flagged", "fpr", "n_reals"), [(0, 0.001, 2995), (1, 0.05, 93), (1, 0.01, 473)]
)
def test_a_claim_takes_more_reals_the_more_are_flagged(
    n_flagged: int, fpr: float, n_reals: int
) -> None:
    assert reals_to_claim(fpr, 0.95, n_flagged) == n_reals
    for n, is_enough in ((n_reals, True), (n_reals - 1, False)):
        assert bool(binom.cdf(n_flagged, n, fpr) <= 0.05) is is_enough


def test_a_tenth_of_many_reals_flagged_claims_nothing() -> None:
    whole = predictions(n_tracks=3_200, generators=["suno"], corpora=["FMA"])
    flagged = REAL & (pl.col("group_id").str.split(":").list.get(1).cast(pl.Int64) % 10 == 0)
    called = pl.when(REAL).then(flagged.cast(pl.Int8)).otherwise("pred_label")
    frame = whole.frame.with_columns(called.alias("pred_label"))
    (point,) = evaluate(Predictions("mixed", "cnn", frame)).operating_points
    claims = {claim.fpr: claim for claim in point.claims}
    assert (claims[0.001].n_reals, claims[0.001].n_reals_here) == (2995, 3200)
    assert claims[0.001].n_flagged_here == 320
    assert not any(claim.is_shown for claim in point.claims)
    clean = whole.frame.with_columns(pl.when(REAL).then(0).otherwise(1).alias("pred_label"))
    (point,) = evaluate(Predictions("mixed", "cnn", clean)).operating_points
    assert [claim.is_shown for claim in point.claims] == [True, True, True, False]


def test_ten_reals_that_all_pass_are_a_bound_and_no_certainty() -> None:
    few = predictions(n_tracks=10, shift=30, generators=["suno"], corpora=["own"])
    (point,) = evaluate(few).operating_points
    assert (point.specificity.value, point.false_flags_per_100k.value) == (1, 0)
    assert (
        formatting.share(point.specificity) == f"over {formatting.percent(point.specificity.low)}"
    )
    assert formatting.share_note(point.specificity) == "all of 10 items"
    cells = operating_table(evaluate(few)).rows[0].cells
    assert not any("100" in cell.text for cell in cells[3:])
    assert cells[2].text == f"under {formatting.count(round(point.false_flags_per_100k.high))}"
    fewer = predictions(n_tracks=9, shift=30, generators=["suno"], corpora=["own"])
    (point,) = evaluate(fewer).operating_points
    assert formatting.share(point.specificity) == formatting.UNDEFINED
    assert formatting.share_note(point.specificity) == "all of 9 items: too few groups"
    (row,) = operating_table(evaluate(fewer)).rows
    assert [cell.text for cell in row.cells[2:]] == [formatting.UNDEFINED] * 5


@pytest.mark.parametrize(
    "rule", ["eerr", "fpr", "fpr=0", "fpr=1", "cost=0", "cost=x", "=1", "1.5", "-1", "nan", "eer=1"]
)
def test_an_unknown_rule(rule: str) -> None:
    with pytest.raises(UsageError, match=r"threshold .*expected a number from 0 to 1"):
        parse_rule(rule)


def test_rules_read_back_as_they_are_written() -> None:
    for text in ("file", "eer", "cost", "cost=10", "fpr=0.01", "0.5"):
        assert str(parse_rule(text)) == text
    assert parse_rule(0.25).score == 0.25


def test_calibration_mends_scores_that_are_too_sure() -> None:
    whole = predictions(n_tracks=300, shift=1.0)
    sure = whole.frame.with_columns(logit=4 * pl.col("logit") + 3)
    sure = sure.with_columns(pred_prob=1 / (1 + (-pl.col("logit")).exp()))
    before = evaluate(Predictions("mixed", "cnn", sure), calibrate="platt")
    (found,) = before.calibrations
    assert found.method == "platt"
    assert found.scale < 0.5
    assert found.after["log_loss"].value < 0.7 < found.before["log_loss"].value
    assert found.after["ece"].value < 0.1 < found.before["ece"].value
    assert found.after["ece"].conditional_on == "platt scaling, fitted on the calibration half"
    assert found.prevalence_fitted == pytest.approx(2 / 3)
    overall = before.where(kind="overall")[0]
    assert overall.estimates["log_loss"] == found.after["log_loss"]
    _, reported = halves(Predictions("mixed", "cnn", sure))
    assert overall.estimates["auroc"].value == pytest.approx(
        measure("auroc", reported["target"], reported["logit"])
    )
    assert overall.estimates["recall"].conditional_on is None
    again = evaluate(Predictions("mixed", "cnn", sure), calibrate="temperature", threshold=0.5)
    assert again.calibrations[0].offset == 0
    assert again.where(kind="overall")[0].estimates["recall"].conditional_on == (
        "temperature scaling, fitted on the calibration half"
    )


def test_scores_that_run_the_wrong_way_are_not_turned_round() -> None:
    whole = predictions(n_tracks=120, shift=-2.0)
    metrics = evaluate(whole, calibrate="platt")
    assert metrics.calibrations == []
    assert "cnn is not calibrated: higher scores are not more often fake" in metrics.notes[1]
    assert metrics.where(kind="overall")[0].estimates["auroc"].value < 0.3


def test_a_threshold_travels_to_every_corpus() -> None:
    whole = predictions(n_tracks=200)
    moved = pl.when(pl.col("source_dataset") == "SONICS").then(1.5).otherwise(0.0)
    frame = whole.frame.with_columns(logit=pl.col("logit") + moved)
    frame = frame.with_columns(pred_prob=1 / (1 + (-pl.col("logit")).exp()))
    lines = evaluate(Predictions("mixed", "cnn", frame)).transfers
    pairs = [(line.fitted_on, line.applied_to) for line in lines]
    corpora = ("FMA", "SONICS")
    assert pairs == [(one, two) for one in corpora for two in corpora]
    assert {line.rule for line in lines} == {"fpr=0.05"}
    by_pair = dict(zip(pairs, lines, strict=True))
    fitted_on, reported = halves(Predictions("mixed", "cnn", frame))
    away = by_pair["FMA", "SONICS"]
    assert away.threshold in fitted_on.filter(corpus="FMA")["pred_prob"]
    reals = reported.filter(REAL, corpus="SONICS")["pred_prob"]
    assert away.fpr.value == (reals >= away.threshold).mean()
    assert away.fpr.value > 0.2 > by_pair["FMA", "FMA"].fpr.value
    assert away.fpr.conditional_on == f"threshold {away.threshold:.4g}, fitted on FMA"


def test_precision_at_a_prevalence_follows_from_the_rates() -> None:
    rates = {"n_items": 100, "n_groups": 50, "method": "m"}
    recall = Estimate(value=0.8, low=0.7, high=0.9, **rates)
    passed = Estimate(value=0.99, low=0.98, high=1.0, **rates)
    found = precision_at(0.01, recall, passed)
    assert found.value == pytest.approx(0.008 / (0.008 + 0.0099))
    assert found.low == pytest.approx(0.007 / (0.007 + 0.0198))
    assert found.high == 1.0
    flags = false_flags(passed)
    assert (flags.low, flags.value, flags.high) == pytest.approx((0, 1000, 2000))
    nothing = Estimate(value=0.0, reason="too few groups")
    silent = precision_at(0.01, nothing, Estimate(value=1.0, reason="too few groups"))
    assert (silent.value, silent.reason) == (None, "nothing was called fake")
    one_class = precision_at(0.01, recall, Estimate(reason="only fakes in this slice"))
    assert one_class.reason == "only fakes in this slice"


@given(fpr=st.floats(1e-5, 0.5), confidence=st.floats(0.5, 0.999))
def test_as_many_reals_as_the_claim_takes_and_no_more(fpr: float, confidence: float) -> None:
    n = reals_to_claim(fpr, confidence)
    assert (1 - fpr) ** n <= (1 - confidence) * (1 + 1e-9)
    assert n == 1 or (1 - fpr) ** (n - 1) > (1 - confidence) * (1 - 1e-9)


def test_the_rule_of_three() -> None:
    assert [reals_to_claim(fpr, 0.95) for fpr in (0.05, 0.01, 0.001)] == [59, 299, 2995]


def test_every_detector_has_its_card_at_its_own_threshold() -> None:
    two = predictions(detector="two", seed=1, shift=4)
    metrics = evaluate(predictions(), two, threshold="cost=1")
    points = {point.detector: point for point in metrics.operating_points}
    assert set(points) == {"cnn", "two"}
    assert points["cnn"].threshold != points["two"].threshold
    assert [entry.prevalence for entry in points["two"].prevalences] == [0.001, 0.01, 0.1, 0.28]
    worth = [entry.precision.number for entry in points["two"].prevalences]
    assert np.all(np.diff(worth) > 0)
