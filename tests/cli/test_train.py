"""``earwitness train`` on images and audio, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders import write_comb
from imagefolders import write_images

Run = Callable[..., Any]
QUICK = ("--init", "none", "--epochs", "1", "--batch-size", "16", "--device", "cpu")


def test_a_bare_train_does_what_the_published_pipeline_does(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path("data"), 12)
    done = run("train", *QUICK)
    assert done.code == 0, done.err
    assert "epoch 1 of 1: train loss" in done.err
    assert "fewer than 10 groups in valid for original and deepfake" in done.err
    assert "best epoch 1 of 1: valid loss" in done.out
    assert Path("models/experiments/best_laundered_processed.pth").is_file()
    Path("test_data").mkdir()
    Path("test_data/test.csv").write_text(
        "img_path,actual_output\n"
        + "".join(f"original/combined/t00{n}__0.png,Original\n" for n in range(3))
    )
    classified = run("classify")
    assert classified.code == 0, classified.err
    assert "3 rows scored, 0 failed" in classified.out
    assert "not as those" not in classified.err
    again = run("train", *QUICK)
    assert again.code == 2
    assert "contains a detector already" in again.err


def test_without_the_network_one_line_says_how_to_continue(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.training.resnet.URL", "http://127.0.0.1:9/resnet18.pth")
    write_images(tmp_path / "data", 8)
    done = run("train", "--images", tmp_path / "data", "--out", tmp_path / "out")
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith("earwitness: http://127.0.0.1:9/resnet18.pth cannot be fetched")
    assert last.endswith("or --init none to begin with random weights")


def test_manifests_alone_still_fit_a_fakeprint(tmp_path: Path, run: Run) -> None:
    lines = ["filepath,target"]
    for n in range(4):
        write_comb(tmp_path / f"{n}.wav", n, level=0.01 * (n % 2))
        lines.append(f"{n}.wav,{n % 2}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    options = ("--manifest", tmp_path / "train.csv", "--num-workers", "0")
    done = run("train", *options, "--out", tmp_path / "mine")
    assert done.code == 0, done.err
    assert "fitted on 2 real and 2 fake items" in done.out
    missing = run("train", *options)
    assert missing.code == 2
    assert "fakeprint: expected --manifest FILES and --out DIR" in missing.err


def test_mistakes_end_in_one_line(tmp_path: Path, run: Run) -> None:
    write_images(tmp_path / "data", 2)
    cases = [
        (("--images", tmp_path / "dat"), ": no such file; "),
        (
            ("--images", tmp_path / "data", "--init", "none"),
            "examples of valid, expected both classes",
        ),
        (("--images", tmp_path / "data", "--init", "best.pth"), "--init best.pth: no such file"),
        (("--images", tmp_path / "data", "--detector", "fakeprint"), "--images: only for resnet18"),
        (
            ("--manifest", tmp_path, "--detector", "specnn_amplitude", "--init", "imagenet"),
            "--init imagenet: specnn_amplitude starts from random weights",
        ),
        (
            ("--detector", "sonics-spectttra-alpha-5s", "--init", tmp_path / "data"),
            "expected model.safetensors or pytorch_model.bin there",
        ),
        (("--images", tmp_path, "--monitor", "f1"), "--monitor f1: expected valid_loss or"),
        (("--detector", "svm"), "--detector svm: cannot be trained, expected resnet18"),
        (("--images", tmp_path / "data", "--group-by", "("), "--group-by '('"),
        (("--init", "none", "--precision", "fp8"), "--precision fp8: expected"),
    ]
    for arguments, message in cases:
        done = run("train", "--out", tmp_path / "out", *arguments)
        assert done.code == 2, (arguments, done)
        assert message in done.err
        assert done.err.splitlines()[-1].startswith("earwitness: ")


def test_a_csv_and_a_test_at_the_end(tmp_path: Path, run: Run) -> None:
    write_images(tmp_path / "data", 24)
    names = sorted(p.relative_to(tmp_path / "data") for p in (tmp_path / "data").rglob("*.png"))
    rows = [f"{name},{'fake' if name.parts[0] == 'deepfake' else 'real'}" for name in names]
    (tmp_path / "train.csv").write_text("\n".join(["img_path,actual_output", *rows]))
    options = ("--csv", tmp_path / "train.csv", "--base", tmp_path / "data", "--published")
    done = run("train", *options, *QUICK, "--weight-decay", "0.05", "--out", tmp_path / "mine")
    assert done.code == 0, done.err
    assert "held-out test (" in done.out
    assert (tmp_path / "mine" / "test.json").is_file()
    scored = tmp_path / "mine" / "test_predictions.csv"
    evaluated = run("evaluate", scored, "--out", tmp_path / "metrics.json", "--resamples", "100")
    assert evaluated.code == 0, evaluated.err


def test_sources_that_do_not_go_together(tmp_path: Path, run: Run) -> None:
    write_images(tmp_path / "data", 2)
    images = ("--images", tmp_path / "data")
    cases = [
        ((*images, "--csv", "a.csv"), "--images and --csv: expected one of them"),
        ((*images, "--valid", "a.csv"), "a folder of --images has its splits in train, val"),
        (("--csv", "a.csv", "--detector", "fakeprint"), "--csv: only for resnet18"),
        (("--manifest", "m.csv", "--test", "t.csv"), "--test: expected with resnet18"),
        (("--manifest", "m.csv", "--weight-decay", "0.1"), "fakeprint is fitted without it"),
        ((*images, "--real-folders", "a", "--fake-folders", "a"), "'a' is in both"),
        ((*images, "--valid-share", "0.6", "--test-share", "0.4"), "expected a sum below 1"),
        ((*images, "--init", "none", "--test-share", "0.3"), "expected both classes"),
        (("--manifest", "m.csv", "--detector", "resnet18", "--style", "x"), "--style x: expected"),
    ]
    for arguments, message in cases:
        done = run("train", "--out", tmp_path / "out", *arguments)
        assert done.code == 2, (arguments, done)
        assert message in done.err
        assert done.err.splitlines()[-1].startswith("earwitness: ")
