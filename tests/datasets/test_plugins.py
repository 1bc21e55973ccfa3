"""A dataset layout of another package is drawn from like our own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from builders import touch
from earwitness.bench.config import BenchConfig
from earwitness.cli import main
from earwitness.core.errors import DatasetError
from earwitness.splits.build import SplitOptions, build_splits
from earwitness.splits.grouping import corpus_of, track_of

CODE = """
from pathlib import Path
from earwitness.datasets.catalog import Catalog, Item, Layout, items_frame
from earwitness.datasets.catalog import scan_audio

def list_files(request):
    scanned = scan_audio(request.folder)
    items = [
        Item(name, str(request.folder.absolute() / name), int(name[0] == "f"), "toys",
             "robot" if name[0] == "f" else None, f"toys:{name}")
        for name in scanned.files
    ]
    return Catalog("Toys", items_frame(items, source="Toys"), (), (scanned.describe(),))

LAYOUT = Layout("Toys", list_files, Path("toys"), track_of=lambda stem, _: f"toys:{stem[1:]}")
BROKEN = Layout("Broken", lambda request: 1 / 0, Path("broken"))
FRAME = items_frame([], source="Empty").drop("key")
EMPTY = Layout("Empty", lambda request: Catalog("Empty", FRAME), Path("."))
"""
NAMES = ("r1.wav", "r2.wav", "f1.wav")


@pytest.fixture(autouse=True)
def toys(install: Callable[..., Path], tmp_path: Path) -> Path:
    entries = (f"{name.lower()} = toy_datasets:{name}" for name in ("BROKEN", "EMPTY"))
    folder = install("toys", "toys = toy_datasets:LAYOUT", *entries, group="earwitness.datasets")
    (folder / "toy_datasets.py").write_text(CODE)
    for name in NAMES:
        touch(tmp_path / "data" / "toys" / name)
    return tmp_path / "data"


def test_splits_draws_from_it_by_name(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    given = ("--dataset", f"toys={toys / 'toys'}", "--n-dataset", "1", "--out-dir", str(out))
    monkeypatch.setattr(sys, "argv", ["earwitness", "splits", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert pl.read_csv(out / "toys_real_1.csv")["source_dataset"].to_list() == ["Toys"]
    assert pl.read_csv(out / "ood_requested_combined.csv").height == 2


def test_it_is_looked_for_below_the_root(toys: Path) -> None:
    drawn = build_splits(SplitOptions(root=toys, datasets={"toys": None}))
    assert {source.name: source.taken.height for source in drawn.sources} == {
        "toys_real": 2,
        "toys_fake": 1,
    }
    assert drawn.options["datasets"] == {"toys": ""}


def test_a_benchmark_draws_from_it(toys: Path) -> None:
    section = {"root": toys, "datasets": {"toys": None}}
    config = BenchConfig.model_validate({"data": {"splits": section}, "detectors": ["fakeprint"]})
    assert config.data.splits is not None
    drawn = build_splits(config.data.splits)
    assert drawn.frames["ood_requested_combined"].height == 3
    section["datasets"] = {"toyz": None}
    with pytest.raises(ValueError, match="no dataset named 'toyz'; did you mean 'toys'"):
        BenchConfig.model_validate({"data": {"splits": section}, "detectors": ["fakeprint"]})


def test_its_file_names_give_tracks() -> None:
    assert corpus_of("toys v2") == "Toys"
    assert track_of("Toys", "f1", 1) == "toys:1"
    assert track_of("elsewhere", "f1", 1) is None


def test_what_its_code_raises_is_one_line() -> None:
    with pytest.raises(DatasetError, match=r"^dataset 'broken': ZeroDivisionError: division by"):
        build_splits(SplitOptions(datasets={"broken": None}))
    with pytest.raises(DatasetError, match=r"^dataset 'empty': its catalog lacks columns key"):
        build_splits(SplitOptions(datasets={"empty": None}))
    with pytest.raises(DatasetError, match="no dataset named 'toyz'; did you mean 'toys'"):
        build_splits(SplitOptions(datasets={"toyz": None}))
