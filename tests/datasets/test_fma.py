from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders import touch, write_split_file
from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import Catalog, Omission
from earwitness.datasets.fma import catalog_fma


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for track in ("000002", "000134", "000140"):
        touch(tmp_path / "real" / track[:3] / f"{track}.mp3")
        for encoder in ("encodec3", "musika"):
            touch(tmp_path / "fake" / encoder / track[:3] / f"{track}.mp3")
    write_split_file(
        tmp_path / "split.npy",
        train=["000002.mp3", "000003.mp3"],
        validation=["000134.mp3", "000002.mp3", "000140.mp3", "000141.mp3"],
        test=["000010.mp3"],
    )
    return tmp_path


def catalog(root: Path, **options: Any) -> Catalog:
    usual = {"real_root": root / "real", "encoders": ("encodec3", "musika")}
    return catalog_fma(fake_root=root / "fake", split_npy=root / "split.npy", **usual | options)


def test_lists_real_tracks_under_their_reconstructions(root: Path) -> None:
    frame = catalog(root).frame
    assert frame.select("key", "target", "split_tag", "generator", "group_id").rows() == [
        ("encodec3/000/000134.mp3", 1, "deezer_validation_fake", "encodec3", "fma:000134"),
        ("encodec3/000/000140.mp3", 1, "deezer_validation_fake", "encodec3", "fma:000140"),
        ("musika/000/000134.mp3", 1, "deezer_validation_fake", "musika", "fma:000134"),
        ("musika/000/000140.mp3", 1, "deezer_validation_fake", "musika", "fma:000140"),
        ("real/000/000134.mp3", 0, "deezer_validation_real", None, "fma:000134"),
        ("real/000/000140.mp3", 0, "deezer_validation_real", None, "fma:000140"),
    ]
    assert all(Path(path).is_file() for path in frame["filepath"])


def test_a_track_of_the_train_list_is_left_out_and_told(root: Path) -> None:
    omitted = catalog(root).omitted
    assert Omission(0, "000002", "also in the train split") in omitted
    assert Omission(1, "musika/000002", "also in the train split") in omitted


def test_without_the_train_check_it_stays(root: Path) -> None:
    frame = catalog(root, train_check=False).frame
    assert "fma:000002" in frame["group_id"].to_list()


def test_the_train_split_is_not_checked_against_itself(root: Path) -> None:
    assert catalog(root, split_name="train").frame["group_id"].unique().to_list() == ["fma:000002"]


def test_tracks_that_are_not_on_disk_are_told_for_each_side(root: Path) -> None:
    missing = {o.name for o in catalog(root).omitted if o.reason == "no such file"}
    assert missing == {"000141", "encodec3/000141", "musika/000141"}


def test_the_real_side_can_be_left_out(root: Path) -> None:
    found = catalog(root, real_root=None)
    assert found.frame["target"].unique().to_list() == [1]
    assert {o.target for o in found.omitted} == {1}


def test_of_two_files_of_a_track_the_first_is_taken(root: Path) -> None:
    touch(root / "real" / "zzz" / "000134.mp3")
    found = catalog(root)
    assert Omission(0, "zzz/000134.mp3", "second file of 000134") in found.omitted
    assert "real/000/000134.mp3" in found.frame["key"].to_list()


def test_a_missing_encoder_says_what_is_there(root: Path) -> None:
    with pytest.raises(DatasetError, match="encoder 'lac2'; found encodec3, musika"):
        catalog(root, encoders=("lac2",))


def test_an_unknown_split_name(root: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'dev'"):
        catalog(root, split_name="dev")
