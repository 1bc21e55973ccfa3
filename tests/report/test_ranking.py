from __future__ import annotations

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.estimate import ComparisonRow, Counts, Estimate
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.summarize import evaluate_counts
from earwitness.report.ranking import find_weakest, intervals_disjoint, rank_detectors
from frames import keep, predictions

REAL = pl.col("target") == 0


def evaluated(*sources: ew.Predictions) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60)


def test_the_best_comes_first() -> None:
    metrics = evaluated(
        predictions(detector="weak", shift=0.5), predictions(detector="strong", shift=4)
    )
    standings = rank_detectors(metrics)
    assert (standings.metric, standings.is_mean) == ("auroc", False)
    assert [place.detector for place in standings.places] == ["strong", "weak"]


def test_one_class_is_ranked_by_its_rate() -> None:
    whole = predictions(corpora=["FMA"])
    assert rank_detectors(evaluated(keep(whole, ~REAL))).metric == "recall"
    assert rank_detectors(evaluated(keep(whole, REAL))).metric == "specificity"


def test_counts_are_ranked_by_the_mean_over_pairs() -> None:
    rows = [
        ComparisonRow("a", "fakes 1", Counts(tp=1, tn=0, fp=0, fn=3)),
        ComparisonRow("a", "fakes 2", Counts(tp=30, tn=0, fp=0, fn=10)),
        ComparisonRow("a", "reals", Counts(tp=0, tn=4, fp=0, fn=0)),
        ComparisonRow("b", "reals", Counts(tp=0, tn=4, fp=0, fn=0)),
    ]
    standings = rank_detectors(evaluate_counts(rows, source="x"))
    assert (standings.metric, standings.is_mean) == ("balanced_accuracy", True)
    first, second = standings.places
    assert first.estimate.value == pytest.approx((0.5 * (0.25 + 1) + 0.5 * (0.75 + 1)) / 2)
    assert (second.detector, second.estimate.value) == ("b", None)


def test_the_weakest_cell_is_found() -> None:
    whole = predictions(shift=4, n_tracks=80)
    suno = pl.col("generator") == "suno"
    frame = whole.frame.with_columns(
        pl.when(suno).then(-pl.col("logit")).otherwise("logit").alias("logit")
    )
    metrics = evaluated(ew.Predictions("d", "cnn", frame))
    part = find_weakest(metrics, "cnn", "auroc")
    assert part is not None
    assert part.keys["generator"] == "suno"
    assert part.keys["real_corpus"] != "all"


def test_one_slice_is_not_the_weakest_of_any() -> None:
    whole = predictions(corpora=["FMA"], generators=["suno"])
    assert find_weakest(evaluated(keep(whole, REAL)), "cnn", "auroc") is None


def test_intervals_are_disjoint_or_overlap_or_are_missing() -> None:
    low = Estimate(value=0.2, low=0.1, high=0.3, method="m")
    high = Estimate(value=0.5, low=0.4, high=0.6, method="m")
    wide = Estimate(value=0.3, low=0.2, high=0.45, method="m")
    assert intervals_disjoint(low, high) is True
    assert intervals_disjoint(low, wide) is intervals_disjoint(wide, high) is False
    assert intervals_disjoint(low, Estimate(value=0.9, reason="too few groups")) is None


def test_a_detector_that_calls_everything_real_has_an_f1_and_comes_last() -> None:
    def labels(detector: str, called: pl.Expr) -> ew.Predictions:
        frame = predictions(detector=detector).frame.with_columns(
            called.cast(pl.Int8).alias("pred_label"),
            logit=pl.lit(None, pl.Float64),
            pred_prob=pl.lit(None, pl.Float64),
        )
        return ew.Predictions("d", detector, frame)

    metrics = evaluated(labels("asleep", pl.lit(0)), labels("right", ~REAL))
    assert [place.detector for place in rank_detectors(metrics).places] == ["right", "asleep"]
    (asleep,) = metrics.where(kind="overall", detector="asleep")
    assert asleep.estimates["f1"].value == asleep.estimates["mcc"].value == 0
    assert asleep.estimates["f1_macro"].is_defined
    assert asleep.estimates["precision"].reason == "nothing was called fake"
