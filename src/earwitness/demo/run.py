"""The demo: a synthetic workspace, a detector trained on two generators of it, the benchmark.

The workspace has the published folder tree::

    deepfake-detector/fma_real_medium/resampled/<nnn>/<id>.mp3
    deepfake-detector/fma_rebuilt_medium/<encoder>/<nnn>/<id>.mp3
    deepfake-detector/data/dataset_medium_split_filtered.npy
    SONICS/{train,valid,test}.csv, real_songs/, fake_songs/
    FakeMusicCaps/<generator>/<caption id>.wav
    demo.json

Conventions: real and fake files are equally long, about equally loud, and written alike. Data sets
are written to a temporary folder and moved at the end; ``demo.json`` is written last.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from earwitness.bench.config import BenchConfig
from earwitness.bench.run import BenchmarkRun, run_benchmark
from earwitness.bench.steps import Watcher
from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import atomic_write, write_json, write_text
from earwitness.demo.fakes import ENCODERS, SONGMAKERS, Copy, Recording, make_recording
from earwitness.listen.listen import find_detectors
from earwitness.scoring.run import OnStart
from earwitness.scoring.workers import Death, TaskQueue, map_tasks
from earwitness.splits.build import SplitOptions, build_splits, write_splits
from earwitness.splits.manifests import read_manifest
from earwitness.training.fakeprint import train_fakeprint

DATA_SETS = ("deepfake-detector", "SONICS", "FakeMusicCaps")
MARKER = "demo.json"
_UNFINISHED = ".demo-unfinished"
_FMA, _FMA_ARTIST, _FMA_IDS, _REAL, _REAL_ARTIST, _FAKE, _FAKE_ARTIST, _CAPTION, _SKIP = range(9)
"""Purposes of random numbers, the second part of every seed."""


@dataclass(frozen=True)
class Settings:
    """Settings of a workspace.

    Attributes:
        seed: Random seed.
        n_tracks: FMA tracks, at least 6: half train, a third validation, a sixth test.
        n_songs: SONICS songs per class in train and in valid, a multiple of 4; half as many in
            test.
        n_captions: FakeMusicCaps captions, each with a song per generator.
        clip_s: Length of every file in seconds.
        version: Incremented when the same settings give other files.
    """

    seed: int = 0
    n_tracks: int = 30
    n_songs: int = 12
    n_captions: int = 12
    clip_s: float = 8.0
    version: int = 1


def make_workspace(
    root: Path,
    settings: Settings,
    *,
    n_workers: int = 2,
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Make the workspace, unless a finished one with the same settings exists.

    Args:
        root: Folder for the data sets. An unfinished workspace, or one with other settings, is
            replaced.
        settings: Settings of the workspace.
        n_workers: Processes; 0 works in this one. The files are the same.
        on_progress: Called with a message per recording.

    Raises:
        UsageError: ``root`` contains data sets of another origin.
    """
    unfinished = root / _UNFINISHED
    recordings = plan_recordings(settings, unfinished)
    if _read_marker(root) == asdict(settings):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed after the marker
        n_files = sum(len(recording.copies) for recording in recordings)
        on_progress(f"{root}: the workspace exists, {n_files} files")
        return
    _clear(root)
    unfinished.mkdir(parents=True)
    queue: TaskQueue[tuple[Recording], str] = TaskQueue((recording,) for recording in recordings)
    titles = map_tasks(make_recording, queue, if_crashed=_raise_crashed, n_workers=n_workers)
    for i, title in enumerate(titles, 1):
        on_progress(f"made {title} ({i} of {len(recordings)})")
    write_tables(settings, unfinished)
    for name in DATA_SETS:
        (unfinished / name).rename(root / name)
    write_json(root / MARKER, asdict(settings))
    unfinished.rmdir()


