"""Confidence, abstention and detectors of traces in the report."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import earwitness as ew
from earwitness.evaluation.schema import Metrics
from earwitness.report.page import write_report
from frames import predictions


def metrics_of(*, n_every: int = 4, one_sided: bool = False) -> Metrics:
    """Metrics of a detector that abstains from every ``n_every``-th real."""
    frame = predictions(n_tracks=40).frame.with_row_index("n")
    silent = (pl.col("target") == 0) & (pl.col("n") % n_every == 0)
    outputs = ("logit", "pred_prob", "pred_label")
    frame = frame.with_columns(
        *(pl.when(~silent).then(pl.col(name)).alias(name) for name in outputs),
        abstained=pl.when(silent).then(pl.lit("the codec explains the period")),
    ).drop("n")
    metrics = ew.evaluate([ew.Predictions("m", "cnn", frame)], n_resamples=60)
    (detector,) = metrics.detectors
    card = {"name": "cnn", "one_sided": one_sided}
    return metrics.model_copy(update={"detectors": [detector.model_copy(update={"card": card})]})


def page_of(metrics: Metrics, folder: Path) -> str:
    write_report(metrics, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_draws_risk_against_coverage_and_names_reasons(tmp_path: Path) -> None:
    page = page_of(metrics_of(), tmp_path)
    assert 'id="abstention"' in page
    assert "Risk-coverage curve of cnn, AURC" in page
    assert "the codec explains the period" in page
    assert "FPR, abstained as not flagged" in page


def test_abstaining_from_much_of_a_class_is_a_warning_on_the_page(tmp_path: Path) -> None:
    assert "most metrics are of decided items alone" in page_of(metrics_of(), tmp_path)
    assert "most metrics are of decided items alone" not in page_of(
        metrics_of(n_every=40), tmp_path
    )


def test_what_a_detector_of_traces_does_not_flag_is_not_called_real(tmp_path: Path) -> None:
    found, usual = (page_of(metrics_of(one_sided=one), tmp_path) for one in (True, False))
    assert "that is not a decision for real" in found
    assert "Fakes not flagged" in found
    assert "Fakes called real" not in found
    assert "Fakes called real" in usual
    assert "not a decision for real" not in usual
    assert "means not flagged: no trace was found" not in usual
