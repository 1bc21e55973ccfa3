from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from builders import touch
from earwitness.splits.manifests import describe_missing, find_by_tail, read_manifest

FAR = "/home/user/project"
FAKE = "deepfake-detector/fma_rebuilt_medium/encodec3/055/055400.mp3"
REAL = "deepfake-detector/fma_real_medium/resampled/055/055400.mp3"


def published(path: Path, *rows: str) -> Path:
    """Write a manifest as the published ones are: five columns, absolute paths."""
    header = "filepath,target,skip_time,source_dataset,split_tag"
    path.write_text("\n".join([header, *(f"{row},1,0.0,FMA,x" for row in rows), ""]))
    return path


@pytest.mark.parametrize("below", ["", "deepfake-detector", "deepfake-detector/fma_rebuilt_medium"])
def test_files_of_another_machine_are_found_below_the_root(tmp_path: Path, below: str) -> None:
    root = tmp_path / "here"
    file = touch(root / FAKE)
    manifest = read_manifest(
        published(tmp_path / "m.csv", f"{FAR}/{FAKE}", f"{FAR}/gone.mp3"), root=root / below
    )
    assert manifest.locate_all() == [file, Path(f"{FAR}/gone.mp3")]
    assert manifest.frame["filepath"][0] == f"{FAR}/{FAKE}"
    (note,) = manifest.notes
    assert f"1 files were found below {root / below} by the tail of their paths" in note
    missing = describe_missing(manifest)
    assert missing is not None
    assert "1 of 2 files are missing (/home/user/project/gone.mp3 first); --root" in missing
    assert manifest.where().locate_all() == manifest.locate_all()


@pytest.mark.parametrize(
    "far",
    [f"C:\\Users\\me\\{FAKE}".replace("/", "\\"), f"../elsewhere/./x/{FAKE}", f"project/{FAKE}"],
)
def test_paths_of_any_system_are_found(tmp_path: Path, far: str) -> None:
    file = touch(tmp_path / "here" / FAKE)
    far = far.replace("../", "")
    manifest = read_manifest(published(tmp_path / "m.csv", far), root=tmp_path / "here")
    assert manifest.locate_all() == [file]


def test_a_file_that_is_where_it_says_is_not_looked_for(tmp_path: Path) -> None:
    own = touch(tmp_path / "own" / FAKE)
    touch(tmp_path / "here" / FAKE)
    manifest = read_manifest(published(tmp_path / "m.csv", str(own)), root=tmp_path / "here")
    assert manifest.locate_all() == [own]
    assert manifest.notes == ()


def test_two_paths_with_one_tail_find_nothing(tmp_path: Path) -> None:
    root = tmp_path / "fma_rebuilt_medium" / "encodec3"
    touch(root / "055" / "055400.mp3")
    manifest = read_manifest(
        published(tmp_path / "m.csv", f"{FAR}/{FAKE}", f"{FAR}/{REAL}"), root=root
    )
    assert manifest.locate_all() == [Path(f"{FAR}/{FAKE}"), Path(f"{FAR}/{REAL}")]
    assert "2 files could not be found for certain" in manifest.notes[-1]


def test_one_folder_name_under_two_heads_finds_nothing(tmp_path: Path) -> None:
    for track in ("1.mp3", "2.mp3"):
        touch(tmp_path / "055" / track)
    found = find_by_tail([f"{FAR}/real/055/1.mp3", f"{FAR}/fake/055/2.mp3"], tmp_path)
    assert found.found == {}
    assert len(found.ambiguous) == 2


def test_two_tails_of_one_path_find_nothing(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "b" / "1.mp3")
    touch(tmp_path / "b" / "1.mp3")
    assert find_by_tail([f"{FAR}/a/b/1.mp3"], tmp_path).ambiguous == [f"{FAR}/a/b/1.mp3"]


def test_names_alone_are_found_where_all_come_from_one_folder(tmp_path: Path) -> None:
    for name in ("1.mp3", "2.mp3"):
        touch(tmp_path / name)
    assert len(find_by_tail(["/far/x/1.mp3", "/far/x/2.mp3"], tmp_path).found) == 2
    assert find_by_tail(["/far/x/1.mp3", "/far/y/2.mp3"], tmp_path).found == {}


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_spellings_of_a_name_are_one_file(tmp_path: Path, on_disk: str, written: str) -> None:
    name = "caf\u00e9/b\u00fc.mp3"
    file = touch(tmp_path / unicodedata.normalize(on_disk, name))
    far = unicodedata.normalize(written, name)
    for path in (far, far.replace("/", "\\")):
        manifest = read_manifest(published(tmp_path / "m.csv", path))
        assert manifest.locate_all() == [file]
