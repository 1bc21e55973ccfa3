from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.estimate import Estimate
from earwitness.core.predictions import Predictions
from earwitness.evaluation.checks import looks_reversed
from earwitness.evaluation.schema import Check, write_metrics
from frames import fail, predictions


def verdicts(whole: Predictions) -> dict[str, tuple[str, str]]:
    metrics = ew.evaluate([whole], n_resamples=20)
    return {check.name: (check.verdict, check.detail) for check in metrics.checks}


def scored(prob: pl.Expr) -> Predictions:
    whole = predictions()
    frame = whole.frame.with_columns(prob.alias("pred_prob"), pl.lit(None).alias("logit"))
    return Predictions("m", "cnn", frame.with_columns((prob >= 0.5).cast(int).alias("pred_label")))


def test_a_sound_detector_passes_all() -> None:
    found = verdicts(predictions())
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert list(found) == [
        "constant_scores",
        "one_decision",
        "below_chance",
        "rows_lost",
    ]


def test_constant_scores() -> None:
    found = verdicts(scored(pl.lit(0.7)))
    assert found["constant_scores"] == ("warning", "all 180 scores are the same: 0.7")
    assert found["one_decision"] == ("warning", "every one of 180 items is called fake")


def test_few_scores() -> None:
    found = verdicts(scored(pl.col("pred_prob").round(0)))
    assert found["few_distinct_scores"][0] == "note"
    assert "2 distinct scores on 180 items" in found["few_distinct_scores"][1]


@pytest.mark.parametrize(("shift", "verdict"), [(-2.0, "warning"), (0.0, "note"), (2.0, "ok")])
def test_chance(shift: float, verdict: str) -> None:
    found, detail = verdicts(predictions(shift=shift, seed=1))["below_chance"]
    assert found == verdict
    assert ("are the classes the other way round?" in detail) is (shift < -1)


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n_items=40, n_groups=20, reason="few")


def test_classes_look_reversed_far_below_chance_alone() -> None:
    far = [estimate(0.05, 0.01, 0.2), estimate(0.35, 0.2, 0.49), estimate(0.1, None, None)]
    near = [estimate(0.45, 0.42, 0.48), estimate(0.3, 0.05, 0.6), estimate(0.3, None, None)]
    assert all(map(looks_reversed, far))
    assert not any(map(looks_reversed, [*near, estimate(0.9, 0.8, 1), estimate(None, None, None)]))


def test_a_retired_check_of_an_older_file_is_not_shown(tmp_path: Path) -> None:
    metrics = ew.evaluate([predictions()], n_resamples=20)
    old = Check(detector="cnn", name="label_shuffle", verdict="ok", detail="AUROC 0.9; 0.5 ± 0.1")
    path = tmp_path / "metrics.json"
    write_metrics(metrics.model_copy(update={"checks": [*metrics.checks, old]}), path)
    assert ew.read_metrics(path) == metrics


def test_many_rows_lost_in_one_stratum() -> None:
    lost = (pl.col("generator") == "suno") & (pl.col("source_dataset") == "SONICS")
    found = verdicts(fail(predictions(), lost.fill_null(value=False)))
    detail = "30 of 180 items are not scored; most of SONICS suno: 30 of 30"
    assert found["rows_lost"] == ("warning", detail)
