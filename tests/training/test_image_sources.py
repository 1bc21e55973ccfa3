"""Images to train on, from class folders, given sides and CSVs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earwitness.core.errors import DatasetError
from earwitness.training.examples import SplitConfig
from earwitness.training.image_dataset import prepare_images
from earwitness.training.image_sources import find_images, read_image_csvs


def put_images(folder: Path, names: list[str], seed: int = 0) -> None:
    folder.mkdir(parents=True)
    for at, name in enumerate(names):
        Image.fromarray(np.random.default_rng(seed + at).integers(0, 255, (8, 8), np.uint8)).save(
            folder / name
        )


def test_class_folders_may_have_any_names_and_which_is_which_is_said(tmp_path: Path) -> None:
    put_images(tmp_path / "Human", ["a.png", "b.png"])
    put_images(tmp_path / "suno", ["c.png"])
    put_images(tmp_path / "udio", ["d.png", "e.png"])
    put_images(tmp_path / "unsorted", ["f.png"])
    with pytest.raises(
        DatasetError, match=r"Human, suno, udio, unsorted, expected one .* deepfake"
    ):
        find_images(tmp_path)
    found = find_images(tmp_path, classes={"suno": 1, "udio": 1})
    assert [(e.name, e.target, e.generator) for e in found.examples] == [
        ("Human/a.png", 0, None),
        ("Human/b.png", 0, None),
        ("suno/c.png", 1, "suno"),
        ("udio/d.png", 1, "udio"),
        ("udio/e.png", 1, "udio"),
    ]
    assert found.valid is found.test is None
    assert found.notes[0].endswith(
        "real (0) is Human (2 images); fake (1) is suno (1 images), udio (2 images)"
    )
    assert "not used, of neither class by their names: unsorted (1 images)" in found.notes[1]
    swapped = find_images(tmp_path, classes={"suno": 0, "Human": 1})
    assert {e.name: e.target for e in swapped.examples}["Human/a.png"] == 1
    with pytest.raises(DatasetError, match="no folder 'sumo', found Human, suno"):
        find_images(tmp_path, classes={"sumo": 1})


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for side, seed in (("train", 0), ("val", 10), ("Test", 20)):
        put_images(tmp_path / side / "Deepfake", ["0.png", f"{side}x.png"], seed)
        put_images(tmp_path / side / "Original", [f"{side}1.png", f"{side}2.png"], seed + 5)
    found = find_images(tmp_path)
    assert found.valid is not None
    assert found.test is not None
    sides = (found.examples, found.valid, found.test)
    assert [len(side) for side in sides] == [4, 4, 4]
    assert [sum(e.target for e in side) for side in sides] == [2, 2, 2]
    assert found.test[0].name == "Test/Original/Test1.png"
    shared = [note for note in found.notes if "groups are in" in note]
    assert len(shared) == 3
    assert shared[0].startswith("1 groups are in train and in valid (as '0')")
    splits = prepare_images(found.examples, SplitConfig(test_share=0.5), valid=found.valid)
    assert splits.test is None  # a given split is complete
    assert len(splits.train.examples) == 4


def test_csvs_of_images_are_read(tmp_path: Path) -> None:
    put_images(tmp_path / "data", [f"{n}.png" for n in range(6)])
    train, valid = tmp_path / "train.csv", tmp_path / "valid.csv"
    train.write_text(
        "img_path,actual_output,group_id,generator\n"
        "0.png,Original,g0,\n1.png,fake,g1,suno\n2.png,,g2,\n../x.png,fake,g3,\n"
        "gone.png,real,g4,\n0.png,Original,g0,\n\n"
    )
    valid.write_text("img_path;actual_output\n3.png;REAL\n4.png;1\n")
    found = read_image_csvs([train], tmp_path / "data", valid=[valid])
    assert [(e.name, e.target, e.group, e.generator) for e in found.examples] == [
        ("0.png", 0, "g0", None),
        ("1.png", 1, "g1", "suno"),
        ("gone.png", 0, "g4", None),
    ]
    assert [(e.name, e.target) for e in found.valid or ()] == [("3.png", 0), ("4.png", 1)]
    assert [note.partition(": ")[2] for note in found.notes] == [
        "1 rows not used: no label",
        "1 rows not used: outside of the base folder",
    ]
    train.write_text(
        "img_path,actual_output,split\n0.png,real,train\n1.png,fake,Training\n2.png,real,val\n"
        "3.png,fake,test\n4.png,fake,\n"
    )
    split = read_image_csvs([train], tmp_path / "data")
    sides = (split.examples, split.valid, split.test)
    assert [[e.name for e in side or ()] for side in sides] == [
        ["0.png", "1.png", "4.png"],
        ["2.png"],
        ["3.png"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img_path\n0.png\n", "no column actual_output"),
        ("actual_output\nreal\n", "img_path"),
        ("img_path,actual_output\n0.png,cat\n", r"train.csv:2: actual_output 'cat', expected"),
        ("img_path,actual_output\n0.png,real\n0.png,fake\n", "real in one row and fake in anot"),
        ("img_path,actual_output\nx.png,real\ny.png,1\n", r"none of its 2 images exists .*--base"),
        ("img_path,actual_output,split\n0.png,real,holdout\n", "csv:2: split 'holdout', expected"),
        ("img_path,actual_output,split\n0.png,real,val\n", "no images to train with"),
        (
            "img_path,actual_output,split\n0.png,real,val\n0.png,real,train\n",
            "1 images are in train and in valid",
        ),
    ],
)
def test_csvs_that_cannot_be_learned_from_say_why(text: str, message: str, tmp_path: Path) -> None:
    put_images(tmp_path / "data", ["0.png"])
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_image_csvs([tmp_path / "train.csv"], tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_two_spellings_of_one_name_are_one_group(tmp_path: Path) -> None:
    put_images(tmp_path / "real", ["e\u0301te\u0301.png"])
    put_images(tmp_path / "fake", ["\u00e9t\u00e9__musika.png"])
    assert len({e.group for e in find_images(tmp_path).examples}) == 1
