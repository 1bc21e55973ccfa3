from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import earwitness as ew
from builders import write_comb
from earwitness.core.errors import DatasetError, RunError, StoppedError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.loading import open_detector
from earwitness.detectors.nets.resnet18 import load_resnet
from earwitness.scoring.predict import predict
from earwitness.training.curves import Callbacks
from earwitness.training.examples import SplitConfig
from earwitness.training.image_dataset import ImageSplits, prepare_audio, prepare_images
from earwitness.training.image_sources import find_images
from earwitness.training.resnet import ImageTask, make_network
from earwitness.training.run import TrainedDetector, train
from earwitness.training.task import TrainConfig
from earwitness.training.trainer import fit
from imagefolders import TINY, write_images
from resnets import make_network as random_network

QUICK = TrainConfig(epochs=4, batch_size=8, learning_rate=1e-3, monitor="valid_auroc")
BRIEF = TrainConfig(epochs=1, batch_size=16)
TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), 24)


@pytest.fixture(scope="module")
def images(folder: Path) -> ImageSplits:
    return prepare_images(find_images(folder).examples, SplitConfig(0.25))


@pytest.fixture(scope="module")
def whole(
    images: ImageSplits, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainedDetector, list[int]]:
    """An unbroken training: its folder, what came of it, and the epochs of its callback."""
    out, epochs = tmp_path_factory.mktemp("trained") / "mine", []
    callbacks = Callbacks(on_epoch=lambda row: epochs.append(int(row["epoch"])))
    return out, train(ImageTask(images, init="none"), QUICK, out, callbacks=callbacks), epochs


def test_learns_to_separate_the_classes(
    images: ImageSplits, whole: tuple[Path, TrainedDetector, list[int]]
) -> None:
    out, done, epochs = whole
    assert done.trained.best_row["valid_auroc"] > 0.8
    assert epochs == list(range(1, len(epochs) + 1))
    curves = pl.read_csv(out / "curves.csv")
    assert curves["epoch"].to_list() == epochs
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").glob("events*"))
    assert not (out / "checkpoints").exists()
    split = pl.read_csv(out / "split.csv")
    sides = split.partition_by("split_tag", as_dict=True)
    assert set(sides["train",]["group_id"]).isdisjoint(sides["valid",]["group_id"])
    card = open_detector(str(out)).card
    assert card.images == TINY
    assert card.details["valid_auroc"] == pytest.approx(curves["valid_auroc"].max(), abs=1e-6)
    assert card.training_items is not None
    assert sha256_of(images.train.examples[0].path) in card.training_items.item_sha256
    state = torch.load(out / "best_laundered_processed.pth", weights_only=True)
    assert random_network().load_state_dict(state, strict=True)
    detector = load_resnet(out / "best_laundered_processed.pth")
    colours = [np.repeat(p[..., None], 3, axis=2) for p in images.valid.images()]
    right = (detector.score_images(colours) >= 0) == [e.target == 1 for e in images.valid.examples]
    assert right.mean() == pytest.approx(done.trained.best_row["valid_balanced_accuracy"])
    with pytest.raises(RunError, match="contains a detector already"):
        train(ImageTask(images, init="none"), QUICK, out)


