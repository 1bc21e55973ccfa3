from __future__ import annotations

from pathlib import Path

import pytest

from builders import touch
from earwitness.core.errors import DatasetError
from earwitness.datasets.catalog import Omission
from earwitness.datasets.folder import catalog_folder


def test_real_and_fake_of_one_name_belong_together(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in ("real/a/x.wav", "fake/suno/a/x.mp3", "fake/udio/y.mp3", "fake/loose.mp3"):
        touch(root / name)
    found = catalog_folder(root)
    assert found.source == "mine"
    assert found.frame.select("target", "generator", "group_id").rows() == [
        (1, "suno", "mine:a/x"),
        (1, "udio", "mine:y"),
        (0, None, "mine:a/x"),
    ]
    assert found.omitted == (Omission(1, "loose.mp3", "not in a generator's folder"),)


def test_one_side_is_enough(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "x.wav")
    assert catalog_folder(tmp_path).frame["target"].to_list() == [0]


def test_neither_side_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"real: found nothing, expected a folder"):
        catalog_folder(tmp_path)
