"""A made-up workspace in the published folder tree.

Layout, below the workspace's root::

    deepfake-detector/fma_real_medium/resampled/<nnn>/<id>.mp3
    deepfake-detector/fma_rebuilt_medium/<encoder>/<nnn>/<id>.mp3
    deepfake-detector/data/dataset_medium_split_filtered.npy
    SONICS/{train,valid,test}.csv, real_songs/, fake_songs/
    FakeMusicCaps/<generator>/<caption id>.wav
    demo.json

Conventions: real and fake go through the same writers, are equally long and about equally loud.
Everything follows from one seed, whatever the number of workers. The three data sets are made
beside their places and moved there when all is done; ``demo.json`` is written last, so that
where it is, the workspace is whole.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import atomic_write, write_json, write_text
from earwitness.demo.fakes import ENCODERS, SONGMAKERS, Copy, Recording, make_recording
from earwitness.scoring.workers import Death, TaskQueue, map_tasks

DATA_SETS = ("deepfake-detector", "SONICS", "FakeMusicCaps")
MARKER = "demo.json"
_UNFINISHED = ".demo-unfinished"


@dataclass(frozen=True)
class Workspace:
    """A made-up workspace that lies complete on disk.

    Attributes:
        root: Folder that holds the three data sets.
        settings: What it was made with.
        encoders: Folders of FMA reconstructions.
        generators: Folders of FakeMusicCaps; SONICS' ``algorithm`` has the same names.
        n_files: Audio files in it.
    """

    root: Path
    settings: Settings
    encoders: tuple[str, ...]
    generators: tuple[str, ...]
    n_files: int


def make_workspace(
    root: Path,
    *,
    seed: int = 0,
    n_tracks: int = 30,
    n_songs: int = 12,
    n_captions: int = 12,
    clip_s: float = 8.0,
    n_workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Workspace:
    """Make the workspace, or find it made.

    A workspace that was made here with other settings, and one that was left half-made, are
    made anew; data sets that nobody made here are never touched.

    Args:
        root: Folder for the data sets; made where it is missing.
        seed: Seed of all that is made up.
        n_tracks: FMA tracks: a half of them train, a third validation, a sixth test.
        n_songs: SONICS songs of each class in train and in valid, half as many in test.
        n_captions: FakeMusicCaps captions, each set to music by every generator.
        clip_s: Length of every file in seconds.
        n_workers: Processes; 0 works in this one. The files are the same.
        progress: Told in a few words of everything that is done.

    Raises:
        UsageError: A number is out of range, or ``root`` holds data sets not made here.
    """
    settings = Settings(seed, n_tracks, n_songs, n_captions, clip_s)
    settings.check()
    say = progress or _say_nothing
    unfinished = root / _UNFINISHED
    recordings = plan_recordings(settings, unfinished)
    n_files = sum(len(recording.copies) for recording in recordings)
    workspace = Workspace(root, settings, ENCODERS, SONGMAKERS, n_files)
    if _marker_of(root) == asdict(settings):
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that ended after the marker
        say(f"{root}: the workspace is there already, {n_files} files")
        return workspace
    _clear(root)
    unfinished.mkdir(parents=True)
    for i, title in enumerate(_carry_out(recordings, n_workers), 1):
        say(f"made {title} ({i} of {len(recordings)})")
    write_tables(settings, unfinished)
    for name in DATA_SETS:
        (unfinished / name).rename(root / name)
    write_json(root / MARKER, asdict(settings))
    unfinished.rmdir()
    return workspace


def _say_nothing(_: str) -> None:
    """Take the place of ``progress``."""


def _marker_of(root: Path) -> object:
    """What ``demo.json`` says, ``None`` where there is none that can be read."""
    try:
        return json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clear(root: Path) -> None:
    """Remove what an earlier run made here.

    Raises:
        UsageError: There is something that none made.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: found a file, expected a folder for the made-up workspace")
    ours = (root / _UNFINISHED).exists() or (root / MARKER).exists()
    there = [name for name in DATA_SETS if (root / name).exists()]
    if there and not ours:
        raise UsageError(
            f"{root}: found {', '.join(there)} without {MARKER}, expected an empty folder "
            "or a made-up workspace"
        )
    for name in (*there, _UNFINISHED):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / MARKER).unlink(missing_ok=True)


