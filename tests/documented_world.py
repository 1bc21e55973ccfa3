"""What pages of the documentation assume, in small: datasets, songs, weights, a hub's cache.

Names and layouts are those of the pages; audio lasts 6 s.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import nn

import bundles
import hf_folders
import lofcz_folders
import spectttra_folders
from boxes import synthetic_music
from builders import write_comb
from dataset_folders import FOLDERS, write_shard
from detectors.test_command import write_program
from earwitness.datasets.fma import ENCODERS as PUBLISHED_ENCODERS
from earwitness.demo.fakes import ENCODERS, write_samples
from earwitness.demo.run import COMBINED, DETECTOR, Settings, plan_recordings, write_tables
from earwitness.detectors.network import export_onnx
from earwitness.splits.build import SplitOptions, build_splits, write_splits
from earwitness.splits.manifests import read_manifest
from earwitness.training.fakeprint import train_fakeprint
from foreign import Waves
from imagefolders import write_images
from soundfiles import music

RATE, SECONDS = 44_100, 6.0
COMMIT = "c" * 40
HUB_IDS = ("awsaf49__sonics-spectttra-alpha-5s", "awsaf49__sonics-spectttra-gamma-120s")
"""Weights by hub id, as they are named below ``$EARWITNESS_WEIGHTS``."""


def write_world(root: Path) -> None:
    """Write what pages share."""
    demo, data = root / "demo-run", root / "data" / "music"
    write_workspace(demo / "workspace")
    write_demo(demo)
    shutil.copytree(demo / "workspace", data)
    rebuilt = data / "deepfake-detector" / "fma_rebuilt_medium"
    for encoder in set(PUBLISHED_ENCODERS) - set(ENCODERS):
        shutil.copytree(rebuilt / ENCODERS[0], rebuilt / encoder)
    specnn = data / "deepfake-detector/weights/final/specnn_amplitude"
    bundles.write_specnn(specnn / "variables" / "variables", bundles.specnn_variables())
    for name, folder in (("asvspoof_5", "ASVspoof5"), ("echoes", "Echoes"), ("ctrsvdd", "CtrSVDD")):
        FOLDERS[name].make(root / "data" / folder)
    tracks = sorted((data / "deepfake-detector/fma_real_medium").rglob("*.mp3"))
    for n, track in enumerate(tracks):
        write_comb(root / "songs" / "fake" / "made" / f"{n}.wav", n, seconds=SECONDS)
        (root / "songs" / "real").mkdir(exist_ok=True)
        shutil.copy(track, root / "songs" / "real" / f"{n}.mp3")
    shutil.copytree(root / "songs", root / "my_music")
    shutil.copy(tracks[0], root / "song.mp3")
    write_weights(root / "weights")
    write_hub(root / "hub")


def write_workspace(root: Path) -> None:
    """Write the files of the demo's workspace, with music that is made faster."""
    times_s = np.arange(int(RATE * SECONDS)) / RATE
    lines_hz = np.arange(5_512.5, 16_000, RATE / 512)
    lines = 0.002 * sum(np.cos(2 * np.pi * hz * times_s) for hz in lines_hz)
    settings = Settings(n_tracks=12, n_songs=4, n_captions=2)
    for n, recording in enumerate(plan_recordings(settings, root)):
        samples = music(RATE, SECONDS, 2, seed=n).T
        for path, fake, narrow in recording.copies:
            write_samples(path, samples + lines if fake else samples, narrow=narrow)
    write_tables(settings, root)


def write_demo(out: Path) -> None:
    """Write what ``make demo`` leaves besides the workspace, without its run."""
    options = SplitOptions(
        root=out / "workspace",
        deezer_split_name="train",
        fma_encoders=ENCODERS,
        n_sonics_real=0,
        n_sonics_fake=0,
        n_fakemusiccaps_fake=0,
    )
    write_splits(build_splits(options), out / "train")
    train_fakeprint([read_manifest(out / "train" / f"{COMBINED}.csv")], out / DETECTOR)


