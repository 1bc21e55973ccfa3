"""The workspace on disk: whole, repeatable, reused, and never in place of someone's files."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import sha256_of
from earwitness.demo import run as module
from earwitness.demo.fakes import ENCODERS, SONGMAKERS, Recording
from earwitness.demo.run import DATA_SETS, Settings, make_workspace
from earwitness.scoring.workers import Death

SMALL = Settings(n_tracks=6, n_songs=4, n_captions=1, clip_s=1.0)


def _contents(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    make_workspace(root, SMALL, n_workers=0)
    return root


@pytest.fixture
def no_sound(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Leave the music out: empty files in its place, and a list of what was asked for."""
    asked: list[Recording] = []

    def touch(recording: Recording) -> str:
        asked.append(recording)
        for copy in recording.copies:
            copy.path.parent.mkdir(parents=True, exist_ok=True)
            copy.path.touch()
        return recording.title

    monkeypatch.setattr(module, "make_recording", touch)
    return asked


def test_the_tree_is_the_published_one(made: Path) -> None:
    names = set(_contents(made))
    splits = np.load(
        made / "deepfake-detector/data/dataset_medium_split_filtered.npy", allow_pickle=True
    ).item()
    tracks = [str(name) for part in splits.values() for name in part]
    expected = {f"fma_real_medium/resampled/{name[:3]}/{name}" for name in tracks}
    expected |= {
        f"fma_rebuilt_medium/{encoder}/{name[:3]}/{name}" for encoder in ENCODERS for name in tracks
    }
    fma = {name.removeprefix("deepfake-detector/") for name in names if name.endswith(".mp3")}
    assert expected == {name for name in fma if name.startswith("fma_")}
    captions = {name for name in names if name.startswith("FakeMusicCaps/")}
    assert captions == {f"FakeMusicCaps/{g}/caption_000.wav" for g in SONGMAKERS}
    songs = [name for name in names if name.startswith(("SONICS/real_", "SONICS/fake_"))]
    assert len(songs) == 20
    assert sorted(path.name for path in made.iterdir()) == sorted((*DATA_SETS, "demo.json"))


def test_every_file_is_sound_of_the_same_length(made: Path) -> None:
    suffixes = (".mp3", ".wav", ".flac")
    for path in (p for p in made.rglob("*") if p.suffix in suffixes):
        samples, rate = soundfile.read(path, always_2d=True)
        narrow = "FakeMusicCaps" in path.parts
        assert (rate, samples.shape) == ((16_000, (16_000, 1)) if narrow else (44_100, (44_100, 2)))
        assert np.isfinite(samples).all()
        assert -26 < 20 * np.log10(samples.std()) < -8
        assert np.abs(samples).max() <= 1


def test_real_and_fake_mp3s_are_written_alike(made: Path) -> None:
    kinds = {
        (info.format, info.subtype, info.samplerate, info.channels)
        for info in map(soundfile.info, made.rglob("*.mp3"))
    }
    assert len(kinds) == 1


def test_the_number_of_workers_changes_nothing(made: Path, tmp_path: Path) -> None:
    make_workspace(tmp_path, SMALL, n_workers=2)
    assert _contents(tmp_path) == _contents(made)


def test_a_finished_workspace_is_reused(made: Path) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    said: list[str] = []
    make_workspace(made, SMALL, on_progress=said.append)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == stamps
    assert said == [f"{made}: the workspace exists, 52 files"]


def test_every_recording_is_reported(tmp_path: Path, no_sound: list[Recording]) -> None:
    said: list[str] = []
    make_workspace(tmp_path, SMALL, n_workers=0, on_progress=said.append)
    assert len(said) == len(no_sound) == 6 + 20 + 2
    assert said[-1] == "made FakeMusicCaps caption 000 by demo_songmaker_b (28 of 28)"


def test_other_settings_replace_it(tmp_path: Path, no_sound: list[Recording]) -> None:
    make_workspace(tmp_path, SMALL, n_workers=0)
    (tmp_path / "notes.txt").write_text("mine")
    make_workspace(tmp_path, replace(SMALL, n_captions=2), n_workers=0)
    assert len(list(tmp_path.glob("FakeMusicCaps/*/*.wav"))) == 4
    assert json.loads((tmp_path / "demo.json").read_text())["n_captions"] == 2
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("stop_at", ["recording", "tables", "marker"])
def test_a_half_made_workspace_is_replaced(
    tmp_path: Path,
    no_sound: list[Recording],
    monkeypatch: pytest.MonkeyPatch,
    stop_at: str,
) -> None:
    names = {"recording": "make_recording", "tables": "write_tables", "marker": "write_json"}

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(module, names[stop_at], interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_workspace(tmp_path, replace(SMALL, seed=1), n_workers=0)
    assert not (tmp_path / "demo.json").exists()
    make_workspace(tmp_path, SMALL, n_workers=0)
    found = set(_contents(tmp_path))
    make_workspace(tmp_path / "fresh", SMALL, n_workers=0)
    assert found == set(_contents(tmp_path / "fresh"))


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_of_someone_else_are_never_touched(
    tmp_path: Path, no_sound: list[Recording], name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious.wav").touch()
    with pytest.raises(UsageError, match=f"found {name} without demo.json"):
        make_workspace(tmp_path, SMALL, n_workers=0)
    assert set(_contents(tmp_path)) == {f"{name}/precious.wav"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(UsageError, match="found a file, expected a folder"):
        make_workspace(tmp_path / "demo", SMALL, n_workers=0)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
def test_a_worker_that_is_killed_once_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"

    def make(recording: Recording, killed: Path = killed) -> str:
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for copy in recording.copies:
            copy.path.parent.mkdir(parents=True, exist_ok=True)
            copy.path.touch()
        return recording.title

    monkeypatch.setattr(module, "make_recording", make)
    root = tmp_path / "demo"
    make_workspace(root, SMALL, n_workers=1)
    assert killed.exists()
    found = [p for p in root.rglob("*") if p.suffix in (".mp3", ".wav", ".flac")]
    assert len(found) == 52
    assert (root / "demo.json").exists()


@pytest.mark.parametrize(("death", "words"), [("killed", "was killed"), ("crashed", "crashed")])
def test_a_worker_that_dies_again_and_again_is_one_line(death: Death, words: str) -> None:
    recording = Recording("a song", (0,), (0,), 1.0, ())
    with pytest.raises(RunError) as caught:
        module._raise_crashed((recording,), death)
    assert str(caught.value) == (
        f"a song: the process that makes it {words} again and again; the same command starts over"
    )
