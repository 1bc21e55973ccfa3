from __future__ import annotations

import polars as pl
import pytest

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.scoring.run import section_accuracies


def predictions() -> Predictions:
    rows = [
        (0, None, 0, 0.9, 0.1),
        (0, None, 1, 0.6, 0.4),
        (1, "encodec3", 1, 0.2, 0.8),
        (1, "encodec3", 0, 0.7, 0.3),
        (1, "suno", 1, 0.5, 0.5),
        (1, "suno", None, None, None),
    ]
    columns = ["target", "generator", "pred_label", "encoder_real", "encoder_encodec3"]
    return Predictions("m", "d", pl.DataFrame(rows, schema=columns, orient="row"))


def test_all_encoder_and_real() -> None:
    assert section_accuracies(predictions()) == {
        "all": {"n": 5, "accuracy": 0.6},
        "encodec3": {"n": 2, "accuracy": 0.5, "encoder_accuracy": 0.5},
        "suno": {"n": 1, "accuracy": 1.0},
        "real": {"n": 2, "accuracy": 0.5, "encoder_accuracy": 1.0},
    }


def test_only_what_is_asked() -> None:
    assert list(section_accuracies(predictions(), ["real"])) == ["real"]


def test_a_section_without_rows_is_left_out() -> None:
    fakes = predictions().frame.filter(pl.col("target") == 1)
    assert "real" not in section_accuracies(Predictions("m", "d", fakes))


def test_a_generator_with_the_name_of_a_section() -> None:
    frame = predictions().frame.with_columns(pl.col("generator").replace("suno", "all"))
    sections = section_accuracies(Predictions("m", "d", frame))
    assert sections["all"]["n"] == 5
    assert sections["encoder all"]["n"] == 1


def test_an_unknown_section() -> None:
    with pytest.raises(
        UsageError, match="'encoders', expected some of all, encoder, real; did you"
    ):
        section_accuracies(predictions(), ["encoders"])