def write_weights(root: Path) -> None:
    """Write random weights by the names of their detectors."""
    for name in ("sonics-spectttra-gamma-5s", *HUB_IDS):
        spectttra_folders.write_folder(root / name, name)
    lofcz_folders.write_lr(root / "lofcz-lr")
    lofcz_folders.write_cnn(root / "lofcz-cnn")


def write_hub(root: Path) -> None:
    """Write a model and a dataset as the hub's client keeps what it has fetched."""
    labels = {"label": ["real", "fake"], "model": ["human", "suno"]}
    for kind in ("models", "datasets"):
        refs = root / f"{kind}--OWNER--NAME" / "refs"
        refs.mkdir(parents=True)
        for name in ("main", "REVISION"):
            (refs / name).write_text(COMMIT)
    hf_folders.write_wav2vec2(root / "models--OWNER--NAME" / "snapshots" / COMMIT)
    kept = root / "datasets--OWNER--NAME" / "snapshots" / COMMIT
    write_shard(kept / "data" / "test-00000-of-00001.parquet", labels)


class Assumed(NamedTuple):
    """What a page assumes besides the songs.

    Attributes:
        songs: Manifests of real and fake songs.
        reals: Manifests of real songs.
        n_each: Number of real and of fake songs in a manifest.
        links: Names in the page's folder, with their places in the world.
        texts: Other files.
        make: Writes the rest into the page's folder.
        commands: Run at last.
    """

    songs: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    n_each: int = 3
    links: Mapping[str, str] = {}
    texts: Mapping[str, str] = {}
    make: Callable[[Path], None] = lambda _: None
    commands: tuple[str, ...] = ()

    def write(self, folder: Path, world: Path, run: Callable[[str], None]) -> None:
        """Write all of it into an empty folder; ``run`` takes the words after ``earwitness``."""
        for name in ("songs", "my_music", "song.mp3"):
            (folder / name).symlink_to(world / name)
        for name, place in self.links.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(world / place)
        texts = {name: self._list_songs(name) for name in (*self.songs, *self.reals)}
        for name, text in (texts | dict(self.texts)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        self.make(folder)
        for command in self.commands:
            run(command)

    def _list_songs(self, manifest: str) -> str:
        """Return the rows of a manifest, whose paths are relative to its folder."""
        above = "../" * manifest.count("/")
        reals = [f"{above}songs/real/{n}.mp3,0,\n" for n in range(self.n_each)]
        fakes = [f"{above}songs/fake/made/{n}.wav,1,made\n" for n in range(self.n_each)]
        rows = reals if manifest in self.reals else [*reals, *fakes]
        return "".join(("filepath,target,generator\n", *rows))


def write_packages(folder: Path) -> None:
    """Write music of three Debian packages, and a manifest of it."""
    rows = ["filepath,target,source_dataset\n"]
    for seed in range(24):
        name = ("asc-music", "blobwars-data", "widelands-data")[seed % 3]
        path = folder / "debian" / name / f"{seed}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, synthetic_music(seed, seconds=21), RATE)
        rows.append(f"debian/{name}/{seed}.wav,0,{name}\n")
    (folder / "reals.csv").write_text("".join(rows))


def write_foreign(folder: Path) -> None:
    """Write a program and an ONNX model; their descriptions are in the page."""
    write_program(folder / "theirs")
    network = nn.Sequential(Waves(2), nn.Softmax(dim=1)).eval()
    model = export_onnx(network, torch.zeros(2, 80_000))
    (folder / "models").mkdir()
    (folder / "models" / "model.onnx").write_bytes(model)


def write_pictures(folder: Path) -> None:
    """Write images in folders of classes, tables of them, and music of packages."""
    write_packages(folder)
    data, named = write_images(folder / "data", 12), folder / "spectrograms"
    for name, of in (("human", "original"), ("suno", "deepfake"), ("udio", "deepfake")):
        shutil.copytree(data / of, named / name)
    images = sorted(path.relative_to(data) for path in data.rglob("*.png"))
    (folder / "tables").mkdir()
    for part, name in enumerate(("train", "valid", "test")):
        rows = [f"{path},{path.parts[0].title()}\n" for path in images[part::3]]
        (folder / "tables" / f"{name}.csv").write_text("img_path,actual_output\n" + "".join(rows))


def write_test_images(folder: Path) -> None:
    """Write the CSV of the published test, and its images below the base folder."""
    base, rows = folder / "data", ["img_path,actual_output\n"]
    for path in sorted(write_images(base / "held_out", 3).rglob("*.png")):
        name = path.relative_to(base)
        rows.append(f"{name.as_posix()},{name.parts[1].title()}\n")
    (folder / "test_data").mkdir()
    (folder / "test_data" / "test.csv").write_text("".join(rows))


def write_short_songs(folder: Path) -> None:
    """Write a song into each of three folders."""
    for name in ("fma_examples", "FakeMusicCaps", "SONICS/fake_songs"):
        (folder / name).mkdir(parents=True)
        shutil.copy(folder / "song.mp3", folder / name)


DATASETS = {name: f"data/music/{name}" for name in ("deepfake-detector", "SONICS", "FakeMusicCaps")}
MINE = "demo-run/detectors/fakeprint-demo"
LOFCZ = {name: name for name in ("weights/lofcz-lr", "weights/lofcz-cnn")}
SPLITS = "splits --folder songs --out-dir manifests"
ASSUMED = {
    "README.md": Assumed(
        songs=("songs.csv",),
        links=DATASETS | {"demo-run": "demo-run"},
        commands=tuple(
            f"predict --detector comb --manifest songs.csv --out runs/{name}"
            for name in ("old", "new")
        ),
    ),
    "docs/box.md": Assumed(
        texts={"LIST.csv": "package,file\n"}, make=write_packages, commands=(SPLITS,)
    ),
    "docs/comb.md": Assumed(reals=("train.csv", "threshold.csv"), commands=(SPLITS,)),
    "docs/coming-from-the-scripts.md": Assumed(
        links=DATASETS
        | {"train": "demo-run/train", "models/fakeprint-mine": MINE}
        | {f"weights/{name}": f"weights/{name}" for name in HUB_IDS}
        | {"weights/final": "data/music/deepfake-detector/weights/final"},
        make=write_test_images,
    ),
    "docs/dossier.md": Assumed(
        reals=("reals.csv", "catalogue.csv"),
        commands=("predict --detector comb,box --manifest reals.csv --out runs/reals",),
    ),
    "docs/lofcz.md": Assumed(links=LOFCZ, commands=(SPLITS,)),
    "docs/other-tools.md": Assumed(
        songs=("mine.csv", "manifest.csv"),
        texts={
            "wpt__music.txt": "a.wav 0.9 real\nb.wav 0.2 fake\n",
            "scores.txt": "a.wav 0.9\nb.wav -0.2\n",
            "protocol.csv": "file_name,label\na.wav,bonafide\nb.wav,spoof\n",
        },
        commands=("predict --detector comb --manifest mine.csv --out runs/both",),
    ),
    "docs/report.md": Assumed(
        songs=("songs.csv",),
        commands=(
            "predict --detector comb --manifest songs.csv --out runs/first",
            "evaluate runs/first/preds --out metrics.json",
        ),
    ),
    "docs/scale.md": Assumed(songs=("manifests/m.csv",)),
    "docs/serve.md": Assumed(
        reals=("reals.csv",),
        commands=("predict --detector comb --manifest reals.csv --out runs/first",),
    ),
    "docs/stress.md": Assumed(
        songs=("manifests/fma.csv",),
        links={"models/mine": MINE},
        make=write_short_songs,
    ),
    "docs/training.md": Assumed(
        songs=("train.csv",),
        n_each=12,
        links={name: name for name in ("demo-run", "weights/sonics-spectttra-gamma-5s")},
        make=write_pictures,
    ),
    "docs/your-detector.md": Assumed(songs=("test.csv",), make=write_foreign),
}
"""What each page assumes."""
