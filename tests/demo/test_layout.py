"""What a made-up workspace holds, before any of it is made."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.demo.run import (
    Settings,
    Song,
    draw_track_ids,
    plan_recordings,
    plan_songs,
    write_tables,
)

DEFAULT = Settings()
COLUMNS = ["id", "filename", "filepath", "title", "artist", "duration", "label", "target"]
COLUMNS += ["skip_time", "algorithm", "source", "no_vocal", "split", "artist_overlap"]

ANY = st.builds(
    Settings,
    seed=st.integers(0, 2**31),
    n_tracks=st.integers(6, 60),
    n_songs=st.integers(1, 8).map(lambda n: 4 * n),
    n_captions=st.integers(1, 20),
    clip_s=st.floats(1, 60),
)


@settings(deadline=None)
@given(config=ANY)
def test_no_two_recordings_share_a_file_or_a_seed(config: Settings) -> None:
    recordings = plan_recordings(config, Path("anywhere"))
    paths = [copy.path for recording in recordings for copy in recording.copies]
    assert len(set(paths)) == len(paths)
    assert len({recording.seed for recording in recordings}) == len(recordings)
    assert len({recording.title for recording in recordings}) == len(recordings)


def test_another_seed_shares_no_seed_of_a_recording() -> None:
    seeds = [
        {recording.seed for recording in plan_recordings(replace(DEFAULT, seed=seed), Path())}
        for seed in (0, 1)
    ]
    assert not seeds[0] & seeds[1]


@settings(deadline=None)
@given(config=ANY)
def test_tracks_are_split_by_half_third_and_sixth(config: Settings) -> None:
    ids = draw_track_ids(config)
    everything = [i for part in ids.values() for i in part]
    assert len(set(everything)) == len(everything) == config.n_tracks
    assert all(len(i) == 6 and i.isdigit() for i in everything)
    assert len(ids["train"]) == config.n_tracks // 2
    assert len(ids["test"]) == config.n_tracks // 6 >= 1


def suffixes(songs: list[Song]) -> Counter[str]:
    return Counter(Path(song.filepath).suffix for song in songs)


@settings(deadline=None)
@given(config=ANY)
def test_songs_are_balanced_and_takes_stay_in_one_split(config: Settings) -> None:
    songs = plan_songs(config)
    for split, count in (("train", 1.0), ("valid", 1.0), ("test", 0.5)):
        fakes = [s for s in songs if s.split == split and s.fake]
        reals = [s for s in songs if s.split == split and not s.fake]
        assert len(fakes) == len(reals) == count * config.n_songs
        assert suffixes(fakes) == suffixes(reals)
    takes: dict[str, set[tuple[str, str | None]]] = {}
    for song in songs:
        if song.fake:
            takes.setdefault(song.filepath.rpartition("_")[0], set()).add((song.split, song.fake))
    assert all(len(found) == 1 for found in takes.values())


def test_tables_have_upstreams_columns_and_artists_of_the_training_set(tmp_path: Path) -> None:
    write_tables(DEFAULT, tmp_path)
    tables = {}
    for split in ("train", "valid", "test"):
        with (tmp_path / f"SONICS/{split}.csv").open(newline="", encoding="utf-8") as file:
            tables[split] = list(csv.DictReader(file))
        assert list(tables[split][0]) == COLUMNS
        assert {row["split"] for row in tables[split]} == {split}
    known = {row["artist"] for row in tables["train"] if row["target"] == "0"}
    assert all(known)
    reals = [row for row in tables["valid"] if row["target"] == "0"]
    assert {row["artist_overlap"] for row in reals} == {"True", "False"}
    for row in reals:
        assert row["artist_overlap"] == str(row["artist"] in known)
        assert (row["label"], row["algorithm"]) == ("real", "")
    for row in tables["valid"]:
        assert 0 <= float(row["skip_time"]) <= 0.5
        if row["target"] == "1":
            assert row["filepath"].startswith(f"fake_songs/{row['filename']}.")
            assert row["label"] == "full fake"
            assert row["artist"] == row["artist_overlap"] == ""
    makers = Counter(row["algorithm"] for row in tables["train"] if row["target"] == "1")
    assert makers == {"demo_songmaker_a": 6, "demo_songmaker_b": 6}


def test_the_split_file_is_a_pickled_dict_of_unicode_arrays(tmp_path: Path) -> None:
    write_tables(DEFAULT, tmp_path)
    path = tmp_path / "deepfake-detector/data/dataset_medium_split_filtered.npy"
    splits = np.load(path, allow_pickle=True).item()
    assert {name: len(names) for name, names in splits.items()} == {
        "train": 15,
        "validation": 10,
        "test": 5,
    }
    assert all(names.dtype == np.dtype("<U10") for names in splits.values())
    assert splits["train"][0] == f"{draw_track_ids(DEFAULT)['train'][0]}.mp3"
