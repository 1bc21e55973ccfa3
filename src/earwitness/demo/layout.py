"""Which recordings a made-up workspace holds, and the tables beside them.

Conventions: seeds are tuples that start with the workspace's seed and a number for the purpose,
so that no two things share one. FMA and SONICS have different tracks by different artists.
Nothing here touches sound.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.core.errors import UsageError
from earwitness.core.files import replacing, write_text
from earwitness.demo.fakes import ENCODERS, SONGMAKERS
from earwitness.demo.recordings import Copy, Recording

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
    with replacing(folder / "dataset_medium_split_filtered.npy") as temporary:
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