def _read_marker(root: Path) -> object:
    try:
        return json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clear(root: Path) -> None:
    """Remove an earlier workspace; raise ``UsageError`` if there are other data sets."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: found a file, expected a folder for the synthetic workspace")
    ours = (root / _UNFINISHED).exists() or (root / MARKER).exists()
    found = [name for name in DATA_SETS if (root / name).exists()]
    if found and not ours:
        raise UsageError(
            f"{root}: found {', '.join(found)} without {MARKER}, expected an empty folder "
            "or a synthetic workspace"
        )
    for name in (*found, _UNFINISHED):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / MARKER).unlink(missing_ok=True)


def _raise_crashed(task: tuple[Recording], death: Death) -> str:
    how = "was killed" if death == "killed" else "crashed"
    raise RunError(
        f"{task[0].title}: the process that makes it {how} again and again; "
        "the same command starts over"
    )


def plan_recordings(settings: Settings, folder: Path) -> list[Recording]:
    """Return every recording of the workspace, with its files below ``folder``."""
    return [
        *_fma_recordings(settings, folder / "deepfake-detector"),
        *_sonics_recordings(settings, folder / "SONICS"),
        *_caption_recordings(settings, folder / "FakeMusicCaps"),
    ]


def draw_track_ids(settings: Settings) -> dict[str, list[str]]:
    """Return random six-digit ids of the FMA tracks, by split."""
    rng = np.random.default_rng((settings.seed, _FMA_IDS))
    ids = [f"{i:06d}" for i in rng.choice(np.arange(2, 155_000), settings.n_tracks, replace=False)]
    n_train, n_test = settings.n_tracks // 2, settings.n_tracks // 6
    return {
        "train": ids[:n_train],
        "validation": ids[n_train : len(ids) - n_test],
        "test": ids[len(ids) - n_test :],
    }


def _fma_recordings(settings: Settings, folder: Path) -> list[Recording]:
    n_artists = 12
    recordings = []
    ids = (i for part in draw_track_ids(settings).values() for i in part)
    for number, track_id in enumerate(ids):
        name = Path(track_id[:3]) / f"{track_id}.mp3"
        copies = [Copy(folder / "fma_real_medium/resampled" / name)]
        copies += [Copy(folder / "fma_rebuilt_medium" / e / name, e) for e in ENCODERS]
        artist = (settings.seed, _FMA_ARTIST, number % n_artists)
        title = f"FMA track {track_id} and {len(ENCODERS)} fakes of it"
        seed = (settings.seed, _FMA, number)
        recordings.append(Recording(title, seed, artist, settings.clip_s, tuple(copies)))
    return recordings


class Song(NamedTuple):
    """One row of a SONICS table and the seed of its recording."""

    split: str
    number: int
    filepath: str
    fake: str | None
    artist: int
    seed: tuple[int, ...]


_ARTISTS = (
    *("The Paper Lanterns", "Ada Quill", "North Pier", "Copper Tide", "Milo & the Moths"),
    *("Glass Orchard", "Hana Vell", "Slow Comet", "The Tin Foxes", "Juno Marsh"),
)


def plan_songs(settings: Settings) -> list[Song]:
    """Return the songs of SONICS: as many real as fake ones per split and format."""
    n_train_artists, n_takes, suffixes = 7, 2, (".mp3", ".wav", ".flac")
    songs: list[Song] = []
    number = 0
    for split in ("train", "valid", "test"):
        for i in range(settings.n_songs // (2 if split == "test" else 1)):
            suffix = suffixes[i % len(suffixes)]
            song, take = divmod(number, n_takes)
            path, maker = f"fake_songs/fake_{song:05d}_demo_{take}{suffix}", SONGMAKERS[song % 2]
            seed: tuple[int, ...] = (settings.seed, _FAKE, song, take)
            songs.append(Song(split, 1000 + number, path, maker, song, seed))
            artist = number % (n_train_artists if split == "train" else len(_ARTISTS))
            path, seed = f"real_songs/real_{number:05d}{suffix}", (settings.seed, _REAL, number)
            songs.append(Song(split, number, path, None, artist, seed))
            number += 1
    return sorted(songs, key=lambda song: song.number)


def _sonics_recordings(settings: Settings, folder: Path) -> list[Recording]:
    recordings = []
    for song in plan_songs(settings):
        artist = (settings.seed, _FAKE_ARTIST if song.fake else _REAL_ARTIST, song.artist)
        copies = (Copy(folder / song.filepath, song.fake),)
        title = f"SONICS {Path(song.filepath).stem}"
        recordings.append(Recording(title, song.seed, artist, settings.clip_s, copies))
    return recordings


def _caption_recordings(settings: Settings, folder: Path) -> list[Recording]:
    recordings = []
    for caption in range(settings.n_captions):
        for i, maker in enumerate(SONGMAKERS):
            copy = Copy(folder / maker / f"caption_{caption:03d}.wav", maker, narrow=True)
            seed = (settings.seed, _CAPTION, caption, i)
            title = f"FakeMusicCaps caption {caption:03d} by {maker}"
            recordings.append(Recording(title, seed, seed, settings.clip_s, (copy,)))
    return recordings


def write_tables(settings: Settings, folder: Path) -> None:
    """Write Deezer's split file and the three tables of SONICS below ``folder``."""
    ids = draw_track_ids(settings).items()
    splits = {split: np.array([f"{i}.mp3" for i in some]) for split, some in ids}
    path = folder / "deepfake-detector/data/dataset_medium_split_filtered.npy"
    with atomic_write(path) as temporary:
        np.save(temporary, np.array(splits, dtype=object), allow_pickle=True)
    songs = plan_songs(settings)
    train_artists = {s.artist for s in songs if s.split == "train" and not s.fake}
    skips_s = np.random.default_rng((settings.seed, _SKIP)).uniform(0, 0.5, len(songs)).round(3)
    rows = [
        _song_row(song, settings.clip_s, float(skip_s), overlap=song.artist in train_artists)
        for song, skip_s in zip(songs, skips_s, strict=True)
    ]
    for split in ("train", "valid", "test"):
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(row for row in rows if row["split"] == split)
        write_text(folder / "SONICS" / f"{split}.csv", text.getvalue())


