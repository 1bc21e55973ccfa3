"""What every dataset layout must hold to; a new one is added to ``LAYOUTS``.

A layout is made below a folder by one function and listed by another. All of them hold the classes
of their dataset, two fakes of one group, one file whose name is not valid Unicode or one that is
listed and not there, and a text file beside the audio. Declared datasets are in
``dataset_folders``.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from builders import touch, write_split_file
from dataset_folders import FOLDERS
from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import (
    AUDIO_SUFFIXES,
    CATALOG_COLUMNS,
    Catalog,
    CatalogRequest,
)
from earwitness.datasets.catalog import LAYOUTS as REGISTERED
from earwitness.datasets.fakemusiccaps import catalog_fakemusiccaps
from earwitness.datasets.fma import catalog_fma
from earwitness.datasets.folder import catalog_folder
from earwitness.datasets.sonics import catalog_sonics


class Layout(NamedTuple):
    """How a layout is made and listed, and what of it is no item."""

    make: Callable[[Path], None]
    catalog: Callable[[Path], Catalog]
    left_out: set[str]
    classes: frozenset[int] = frozenset({0, 1})
    n_of_a_piece: int = 2  # fakes of one group


def declared(name: str) -> Layout:
    """Return a declared layout with its folder of ``dataset_folders``."""
    found, folder = REGISTERED.load(name), FOLDERS[name]

    def list_files(root: Path) -> Catalog:
        catalog = found.list_files(CatalogRequest(root, {0: 9, 1: 9}))
        if catalog.prepare is not None:
            catalog.prepare(catalog.frame["filepath"].to_list())
        return catalog

    classes = frozenset(found.classes)
    return Layout(folder.make, list_files, {*folder.left_out}, classes, folder.n_of_a_piece)


def bad_name(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.mp3")).touch()


def make_folder(root: Path) -> None:
    names = ("real/a.wav", "real/b.mp3", "fake/suno/a.mp3", "fake/udio/a.mp3")
    for name in (*names, "real/notes.txt"):
        touch(root / name)
    bad_name(root / "fake" / "suno")


def make_fakemusiccaps(root: Path) -> None:
    for name in ("one/a.wav", "two/a.wav", "two/b.wav", "two/notes.txt"):
        touch(root / name)
    bad_name(root / "one")


def make_fma(root: Path) -> None:
    for name in ("real/a.mp3", "real/b.mp3", "fake/musika/a.mp3", "fake/lac2/a.mp3", "real/x.txt"):
        touch(root / name)
    write_split_file(
        root / "s.npy", train=["t.mp3"], validation=["a.mp3", "b.mp3", "gone.mp3"], test=[]
    )


def list_fma(root: Path) -> Catalog:
    folders = {"real_root": root / "real", "fake_root": root / "fake", "split_npy": root / "s.npy"}
    return catalog_fma(**folders, encoders=("musika", "lac2"))


def make_sonics(root: Path) -> None:
    names = ("fake_songs/fake_1_x_0.mp3", "fake_songs/fake_1_x_1.mp3", "real_songs/r.mp3")
    for name in (*names, "real_songs/x.txt"):
        touch(root / name)
    lines = [f"{name},{int('fake' in name)},0" for name in (*names, "real_songs/gone.mp3")]
    (root / "valid.csv").write_text("\n".join(["filepath,target,skip_time", *lines]) + "\n")
    (root / "train.csv").write_text("filepath,target\nreal_songs/t.mp3,0\n")


def list_sonics(root: Path) -> Catalog:
    return catalog_sonics(root=root)


BAD = "/\\xff.mp3"
LAYOUTS = {
    "folder": Layout(make_folder, catalog_folder, {"suno" + BAD}),
    "fakemusiccaps": Layout(
        make_fakemusiccaps, catalog_fakemusiccaps, {"one" + BAD}, frozenset({1})
    ),
    "fma": Layout(make_fma, list_fma, {"gone", "musika/gone", "lac2/gone", "musika/b", "lac2/b"}),
    "sonics": Layout(make_sonics, list_sonics, {"real_songs/gone.mp3"}),
} | {name: declared(name) for name in FOLDERS}


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture
def root(layout: Layout, tmp_path: Path) -> Path:
    layout.make(tmp_path / "data")
    return tmp_path / "data"


def test_every_registered_layout_is_tested() -> None:
    assert {name for name in REGISTERED if REGISTERED.is_built_in(name)} == {*LAYOUTS} - {"folder"}


def test_rows_have_the_columns_of_a_catalog_sorted_by_key(layout: Layout, root: Path) -> None:
    frame = layout.catalog(root).frame
    assert tuple(frame.columns[: len(CATALOG_COLUMNS)]) == CATALOG_COLUMNS
    assert frame["key"].is_sorted()
    assert frame["key"].is_unique().all()
    assert frame["target"].dtype == pl.Int8
    assert set(frame["target"]) == layout.classes


def test_paths_are_absolute_and_are_there(layout: Layout, root: Path) -> None:
    for path in layout.catalog(root).frame["filepath"]:
        assert Path(path).is_absolute()
        assert Path(path).is_file()
        assert "\\" not in path


def test_fakes_have_a_generator_and_reals_none(layout: Layout, root: Path) -> None:
    frame = layout.catalog(root).frame
    assert frame.filter(target=1)["generator"].null_count() == 0
    assert frame.filter(target=0)["generator"].null_count() == frame.filter(target=0).height


def test_fakes_of_one_piece_share_a_group_and_no_row_lacks_one(layout: Layout, root: Path) -> None:
    frame = layout.catalog(root).frame
    assert frame["group_id"].null_count() == 0
    largest = frame.filter(target=1)["group_id"].value_counts()["count"].max()
    assert largest == (layout.n_of_a_piece if 1 in layout.classes else None)


def test_every_file_is_a_row_an_omission_or_no_audio(layout: Layout, root: Path) -> None:
    found = layout.catalog(root)
    audio = {p.as_posix() for p in root.rglob("*") if p.suffix in AUDIO_SUFFIXES}
    valid = {path for path in audio if "\udcff" not in path}
    left = {f"{root}/{name}" for name in layout.left_out}
    assert set(found.frame["filepath"]) == valid - left
    assert {omission.name for omission in found.omitted} == layout.left_out
    assert all(omission.reason for omission in found.omitted)
    assert found.looked_at


def test_keys_and_groups_stay_when_the_data_moves(
    layout: Layout, root: Path, tmp_path: Path
) -> None:
    before = layout.catalog(root)
    moved = tmp_path / "elsewhere" / "data"
    moved.parent.mkdir()
    shutil.move(root, moved)
    after = layout.catalog(moved)
    same = ["key", "target", "split_tag", "generator", "group_id"]
    assert after.frame.select(same).equals(before.frame.select(same))
    assert after.omitted == before.omitted


def test_a_folder_that_is_not_there_is_one_line(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected|no such") as caught:
        layout.catalog(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_composed_however_the_disk_writes_them(tmp_path: Path, form: str) -> None:
    name = unicodedata.normalize(form, "b\u00fc\u00e9")
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", name)
    touch(tmp_path / "real" / f"{name}.mp3")
    touch(tmp_path / "fake" / name / f"{other}.mp3")
    frame = catalog_folder(tmp_path).frame
    assert frame["group_id"].n_unique() == 1
    assert frame.filter(pl.col("target") == 1)["generator"].to_list() == ["b\u00fc\u00e9"]
    assert all(Path(path).is_file() for path in frame["filepath"])
    for side in (tmp_path / "real", tmp_path / "enc" / "x"):
        touch(side / f"{name}.mp3")
    split = write_split_file(tmp_path / "s.npy", train=["t"], validation=[f"{other}.mp3"], test=[])
    found = catalog_fma(
        real_root=tmp_path / "real", fake_root=tmp_path / "enc", split_npy=split, encoders=["x"]
    )
    assert found.frame.height == 2
    assert found.frame["group_id"].n_unique() == 1


def test_sonics_songs_are_found_however_the_csv_writes_them(tmp_path: Path) -> None:
    for n, form in enumerate(("NFC", "NFD")):
        touch(tmp_path / "real" / unicodedata.normalize(form, f"\u00fc{n}.mp3"))
    rows = [unicodedata.normalize("NFD", f"real\\\u00fc{n}.mp3") + ",bona fide" for n in range(2)]
    (tmp_path / "valid.csv").write_text("filepath;target\n" + "\n".join(rows).replace(",", ";"))
    (tmp_path / "train.csv").write_text("filepath,target\nreal/\u00fc0.mp3,0\n")
    found = catalog_sonics(root=tmp_path)
    assert [Path(path).is_file() for path in found.frame["filepath"]] == [True]
    assert [omission.reason for omission in found.omitted] == ["path also in the train split"]
