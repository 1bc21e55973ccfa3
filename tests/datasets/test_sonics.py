from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import touch
from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import Omission
from earwitness.datasets.sonics import catalog_sonics, song_of


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        touch(tmp_path / "real_songs" / f"real_{number:05d}.mp3")
        touch(tmp_path / "fake_songs" / f"fake_{number:05d}_suno_0.mp3")
        touch(tmp_path / "fake_songs" / f"fake_{number:05d}_suno_1.mp3")
    write(
        tmp_path / "train.csv",
        "filepath,target,skip_time",
        "real_songs/real_00000.mp3,0,0",
        "elsewhere/real_00001.mp3,0,0",
        "fake_songs/fake_00000_suno_0.mp3,1,0",
    )
    write(
        tmp_path / "valid.csv",
        "filepath,target,skip_time,algorithm,source,artist,duration",
        "./real_songs//real_00000.mp3,0,1.5,,,A,20",
        "real_songs/real_00001.mp3,0,,,,B,21",
        "real_songs/real_00002.mp3,0,2.5,,,C,22.5",
        "real_songs/real_00002.mp3,0,2.5,,,C,22.5",
        "real_songs/real_99999.mp3,0,0,,,D,20",
        "fake_songs/fake_00000_suno_1.mp3,1,0,chirp-v3,suno,,30",
        "fake_songs/fake_00001_suno_0.mp3,1,0,chirp-v3,suno,,30",
        "fake_songs/fake_00001_suno_1.mp3,1,0,,udio,,30",
    )
    return tmp_path


def test_keeps_clear_of_the_train_split_by_path_name_and_song(root: Path) -> None:
    assert catalog_sonics(root=root).omitted == (
        Omission(0, "real_songs/real_00000.mp3", "path also in the train split"),
        Omission(0, "real_songs/real_00001.mp3", "file name also in the train split"),
        Omission(1, "fake_songs/fake_00000_suno_1.mp3", "song also in the train split"),
        Omission(0, "real_songs/real_00002.mp3", "listed twice"),
        Omission(0, "real_songs/real_99999.mp3", "no such file"),
    )


def test_rows_carry_what_the_csv_had(root: Path) -> None:
    frame = catalog_sonics(root=root).frame
    columns = ("key", "target", "skip_time", "generator", "group_id", "artist", "duration_s")
    assert frame.select(columns).rows() == [
        (
            "fake_songs/fake_00001_suno_0.mp3",
            1,
            0.0,
            "chirp-v3",
            "sonics:fake_00001_suno",
            None,
            30,
        ),
        ("fake_songs/fake_00001_suno_1.mp3", 1, 0.0, "udio", "sonics:fake_00001_suno", None, 30),
        ("real_songs/real_00002.mp3", 0, 2.5, None, "sonics:real_00002", "C", 22.5),
    ]
    assert frame["source"].to_list() == ["suno", "udio", None]


def test_a_missing_train_csv_is_an_error_that_says_the_way_out(root: Path) -> None:
    (root / "train.csv").unlink()
    with pytest.raises(DatasetError, match=r"train.csv: no such file.*--no-train-check"):
        catalog_sonics(root=root)
    assert catalog_sonics(root=root, train_check=False).frame.height == 6


def test_a_label_that_is_neither_is_shown_with_its_line(root: Path) -> None:
    write(root / "valid.csv", "filepath,target", "a.mp3,0", "b.mp3,maybe")
    with pytest.raises(DatasetError, match=r"valid.csv:3: filepath 'b.mp3', target 'maybe'"):
        catalog_sonics(root=root)


def test_missing_columns_are_named(root: Path) -> None:
    write(root / "valid.csv", "path,label", "a.mp3,0")
    with pytest.raises(DatasetError, match="columns path, label; expected filepath, target"):
        catalog_sonics(root=root)


def test_columns_that_ours_might_trip_over(root: Path) -> None:
    write(
        root / "valid.csv",
        ",filepath,target,duration_s,source_dataset,_row,_upstream,key,generator,group_id",
        "0,real_songs/real_00002.mp3,0,12.5,mine,1,1,k,g,x",
        ",,,,,,,,,",
        "1,fake_songs/fake_00002_suno_0.mp3,1,nonsense,mine,2,1,k,g,x",
    )
    frame = catalog_sonics(root=root).frame
    assert frame["source_dataset"].unique().to_list() == ["SONICS"]
    assert frame["duration_s"].to_list() == [None, 12.5]
    assert frame["group_id"].to_list() == ["sonics:fake_00002_suno", "sonics:real_00002"]
    assert not [name for name in frame.columns if not name or name.startswith("_")]


def test_upstreams_own_files_with_upstreams_filter(tmp_path: Path) -> None:
    for number in range(4):
        touch(tmp_path / "real_songs" / f"real_{number:05d}.mp3")
        touch(tmp_path / "fake_songs" / f"fake_{number:05d}_udio_0.mp3")
    write(
        tmp_path / "real_songs.csv",
        "id,filename,duration,no_vocal,split,artist",
        "0,real_00000,120,False,train,A",
        "1,real_00001,29.9,False,valid,B",
        "2,real_00002,30,False,valid,C",
        "3,real_00003,200,False,test,D",
    )
    write(
        tmp_path / "fake_songs.csv",
        "id,filename,duration,no_vocal,split,algorithm",
        "0,fake_00000_udio_0,60,False,train,udio-130",
        "1,fake_00001_udio_0.mp3,60,True,valid,udio-130",
        "2,fake_00002_udio_0.mp3,60,False,valid,udio-130",
    )
    found = catalog_sonics(root=tmp_path)
    assert found.frame["key"].to_list() == [
        "fake_songs/fake_00002_udio_0.mp3",
        "real_songs/real_00002.mp3",
    ]
    assert [(o.name, o.reason) for o in found.omitted] == [
        ("real_songs/real_00001.mp3", "shorter than 30 s, as upstream filters"),
        ("fake_songs/fake_00001_udio_0.mp3", "without vocals, as upstream filters"),
    ]


@pytest.mark.parametrize(
    ("stem", "target", "song"),
    [
        ("fake_00012_suno_1", 1, "fake_00012_suno"),
        ("fake_00012_ace_0", 1, "fake_00012_ace"),
        ("real_00012", 0, "real_00012"),
        ("fake_00012", 1, "fake_00012"),
        ("my song_1", 1, "my song"),
    ],
)
def test_takes_of_one_song(stem: str, target: int, song: str) -> None:
    assert song_of(stem, target) == song


@given(st.text(min_size=1, max_size=20))
def test_a_real_song_is_its_own(stem: str) -> None:
    assert song_of(stem, 0) == stem


def test_names_of_columns_are_known_in_any_case(root: Path) -> None:
    before = catalog_sonics(root=root)
    for name in ("train.csv", "valid.csv"):
        head, rest = (root / name).read_text(encoding="utf-8").split("\n", 1)
        own = head.upper().replace("ARTIST", "artist")
        (root / name).write_text(f"{own}\n{rest}", encoding="utf-8")
    after = catalog_sonics(root=root)
    assert after.omitted == before.omitted
    assert after.frame.equals(before.frame)