def test_the_held_out_test_is_scored_once_and_never_learned_from(
    folder: Path, tmp_path: Path
) -> None:
    images = prepare_images(find_images(folder).examples, SplitConfig(0.2, test_share=0.2))
    assert images.test is not None
    plan = TrainConfig(epochs=2, batch_size=8)
    done = train(ImageTask(images, init="none", published=True), plan, tmp_path / "mine")
    assert done.test is not None
    split = pl.read_csv(tmp_path / "mine" / "split.csv").partition_by("split_tag", as_dict=True)
    groups = [set(split[side,]["group_id"]) for side in ("train", "valid", "test")]
    assert len(set.union(*groups)) == sum(map(len, groups))
    (read,) = ew.read_predictions(tmp_path / "mine" / "test_predictions.csv")
    metrics = ew.evaluate([read], n_resamples=20)
    overall = next(one for one in metrics.slices if one.kind == "overall")
    written = json.loads((tmp_path / "mine" / "test.json").read_text())
    assert written["n_images"] == len(images.test.examples) == read.frame.height
    for name in ("auroc", "balanced_accuracy"):
        value = written["metrics"][name]["value"]
        assert value == pytest.approx(overall.estimates[name].value)
        assert done.card.details[f"test_{name}"] == pytest.approx(value, abs=1e-6)
    again = load_resnet(tmp_path / "mine" / "best_laundered_processed.pth")
    assert again.card.classes == ("Deepfake", "Original")
    colours = [np.repeat(p[..., None], 3, axis=2) for p in images.test.images()]
    np.testing.assert_allclose(
        again.score_images(colours), read.frame["logit"].to_numpy(), atol=1e-4
    )
    # the same sides without a test learn the same weights
    alone = ImageSplits(images.train, images.valid)
    train(ImageTask(alone, init="none", published=True), plan, tmp_path / "alone")
    name = "best_laundered_processed.pth"
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "mine" / name).read_bytes()
    assert not (tmp_path / "alone" / "test.json").exists()


def test_weight_decay_shrinks_weights(images: ImageSplits, tmp_path: Path) -> None:
    def size(weight_decay: float) -> float:
        task = ImageTask(images, init="none")
        plan = TrainConfig(epochs=1, batch_size=16, learning_rate=1e-3, weight_decay=weight_decay)
        trained = fit(task, plan, tmp_path / str(weight_decay))
        return float(trained.final["layer4.0.conv1.weight"].norm())

    assert size(50.0) < 0.95 * size(0.0)


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from earwitness.training.image_dataset import prepare_images
from earwitness.training.resnet import ImageTask
from earwitness.training.run import train
from earwitness.training.examples import SplitConfig
from earwitness.training.image_sources import find_images
from earwitness.training.task import TrainConfig
from earwitness.training.curves import Callbacks

asked = []

def should_stop():
    asked.append(1)
    if len(asked) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return False

images = prepare_images(find_images(Path(sys.argv[1])).examples, SplitConfig(0.25))
plan = TrainConfig(epochs=4, batch_size=8, learning_rate=1e-3, monitor="valid_auroc")
task = ImageTask(images, init="none")
train(task, plan, Path(sys.argv[2]), callbacks=Callbacks(should_stop=should_stop))
"""


def test_a_killed_training_resumes_to_the_result_of_an_unbroken_one(
    folder: Path,
    images: ImageSplits,
    tmp_path: Path,
    whole: tuple[Path, TrainedDetector, list[int]],
) -> None:
    command = [sys.executable, "-c", KILLED, folder, tmp_path / "killed"]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = (tmp_path / "killed" / "curves.csv").read_text().splitlines()
    assert len(before) == 2  # the header and one epoch; the second one was broken off
    resumed, unbroken = tmp_path / "killed", whole[0]
    train(ImageTask(images, init="none"), QUICK, resumed)
    for name in ("curves.csv", "split.csv", "final_laundered_processed.pth"):
        assert (resumed / name).read_bytes() == (unbroken / name).read_bytes(), name
    cards = [json.loads((f / "card.json").read_text())["details"] for f in (resumed, unbroken)]
    assert cards[0] == cards[1]


KILLED_LATE = """
import os, signal, sys
from pathlib import Path
from earwitness.training.image_dataset import prepare_images
from earwitness.training.resnet import ImageTask
from earwitness.training.run import train
from earwitness.training.examples import SplitConfig
from earwitness.training.image_sources import find_images
from earwitness.training.task import TrainConfig