def _carry_out(recordings: list[Recording], n_workers: int) -> Iterator[str]:
    """Make all recordings; give the title of each that is done."""
    queue: TaskQueue[tuple[Recording], str] = TaskQueue((recording,) for recording in recordings)
    return map_tasks(make_recording, queue, if_crashed=_give_up, n_workers=n_workers)


def _give_up(task: tuple[Recording], death: Death) -> str:
    """Say that music cannot be made here: without all of it there is no workspace."""
    how = "was killed" if death == "killed" else "crashed"
    raise RunError(
        f"{task[0].title}: the process that makes it {how} again and again; "
        "the same command starts over"
    )


_FMA, _FMA_ARTIST, _FMA_IDS, _REAL, _REAL_ARTIST, _FAKE, _FAKE_ARTIST, _CAPTION, _SKIP = range(9)
_N_FMA_ARTISTS, _N_TRAIN_ARTISTS = 12, 7
_SUFFIXES = (".mp3", ".wav", ".flac")
_N_TAKES = 2
_ARTISTS = (
    "The Paper Lanterns",
    "Ada Quill",
    "North Pier",
    "Copper Tide",
    "Milo & the Moths",
    "Glass Orchard",
    "Hana Vell",
    "Slow Comet",
    "The Tin Foxes",
    "Juno Marsh",
)
_TITLES = ("Harbour", "Lantern", "Sparrow", "Winter", "Circle", "Ember", "Meadow", "Signal")


@dataclass(frozen=True)
class Settings:
    """What a made-up workspace is made with.

    Attributes:
        seed: Seed of all that is made up.
        n_tracks: FMA tracks.
        n_songs: SONICS songs of each class in train and in valid.
        n_captions: FakeMusicCaps captions.
        clip_s: Length of every file in seconds.
        version: Raised whenever the same settings give other sound.
    """

    seed: int
    n_tracks: int
    n_songs: int
    n_captions: int
    clip_s: float
    version: int = 1

    def check(self) -> None:
        """Look whether the numbers make a workspace.

        Raises:
            UsageError: One of them is out of range.
        """
        checks = (
            ("seed", self.seed, self.seed >= 0, "0 or more"),
            ("n_tracks", self.n_tracks, 6 <= self.n_tracks <= 1000, "6 to 1000"),
            (
                "n_songs",
                self.n_songs,
                self.n_songs >= 4 and self.n_songs % 4 == 0,
                "a positive multiple of 4",
            ),
            ("n_captions", self.n_captions, self.n_captions >= 1, "1 or more"),
            ("clip_s", self.clip_s, 1 <= self.clip_s <= 60, "1 to 60"),
        )
        for name, found, fine, expected in checks:
            if not fine:
                raise UsageError(f"made-up workspace: {name} {found}, expected {expected}")


@dataclass(frozen=True)
class Song:
    """One row of a SONICS table and the seeds of its recording."""

    split: str
    number: int
    stem: str
    suffix: str
    fake: str | None
    artist: int
    seed: tuple[int, ...]

    @property
    def filepath(self) -> str:
        """Path relative to the SONICS folder."""
        return f"{'fake' if self.fake else 'real'}_songs/{self.stem}{self.suffix}"


def plan_recordings(settings: Settings, folder: Path) -> list[Recording]:
    """List every recording of the workspace; its copies lie below ``folder``."""
    return [
        *_fma_recordings(settings, folder / "deepfake-detector"),
        *_sonics_recordings(settings, folder / "SONICS"),
        *_caption_recordings(settings, folder / "FakeMusicCaps"),
    ]


def write_tables(settings: Settings, folder: Path) -> None:
    """Write Deezer's split file and the three tables of SONICS below ``folder``."""
    _write_split_file(settings, folder / "deepfake-detector/data")
    songs = plan_songs(settings)
    heard_in_train = {s.artist for s in songs if s.split == "train" and not s.fake}
    skips = np.random.default_rng((settings.seed, _SKIP)).uniform(0, 0.5, len(songs)).round(3)
    rows = [
        _song_row(song, settings, float(skip), overlap=song.artist in heard_in_train)
        for song, skip in zip(songs, skips, strict=True)
    ]
    for split in ("train", "valid", "test"):
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(row for row in rows if row["split"] == split)
        write_text(folder / "SONICS" / f"{split}.csv", text.getvalue())


