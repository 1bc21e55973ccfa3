from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from builders import write_comb, write_tone
from checkpoints import behind_dropout
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.nets.resnet18 import load_resnet
from resnets import SMALL, make_network, write_resnet

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
    assert "6 images of 6 files; 0 could not be rendered" in drawn.out
    contract = SpectrogramContract.model_validate_json(Path("data/spectrogram.json").read_text())
    assert (contract.height, contract.width) == (32, 40)
    write_resnet(Path("models/experiments"), images=contract)
    Path("models/experiments/best.pth").rename("models/experiments/best_laundered_processed.pth")
    Path("test_data").mkdir()
    Path("data/test.csv").rename("test_data/test.csv")
    done = run("classify")
    assert done.code == 0, done.err
    assert "6 rows scored, 0 failed" in done.out
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
    assert "3 rows scored, 1 failed (see the column prediction_error)" in done.out
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


def test_classes_the_other_way_round_are_asked_about(tmp_path: Path, run: Run) -> None:
    state = make_network(1).state_dict()
    rng = np.random.default_rng(0)
    lines = ["img_path,actual_output"]
    levels = range(20, 220, 20)
    for n, level in enumerate(levels):
        pixels = rng.integers(level, level + 30, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{n}.png")
        lines.append(f"{n}.png,{'Original' if n < len(levels) // 2 else 'Deepfake'}")
    (tmp_path / "test.csv").write_text("\n".join(lines))
    torch.save(state, tmp_path / "their.pth")
    options = ("classify", "--weights", tmp_path / "their.pth", "--base", tmp_path)
    options += ("--csv", tmp_path / "test.csv", "--size", "32")
    outcomes = {}
    for classes in ("deepfake,original", "original,deepfake"):
        done = run(*options, "--classes", classes)
        assert done.code == 0, done.err
        told = json.loads((tmp_path / "aggregate_test_reports.json").read_text())
        outcomes[told["pooled"]["figures"]["auroc"]["value"]] = classes, done.err
    low, high = sorted(outcomes)
    assert low == pytest.approx(1 - high)
    assert low <= 0.2
    assert "far below 0.5: are the classes the other way round?" in outcomes[low][1]
    assert f"--classes {outcomes[high][0]} swaps them" in outcomes[low][1]
    assert "other way round" not in outcomes[high][1]
    assert "not as those of the training" not in outcomes[high][1]
    strict = run(*options[:-2], "--classes", "deepfake,original", "--strict")
    assert strict.code == 2
    assert "--strict: 10 of 10 images are not as those of the training" in strict.err


def test_mistakes_end_in_one_line(music: Path, tmp_path: Path, run: Run) -> None:
    write_resnet(tmp_path / "mine")
    cases = [
        (("render",), "expected one of --manifest FILES, --folder DIR"),
        (("render", "--folder", music, "--size", "big"), "--size big: expected pixels like 224"),
        (("render", "--folder", music, "--scale", "cqt"), "--scale Input should be 'mel'"),
        (("render", "--folder", music, "--band-hz", "20,9000"), "expected rising frequencies"),
        (("render", "--folder", tmp_path / "x"), "expected a folder"),
        (("classify", "--weights", tmp_path / "mien"), ": no such file; "),
        (
            ("classify", "--weights", tmp_path / "mine", "--base", tmp_path / "musik"),
            "contains music",
        ),
        (
            ("classify", "--weights", tmp_path / "mine", "--classes", "cat,dog"),
            "classes unknown, expected --classes",
        ),
    ]
    for arguments, message in cases:
        done = run(*arguments)
        assert done.code == 2
        assert message in done.err
        assert done.err.startswith("earwitness: ")
        assert done.err.count("\n") == 1


def test_a_foreign_checkpoint_becomes_a_folder_that_every_command_takes(
    tmp_path: Path, run: Run
) -> None:
    write_comb(tmp_path / "a.wav", 1, seconds=6)
    (tmp_path / "m.csv").write_text("filepath,target\na.wav,1\n")
    single = make_network(1).state_dict()
    torch.save({"model": behind_dropout(single)}, tmp_path / "their.pth")
    (tmp_path / "spectrogram.json").write_text(SMALL.model_dump_json())
    refused = run("predict", "--detector", "resnet18", "--weights", tmp_path / "their.pth",
                  "--manifest", tmp_path / "m.csv", "--out", tmp_path / "p.csv")  # fmt: skip
    assert refused.code == 2
    assert "earwitness export --format folder" in refused.err
    options = ("--weights", tmp_path / "their.pth", "--classes", "deepfake,original")
    options += ("--contract", tmp_path / "spectrogram.json")
    for how in ("folder", "published"):
        done = run("export", *options, "--format", how, "--out", tmp_path / how)
        assert done.code == 0, done.err
        heard = run("listen", tmp_path / "a.wav", "--detector", tmp_path / how)
        assert heard.code == 0, heard.err
    scores = [
        load_resnet(path, classes=classes, size=size).score_images(
            [np.full((32, 224, 3), 90, np.uint8)]
        )[0]
        for path, classes, size in (
            (tmp_path / "their.pth", ("deepfake", "original"), (32, 224)),
            (tmp_path / "folder", None, None),
            (tmp_path / "published", None, None),
        )
    ]
    np.testing.assert_allclose(scores, scores[0], atol=1e-5)
    again = run("export", *options, "--format", "folder", "--out", tmp_path / "folder")
    assert "holds a detector already" in again.err