def _song_row(song: Song, clip_s: float, skip_s: float, *, overlap: bool) -> dict[str, object]:
    """Return a row with upstream's columns; a fake has no artist and no known overlap."""
    titles = ("Harbour", "Lantern", "Sparrow", "Winter", "Circle", "Ember", "Meadow", "Signal")
    return {
        "id": song.number,
        "filename": Path(song.filepath).stem,
        "filepath": song.filepath,
        "title": f"{titles[song.seed[2] % len(titles)]} {song.seed[2] + 1}",
        "artist": "" if song.fake else _ARTISTS[song.artist],
        "duration": float(clip_s),
        "label": "full fake" if song.fake else "real",
        "target": int(song.fake is not None),
        "skip_time": skip_s,
        "algorithm": song.fake or "",
        "source": "demo" if song.fake else "",
        "no_vocal": True,
        "split": song.split,
        "artist_overlap": "" if song.fake else overlap,
    }


WORKSPACE, DETECTOR = "workspace", "detectors/fakeprint-demo"
KNOWN_GENERATORS = ("upsample320", "upsample512")
"""Generators in the training set."""
SHIPPED = ("comb", "box")
"""Detectors of traces that need no weights but the package's."""
OTHERS = ("lofcz-lr", "lofcz-cnn")
"""Detectors that are run if their weights are at hand."""
COMBINED = "ood_requested_combined"
_CLAIM = ".earwitness-demo"


def prepare_demo(
    out: Path,
    settings: Settings,
    *,
    on_step: Callable[[str], None],
    on_progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Make the workspace and train the detector.

    Args:
        out: Output folder. An earlier demo there is replaced; its workspace is kept if its settings
            are the same.
        settings: Settings of the workspace.
        on_step: Called with the name of every step.
        on_progress: Called with a message per recording.

    Raises:
        UsageError: ``out`` contains other files.
    """
    _claim(out)
    on_step("1/3 making up music, and fakes of it")
    make_workspace(out / WORKSPACE, settings, on_progress=on_progress)
    on_step(f"2/3 training a fakeprint detector on {' and '.join(KNOWN_GENERATORS)}")
    n_tracks = settings.n_tracks // 2
    options = SplitOptions(
        root=out / WORKSPACE,
        deezer_split_name="train",
        fma_encoders=KNOWN_GENERATORS,
        n_fma_real=n_tracks,
        n_fma_fake=n_tracks * len(KNOWN_GENERATORS),
        n_sonics_real=0,
        n_sonics_fake=0,
        n_fakemusiccaps_fake=0,
        seed=settings.seed,
    )
    write_splits(build_splits(options), out / "train")
    train_fakeprint([read_manifest(out / "train" / f"{COMBINED}.csv")], out / DETECTOR)


def _claim(out: Path) -> None:
    """Mark ``out`` as a demo's folder and remove all but the workspace of an earlier demo."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: found a file, expected a folder for the demo")
    if out.is_dir() and any(out.iterdir()) and not (out / _CLAIM).exists():
        raise UsageError(f"{out}: contains other files, expected an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / _CLAIM).touch()
    for part in ("train", "detectors", "run"):
        shutil.rmtree(out / part, ignore_errors=True)


def run_demo(
    out: Path,
    settings: Settings,
    *,
    on_step: Callable[[str], None],
    watcher: Watcher,
    on_start: OnStart | None = None,
) -> BenchmarkRun:
    """Run the benchmark on the validation part of the workspace; see ``run_benchmark``.

    Besides the trained detector it scores ``SHIPPED`` and, of ``OTHERS``, those that are here.
    """
    found, _ = find_detectors()
    here = {name: found[name] for name in OTHERS if name in found}
    missing = [name for name in OTHERS if name not in here]
    left_out = f"; left out without weights: {', '.join(missing)}" if missing else ""
    on_step(
        "3/3 scoring other tracks, of these generators and of unknown ones, with "
        f"{', '.join((Path(DETECTOR).name, *SHIPPED, *here))}{left_out}"
    )
    n_tracks = settings.n_tracks // 3
    splits = {
        "root": out / WORKSPACE,
        "fma_encoders": ENCODERS,
        "n_fma_real": n_tracks,
        "n_fma_fake": n_tracks * len(ENCODERS),
        "n_sonics_real": settings.n_songs,
        "n_sonics_fake": settings.n_songs,
        "n_fakemusiccaps_fake": settings.n_captions * len(SONGMAKERS),
        "seed": settings.seed,
    }
    config = {
        "out": out / "run",
        "data": {"splits": splits},
        "detectors": [
            {"name": str(out / DETECTOR)},
            *({"name": name} for name in SHIPPED),
            *({"name": name, "weights": str(path)} for name, path in here.items()),
        ],
        "audit": {"against": [out / "train" / f"{COMBINED}.csv"]},
    }
    return run_benchmark(BenchConfig.model_validate(config), watcher=watcher, on_start=on_start)
