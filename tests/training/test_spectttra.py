from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from builders import write_comb
from earwitness.core.errors import DatasetError, RunError, UsageError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import look_up, open_detector
from earwitness.scoring.predict import predict
from earwitness.splits.manifests import read_manifest
from earwitness.training.examples import Example, SplitConfig, list_splits
from earwitness.training.run import TrainedDetector, train
from earwitness.training.sampling import draw_crop, read_crop, split_readable
from earwitness.training.spectttra import (
    RECIPE,
    SpectttraTask,
    find_start,
)
from earwitness.training.task import TrainConfig
from earwitness.training.trainer import fit
from spectttra_folders import write_folder

NAME = "sonics-spectttra-gamma-5s"
SMALL = {"melspec__n_fft": 512, "melspec__win_length": 512, "model__input_shape": [128, 64]}
Sides = tuple[list[Example], list[Example]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights in ``start``, and ``music.csv`` of files shorter and longer than a clip."""
    root = tmp_path_factory.mktemp("music")
    write_folder(root / "start", NAME, **SMALL)
    rows = ["filepath,target,group_id,source_dataset,split_tag"]
    for n in range(16):
        seconds = 3.0 if n % 2 else 6.0
        write_comb(root / f"{n:02d}.wav", n, seconds=seconds, level=0.03 * (n // 2 % 2))
        rows.append(f"{n:02d}.wav,{n // 2 % 2},g{n // 4},Noise,train")
    (root / "broken.wav").write_text("nothing")
    rows.append("broken.wav,0,g0,Noise,train")
    (root / "music.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def music(place: Path) -> Manifest:
    return read_manifest(place / "music.csv")


SCRIPT = """
import os, signal, sys
from pathlib import Path
from earwitness.splits.manifests import read_manifest
from earwitness.training.examples import SplitConfig, list_splits
from earwitness.training.run import train as train_detector
from earwitness.training.sampling import split_readable
from earwitness.training.task import TrainConfig
from earwitness.training.curves import Callbacks
from earwitness.training.spectttra import RECIPE, SpectttraTask, find_start

asked = []

def should_stop():
    asked.append(1)
    if len(asked) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return False

place = Path(sys.argv[1])
start = find_start("sonics-spectttra-gamma-5s", str(place / "start"))
sides = list_splits([read_manifest(place / "music.csv")], [], SplitConfig(0.25))[:2]
train, valid = (split_readable(side, start.card.contract)[0] for side in sides)
plan = TrainConfig(epochs=3, batch_size=4, **RECIPE)
task = SpectttraTask(start, train, valid)
train_detector(task, plan, Path(sys.argv[2]), callbacks=Callbacks(should_stop=should_stop))
"""
PLAN = TrainConfig(epochs=3, batch_size=4, **RECIPE)


@pytest.fixture(scope="module")
def sides(music: Manifest, place: Path) -> Sides:
    contract = find_start(NAME, str(place / "start")).card.contract
    (train, failed), (valid, more) = (
        split_readable(side, contract) for side in list_splits([music], [], SplitConfig(0.25))[:2]
    )
    assert [e.path.name for e, _ in (*failed, *more)] == ["broken.wav"]
    return train, valid


@pytest.fixture(scope="module")
def whole(
    sides: Sides, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainedDetector]:
    out = tmp_path_factory.mktemp("tuned") / "mine"
    task = SpectttraTask(find_start(NAME, str(place / "start")), *sides)
    return out, train(task, PLAN, out)


def test_what_is_written_is_a_folder_as_on_the_hub(
    whole: tuple[Path, TrainedDetector], music: Manifest, place: Path, sides: Sides
) -> None:
    out, done = whole
    card, trained = done.card, done.trained
    assert (out / "config.json").read_bytes() == (place / "start/config.json").read_bytes()
    assert (out / "model.safetensors").is_file()
    detector = open_detector(str(out))
    assert detector.card == look_up(str(out)).card == card
    by_name = open_detector(NAME, weights={NAME: out})
    assert by_name.card == card.model_copy(update={"name": NAME})
    (prediction,) = predict(music, [detector], n_workers=0)
    assert (prediction.n_scored, prediction.n_failed) == (16, 1)
    held = {example.path.name for example in sides[1]}
    logits = prediction.frame.filter(pl.col("filepath").is_in(held))
    signs = np.where(logits["target"].to_numpy() == 1, 1, -1)
    losses = np.log1p(np.exp(-signs * logits["logit"].to_numpy()))
    of_class = [losses[signs == sign].mean() for sign in (1, -1)]
    assert np.mean(of_class) == pytest.approx(trained.best_row["valid_loss"], abs=1e-4)


def test_the_card_says_what_it_was_begun_with(
    whole: tuple[Path, TrainedDetector], place: Path, sides: Sides, tmp_path: Path
) -> None:
    card = whole[1].card
    assert card.kind == NAME
    assert card.trained_on is None  # nobody knows what the start was trained on
    assert card.details["begun_with"] == "start"
    assert card.details["begun_with_sha256"] == sha256_of(place / "start/pytorch_model.bin")
    assert card.training_items is not None
    assert not card.training_items.complete
    assert sha256_of(sides[0][0].path) in card.training_items.item_sha256
    task = SpectttraTask(find_start(NAME, str(whole[0])), sides[1], sides[0])
    again = train(task, TrainConfig(epochs=1), tmp_path / "again").card
    assert again.training_items is not None
    assert again.training_items.n_items == 16
    groups = {hashlib.sha256(f"g{n}".encode()).hexdigest() for n in range(4)}
    assert set(again.training_items.group_sha256) == groups


def test_published_weights_keep_what_is_known_of_them(
    place: Path, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / NAME).symlink_to(place / "start")
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(weights))
    start = find_start(NAME, None)
    task = SpectttraTask(start, *sides)
    card = train(task, TrainConfig(epochs=1, batch_size=8), tmp_path / "mine").card
    assert card.trained_on == ("SONICS train", "Noise train")
    assert card.selected_on == ("SONICS valid", "Noise train")
    card_json = json.loads((tmp_path / "mine/card.json").read_text())
    (tmp_path / "mine/card.json").write_text(json.dumps(card_json | {"weights_sha256": "other"}))
    assert open_detector(str(tmp_path / "mine")).card.trained_on is None  # not of these weights


def test_a_killed_training_resumes_to_the_result_of_an_unbroken_one(
    whole: tuple[Path, TrainedDetector], place: Path, sides: Sides, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, place, out], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len((out / "curves.csv").read_text().splitlines()) == 2
    start = find_start(NAME, str(place / "start"))
    train(SpectttraTask(start, *sides), PLAN, out)
    for name in ("curves.csv", "split.csv", "model.safetensors", "card.json"):
        assert (out / name).read_bytes() == (whole[0] / name).read_bytes(), name


def test_the_front_end_is_not_learned_and_the_encoder_can_be_held(
    place: Path, sides: Sides, tmp_path: Path
) -> None:
    task = SpectttraTask(find_start(NAME, str(place / "start")), *sides)
    network = task.network
    before = {name: values.clone() for name, values in network.state_dict().items()}
    fit(task, TrainConfig(epochs=1, batch_size=4, freeze_epochs=1), tmp_path / "held")
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    fit(task, TrainConfig(epochs=1, batch_size=4), tmp_path / "freed")
    still = {name for name in before if torch.equal(before[name], network.state_dict()[name])}
    assert still == {name for name in before if name.startswith("ft_extractor")}


def test_clips_are_drawn_anywhere(place: Path, sides: Sides) -> None:
    contract = find_start(NAME, str(place / "start")).card.contract
    path = place / "00.wav"
    first, last = (draw_crop(path, contract, at) for at in (0.0, 0.999))
    assert first.shape == (1, 80_000)
    assert np.array_equal(draw_crop(path, contract, 0.75), read_crop(path, contract))
    np.testing.assert_allclose(first[0, 15_000:16_000].std(), last[0, :1000].std(), rtol=0.2)
    assert not np.array_equal(first, last)
    short = draw_crop(place / "01.wav", contract, 0.9)
    assert not short[0, 3 * 16_000 + 50 :].any()


def test_unsuitable_initial_weights_are_refused(place: Path, sides: Sides, tmp_path: Path) -> None:
    cases: list[tuple[str, str, type[Exception], str]] = [
        (NAME, str(place / "strat"), UsageError, "no such file; .* contains start"),
        (NAME, "none", UsageError, "--init none"),
        (NAME, str(place / "music.csv"), WeightsError, "cannot be read"),
        (NAME.replace("gamma", "alpha"), str(place / "start"), WeightsError, "expected f_clip 1"),
    ]
    for name, init, error, message in cases:
        with pytest.raises(error, match=message):
            find_start(name, init)
    start = find_start(NAME, str(place / "start"))
    other = write_folder(tmp_path / "other", NAME, seed=1, **SMALL)
    with pytest.raises(RunError, match="contains foreign weights"):
        train(SpectttraTask(start, *sides), PLAN, other)
    with pytest.raises(DatasetError, match="groups are in train and in valid"):
        SpectttraTask(start, sides[0], sides[0])
