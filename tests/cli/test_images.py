from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from builders import write_comb, write_tone
from earwitness.core.images import SpectrogramContract
from resnets import write_resnet

Run = Callable[..., Any]
DRAWING = ("--size", "32x40", "--clip-s", "0.8", "--num-workers", "0")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for n in range(3):
        write_tone(root / f"real/{n}.wav", hz=300 + n, rate=16_000)
        write_comb(root / f"fake/comb/{n}.wav", n)
    return root


def test_from_audio_to_a_report(
    music: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = run("render", "--folder", music, *DRAWING)
    assert drawn.code == 0, drawn.err
    assert "6 images of 6 files; 0 could not be drawn" in drawn.out
    contract = SpectrogramContract.model_validate_json(Path("data/spectrogram.json").read_text())
    assert (contract.height, contract.width) == (32, 40)
    write_resnet(Path("models/experiments"), images=contract)
    Path("models/experiments/best.pth").rename("models/experiments/best_laundered_processed.pth")
    Path("test_data").mkdir()
    Path("data/test.csv").rename("test_data/test.csv")
    done = run("classify")
    assert done.code == 0, done.err
    assert "6 rows judged, 0 failed" in done.out
    assert "not as those of the training" not in done.err
    report = Path("test_data/test_report.txt").read_text()
    assert "6 rows scored, 0 without a score" in report
    assert "precision    recall  f1-score   support" in report
    assert "no interval: too few groups" in report
    assert Path("test_data/test.png").read_bytes().startswith(b"\x89PNG")
    frame = pl.read_csv("test_data/test.csv")
    assert frame.columns == ["img_path", "actual_output", "predicted_output", "prob_fake"]
    told = json.loads(Path("test_data/aggregate_test_reports.json").read_text())
    right = (frame["actual_output"] == frame["predicted_output"]).mean()
    assert told["pooled"]["figures"]["accuracy"]["value"] == right
    assert told["reports"]["test_data/test.csv"]["n_scored"] == 6


def test_several_csvs_are_pooled(music: Path, tmp_path: Path, run: Run) -> None:
    run("render", "--folder", music, "--out", tmp_path / "data", *DRAWING)
    contract = SpectrogramContract.model_validate_json(
        (tmp_path / "data/spectrogram.json").read_text()
    )
    write_resnet(tmp_path / "mine", images=contract)
    one, two, bare = (tmp_path / f"{name}.csv" for name in ("one", "two", "bare"))
    one.write_text("img_path,actual_output\noriginal/combined/0.png,real\nnone.png,fake\n")
    two.write_text("img_path,actual_output\ndeepfake/combined/0__comb.png,spoof\n")
    bare.write_text("img_path\ndeepfake/combined/1__comb.png\n")
    done = run(
        "classify",
        *("--weights", tmp_path / "mine", "--base", tmp_path / "data"),
        *("--csv", f"{one},{two}", "--csv", bare),
    )
    assert done.code == 0, done.err
    assert "3 rows judged, 1 failed (see the column prediction_error)" in done.out
    assert "1 × no such file (as " in done.err
    assert "bare.csv: no actual_output, only predictions were written" in done.err
    told = json.loads((tmp_path / "aggregate_test_reports.json").read_text())
    assert set(told["reports"]) == {str(one), str(two)}
    assert told["pooled"]["n_scored"] == 2
    assert told["pooled"]["n_without_score"] == 1
    assert told["reports"][str(two)]["figures"]["auroc"]["value"] is None
    assert not bare.with_name("bare_report.txt").exists()
    strict = run(
        *("classify", "--strict", "--weights", tmp_path / "mine", "--base", tmp_path / "data"),
        *("--csv", one),
    )
    assert strict.code == 1


def test_mistakes_end_in_one_line(music: Path, tmp_path: Path, run: Run) -> None:
    write_resnet(tmp_path / "mine")
    cases = [
        (("render",), "expected one of --manifest FILES, --folder DIR"),
        (("render", "--folder", music, "--size", "big"), "--size big: expected pixels like 224"),
        (("render", "--folder", music, "--scale", "cqt"), "--scale Input should be 'mel'"),
        (("render", "--folder", music, "--band-hz", "20,9000"), "expected rising frequencies"),
        (("render", "--folder", tmp_path / "x"), "expected a folder"),
        (("classify", "--weights", tmp_path / "mien"), "not there; in"),
        (
            ("classify", "--weights", tmp_path / "mine", "--base", tmp_path / "musik"),
            "lies music",
        ),
        (
            ("classify", "--weights", tmp_path / "mine", "--classes", "cat,dog"),
            "which output is the deepfake is not said",
        ),
    ]
    for arguments, message in cases:
        done = run(*arguments)
        assert done.code == 2
        assert message in done.err
        assert done.err.startswith("earwitness: ")
        assert done.err.count("\n") == 1
