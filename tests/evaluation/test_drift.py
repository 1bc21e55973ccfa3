from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.drift import Drift, find_drift
from frames import fail, keep, predictions


def change(whole: Predictions, *columns: pl.Expr, **named: pl.Expr) -> Predictions:
    return replace(whole, frame=whole.frame.with_columns(*columns, **named))


def other_music(whole: Predictions) -> Predictions:
    """The same rows, of other tracks."""
    return change(
        whole,
        pl.col("filepath").str.replace(r"/(\d+)\.wav", "/1000$1.wav"),
        pl.col("group_id") + "000",
    )


def moved(drift: Drift) -> list[str]:
    return [line.tested for line in drift.lines if line.has_moved()]


def test_the_same_run_again_has_not_moved() -> None:
    found = find_drift(predictions(), predictions())
    assert found.is_paired
    assert not moved(found)
    tested = {line.tested: line.shift.p for line in found.lines}
    assert tested == dict.fromkeys(
        ("logit", "logit of reals", "logit of fakes", "called fake", "abstained", "failed"), 1.0
    )


def test_a_small_change_of_every_score_is_found_on_the_same_items() -> None:
    after = change(predictions(), pl.col("logit") + pl.when(target=0).then(0.01).otherwise(0))
    found = find_drift(predictions(), after)
    assert moved(found) == ["logit", "logit of reals"]
    reals = next(line for line in found.lines if line.tested == "logit of reals")
    assert reals.shift.value == pytest.approx(0.01)
    assert reals.second - reals.first == pytest.approx(0.01)
    assert not reals.has_moved(least=0.02)


def test_other_items_are_compared_as_samples() -> None:
    before, same, weaker = (
        other_music(predictions(n_tracks=120, seed=seed, shift=shift))
        if seed
        else predictions(n_tracks=120, shift=shift)
        for seed, shift in ((0, 3.0), (1, 3.0), (2, 0.5))
    )
    assert not find_drift(before, same).is_paired
    assert not moved(find_drift(before, same))
    assert "logit of fakes" in moved(find_drift(before, weaker))
    assert "logit of fakes" not in [
        line.tested for line in find_drift(before, weaker, by_class=False).lines
    ]


def test_music_in_both_runs_is_left_out_of_samples() -> None:
    first = predictions(n_tracks=60)
    shared = keep(first, pl.col("group_id") == "FMA:0")
    later = other_music(predictions(n_tracks=60, seed=1))
    found = find_drift(first, replace(later, frame=pl.concat([later.frame, shared.frame])))
    assert found.notes == ["3 items whose group is in both runs are left out"]
    assert {line.n_first for line in found.lines if line.tested == "abstained"} == {177}


def test_failures_and_abstentions_that_come_up_are_drift() -> None:
    rare = pl.col("group_id").is_in([f"FMA:{n}" for n in range(0, 40, 2)])
    failing = fail(predictions(), rare)
    assert moved(find_drift(predictions(), failing)) == ["failed"]
    silent = change(failing, abstained="error", error=pl.lit(None, pl.String))
    assert moved(find_drift(predictions(), silent)) == ["abstained"]


def test_properties_of_the_files_are_compared() -> None:
    durations = pl.int_range(pl.len()) / 2
    first = change(predictions(), duration_s=durations, codec=pl.lit("mp3"))
    half = pl.when(pl.int_range(pl.len()) % 2 == 0)
    second = other_music(
        change(
            predictions(),
            duration_s=durations + 40,
            codec=half.then(pl.lit("aac")).otherwise(pl.lit("mp3")),
        )
    )
    found = find_drift(first, second, by=["codec"])
    lines = {line.tested: line for line in found.lines if not line.detector}
    assert list(lines) == ["codec", "duration_s"]
    assert all(line.has_moved() for line in lines.values())
    codec = lines["codec"]
    assert (codec.category, codec.first, codec.second) == ("aac", 0.0, 0.5)
    assert lines["duration_s"].second - lines["duration_s"].first == pytest.approx(40)
    with pytest.raises(UsageError, match="--by bitrate: no such column"):
        find_drift(first, second, by=["bitrate"])


def test_measures_of_audits_are_compared(tmp_path: Path) -> None:
    first, second = predictions(), other_music(predictions())
    files = []
    for number, run_ in enumerate((first, second)):
        table = run_.frame.select(
            manifest=pl.lit("m"),
            filepath="filepath",
            error=pl.lit(None, pl.String),
            bandwidth_hz=pl.int_range(pl.len()) * 10 + 9000 * number,
            container=pl.lit("mp3"),
        )
        files.append(tmp_path / f"{number}.csv")
        table.write_csv(files[-1])
    found = find_drift(first, second, nuisances=(files[0], files[1]))
    assert moved(found) == ["bandwidth_hz"]
    assert [line.tested for line in found.lines[:2]] == ["bandwidth_hz", "container"]
    with pytest.raises(UsageError, match=r"0\.csv: none of the run's files"):
        find_drift(first, second, nuisances=(files[0], files[0]))
    files[0].write_text("filepath,bandwidth_hz\n")
    with pytest.raises(PredictionsError, match=r"expected nuisances\.csv"):
        find_drift(first, second, nuisances=(files[0], files[1]))


def test_detectors_without_a_counterpart_are_told(tmp_path: Path) -> None:
    alone = predictions(detector="other")
    for name, runs in (("a", [predictions(), alone]), ("b", [predictions(detector="third")])):
        for each in runs:
            write(tmp_path / name / "preds" / "mixed" / f"{each.detector}.csv", each)
    with pytest.raises(UsageError, match="expected a common one"):
        find_drift(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "b" / "preds" / "mixed" / "cnn.csv", predictions())
    found = find_drift(tmp_path / "a", tmp_path / "b")
    assert {line.detector for line in found.lines} == {"cnn"}
    assert "other is in one run only and not compared" in found.notes
    only = find_drift(predictions(), alone)
    assert only.notes == ["other of the second run is compared with cnn"]


def write(path: Path, whole: Predictions) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.frame.with_columns(detector=pl.lit(whole.detector)).write_csv(path)