def killing(event, arguments):
    if event == "os.rename" and Path(os.fsdecode(arguments[1])).name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
    if event == "shutil.rmtree" and sys.argv[3] == "rmtree":
        if Path(os.fsdecode(arguments[0])).is_dir():
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(killing)
images = prepare_images(find_images(Path(sys.argv[1])).examples, SplitConfig(0.25))
task = ImageTask(images, init="none")
train(task, TrainConfig(epochs=1, batch_size=16), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def brief(images: ImageSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken training of one epoch."""
    out = tmp_path_factory.mktemp("brief") / "mine"
    train(ImageTask(images, init="none"), BRIEF, out)
    return out


@pytest.mark.parametrize("moment", ["card.json", "rmtree"])
def test_a_training_killed_in_its_last_moments_is_not_done(
    folder: Path, images: ImageSplits, tmp_path: Path, brief: Path, moment: str
) -> None:
    out = tmp_path / "late" / "mine"  # the curves are titled after the folder
    command = [sys.executable, "-c", KILLED_LATE, folder, out, moment]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    task = ImageTask(images, init="none")
    if moment == "rmtree":  # the card is there, so all else is: it is done
        with pytest.raises(RunError, match="contains a detector already"):
            train(task, BRIEF, out)
    else:
        train(task, BRIEF, out)
    names = {path.name for path in brief.iterdir()}
    assert {path.name for path in out.iterdir()} == names
    for name in sorted(names - {"tensorboard", "card.json", "weights.safetensors"}):
        assert (out / name).read_bytes() == (brief / name).read_bytes(), name
    with pytest.raises(RunError, match="contains a detector already"):
        train(task, BRIEF, out)


def test_ctrl_c_stops_and_another_training_is_refused(images: ImageSplits, tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="the same command resumes"):
        train(
            ImageTask(images, init="none"),
            QUICK,
            tmp_path,
            callbacks=Callbacks(should_stop=lambda: True),
        )
    other = replace(QUICK, seed=1)
    with pytest.raises(RunError, match=r"another training: seed was 0, is 1\. Choose"):
        train(ImageTask(images, init="none"), other, tmp_path)
    fewer = ImageSplits(images.train, images.valid.subset(images.valid.examples[1:]))
    with pytest.raises(RunError, match="other valid examples"):
        train(ImageTask(fewer, init="none"), QUICK, tmp_path)


def test_the_bar_counts_every_example_of_every_epoch(images: ImageSplits, tmp_path: Path) -> None:
    task = ImageTask(images, init="none")
    n = len(images.train.examples)
    plan = TrainConfig(epochs=2, batch_size=10, patience=5)
    assert n % plan.batch_size  # the last batch is short and left out
    counted: list[bool] = []
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > n // plan.batch_size

    with pytest.raises(StoppedError):
        fit(
            task,
            plan,
            tmp_path,
            callbacks=Callbacks(advance=counted.append, should_stop=should_stop),
        )
    assert len(counted) == n
    counted.clear()
    fit(task, plan, tmp_path, callbacks=Callbacks(advance=counted.append))
    assert len(counted) == 2 * n  # the epoch of the first run, too


class Crowded(ImageTask):
    """A task on a machine without room for more than eight images."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(inputs) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return super().forward(inputs)


def test_out_of_memory_halves_the_batch(images: ImageSplits, tmp_path: Path) -> None:
    task = Crowded(images, init="none")
    trained = fit(task, TrainConfig(epochs=1, batch_size=32), tmp_path)
    assert trained.notes == [
        "out of memory: the batch size is 8, with gradients accumulated to steps of about 32"
    ]
    assert len(trained.rows) == 1


def test_only_the_last_layer_is_trained_at_first(images: ImageSplits, tmp_path: Path) -> None:
    torch.save(random_network(1, seed=5).state_dict(), tmp_path / "start.pth")
    task = ImageTask(images, init=str(tmp_path / "start.pth"))
    start = {name: values.clone() for name, values in task.network.state_dict().items()}
    given = random_network(1, seed=5).state_dict()["conv1.weight"]
    assert torch.equal(start["conv1.weight"], given)
    assert start["fc.weight"].shape == (2, 512)
    trained = fit(task, TrainConfig(epochs=2, batch_size=16, freeze_epochs=1), tmp_path / "held")
    assert not torch.equal(trained.final["conv1.weight"], start["conv1.weight"])
    epochs = TrainConfig(epochs=1, batch_size=16, freeze_epochs=1)
    task.network.load_state_dict(start)
    trained = fit(task, epochs, tmp_path / "freed")
    changed = {
        name for name, values in trained.final.items() if not torch.equal(values, start[name])
    }
    assert changed == {"fc.weight", "fc.bias"}


def test_missing_imagenet_weights_say_what_to_do(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9/resnet18-f37072fd.pth"
    monkeypatch.setattr("earwitness.training.resnet.URL", url)
    with pytest.raises(WeightsError, match=r"cannot be fetched \(.*refused.*--init none") as caught:
        make_network("imagenet", seed=0)
    assert "\n" not in str(caught.value)
    assert str(own_cache) in str(caught.value)
    kept = own_cache / "weights" / "resnet18-f37072fd.pth"
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(random_network().state_dict(), kept)
    with pytest.raises(WeightsError, match=r"expected f37072fd… \(damaged, or another") as caught:
        make_network("imagenet", seed=0)
    assert str(caught.value).startswith(f"{kept}: SHA-256 {sha256_of(kept)[:8]}…")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("music")
    names = [f"{n:02d}_{'fake' if n % 2 else 'real'}.wav" for n in range(12)]
    for n, name in enumerate(names):
        write_comb(root / name, n, seconds=2, level=0.01 if n % 2 else 0)
    (root / "broken.wav").write_text("nothing")
    frame = pl.DataFrame(
        {
            "filepath": [*names, "broken.wav"],
            "target": pl.Series([n % 2 for n in range(12)] + [0], dtype=pl.Int8),
            "group_id": [f"g{n // 2}" for n in range(12)] + ["b"],
        }
    )
    return Manifest("music", frame, (root,))


def test_a_network_trained_on_rendered_audio_scores_audio(music: Manifest, tmp_path: Path) -> None:
    contract = SpectrogramContract(
        height=32, width=32, hop=1000, sample_rate_hz=44_100, band_hz=(20, 22_050)
    )
    images = prepare_audio([music], [], contract, SplitConfig(0.34), windows=2, n_workers=0)
    assert [image.shape for image in images.train.images()] == [(32, 32)] * 16
    assert len(images.valid.examples) == 8
    assert [e.path.name for e, _ in images.failures] == ["broken.wav"]
    done = train(ImageTask(images, init="none"), BRIEF, tmp_path / "mine")
    assert done.card.images == contract
    (prediction,) = predict(music, [str(tmp_path / "mine")], n_workers=0)
    assert (prediction.n_scored, prediction.n_failed) == (12, 1)
    with pytest.raises(DatasetError, match="groups are in train and in valid"):
        prepare_audio([music], [music], contract, SplitConfig(), n_workers=0)


def test_two_processes_share_the_work(folder: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from dataclasses import replace
from pathlib import Path
from earwitness.training.image_dataset import prepare_images
from earwitness.training.resnet import ImageTask
from earwitness.training.run import train
from earwitness.training.examples import SplitConfig
from earwitness.training.image_sources import find_images
from earwitness.training.task import Hardware, TrainConfig
images = prepare_images(find_images(Path({str(folder)!r})).examples, SplitConfig(0.25))
train(ImageTask(images, init="none"), TrainConfig(epochs=1, batch_size=8), Path({str(tmp_path)!r}),
      hardware=Hardware("cpu", 2))
"""
    path = tmp_path / "two.py"
    path.write_text(script)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "card.json").is_file()