def draw_track_ids(settings: Settings) -> dict[str, list[str]]:
    """Draw the six-digit ids of the FMA tracks, by split: a half, a third and a sixth."""
    rng = np.random.default_rng((settings.seed, _FMA_IDS))
    ids = [f"{i:06d}" for i in rng.choice(np.arange(2, 155_000), settings.n_tracks, replace=False)]
    n_train, n_test = settings.n_tracks // 2, settings.n_tracks // 6
    return {
        "train": ids[:n_train],
        "validation": ids[n_train : len(ids) - n_test],
        "test": ids[len(ids) - n_test :],
    }


def _write_split_file(settings: Settings, folder: Path) -> None:
    names = {
        split: np.array([f"{i}.mp3" for i in ids])
        for split, ids in draw_track_ids(settings).items()
    }
    with atomic_write(folder / "dataset_medium_split_filtered.npy") as temporary:
        np.save(temporary, np.array(names, dtype=object), allow_pickle=True)


def _fma_recordings(settings: Settings, folder: Path) -> list[Recording]:
    ids = [i for part in draw_track_ids(settings).values() for i in part]
    rebuilt = folder / "fma_rebuilt_medium"
    recordings = []
    for number, track_id in enumerate(ids):
        name = Path(track_id[:3]) / f"{track_id}.mp3"
        copies = [Copy(folder / "fma_real_medium/resampled" / name)]
        copies += [Copy(rebuilt / encoder / name, encoder) for encoder in ENCODERS]
        artist = (settings.seed, _FMA_ARTIST, number % _N_FMA_ARTISTS)
        seed = (settings.seed, _FMA, number)
        title = f"FMA track {track_id} and {len(ENCODERS)} fakes of it"
        recordings.append(Recording(title, seed, artist, settings.clip_s, tuple(copies)))
    return recordings


def plan_songs(settings: Settings) -> list[Song]:
    """List the songs of SONICS: as many real as fake in each split, formats alike in both."""
    songs: list[Song] = []
    n_real = n_fake = 0
    for split, count in (
        ("train", settings.n_songs),
        ("valid", settings.n_songs),
        ("test", settings.n_songs // 2),
    ):
        for i in range(count):
            suffix = _SUFFIXES[i % len(_SUFFIXES)]
            song = (n_fake // _N_TAKES, n_fake % _N_TAKES)
            stem = f"fake_{song[0]:05d}_demo_{song[1]}"
            maker = SONGMAKERS[song[0] % len(SONGMAKERS)]
            fake_seed = (settings.seed, _FAKE, *song)
            songs.append(Song(split, 1000 + n_fake, stem, suffix, maker, song[0], fake_seed))
            artist = n_real % (_N_TRAIN_ARTISTS if split == "train" else len(_ARTISTS))
            real_seed = (settings.seed, _REAL, n_real)
            stem = f"real_{n_real:05d}"
            songs.append(Song(split, n_real, stem, suffix, None, artist, real_seed))
            n_fake, n_real = n_fake + 1, n_real + 1
    return sorted(songs, key=lambda song: song.number)


def _song_row(song: Song, settings: Settings, skip_s: float, *, overlap: bool) -> dict[str, object]:
    """A row with upstream's columns; a fake has no artist, and what it overlaps is unknown."""
    title = _TITLES[song.seed[2] % len(_TITLES)]
    return {
        "id": song.number,
        "filename": song.stem,
        "filepath": song.filepath,
        "title": f"{title} {song.seed[2] + 1}",
        "artist": "" if song.fake else _ARTISTS[song.artist],
        "duration": float(settings.clip_s),
        "label": "full fake" if song.fake else "real",
        "target": int(song.fake is not None),
        "skip_time": skip_s,
        "algorithm": song.fake or "",
        "source": "demo" if song.fake else "",
        "no_vocal": True,
        "split": song.split,
        "artist_overlap": "" if song.fake else overlap,
    }


def _sonics_recordings(settings: Settings, folder: Path) -> list[Recording]:
    recordings = []
    for song in plan_songs(settings):
        purpose = _FAKE_ARTIST if song.fake else _REAL_ARTIST
        artist = (settings.seed, purpose, song.artist)
        copy = Copy(folder / song.filepath, song.fake)
        title = f"SONICS {song.stem}"
        recordings.append(Recording(title, song.seed, artist, settings.clip_s, (copy,)))
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
