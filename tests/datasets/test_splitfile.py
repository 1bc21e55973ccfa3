from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.core.errors import DatasetError
from earwitness.datasets.splitfile import read_split_file

SPLITS = {
    "train": np.array(["000002.mp3", "000003.mp3"]),
    "validation": np.array(["000134.mp3"]),
    "test": np.array(["000010.mp3"]),
}


def write_npy(path: Path, payload: bytes) -> Path:
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    path.write_bytes(stream.getvalue() + payload)
    return path


@pytest.mark.parametrize("protocol", [3, 4])
def test_reads_what_numpy_writes(tmp_path: Path, protocol: int) -> None:
    value = np.empty((), dtype=object)
    value[()] = SPLITS
    path = write_npy(tmp_path / "s.npy", pickle.dumps(value, protocol=protocol))
    assert read_split_file(path)["train"] == ("000002.mp3", "000003.mp3")


def test_reads_the_module_names_of_older_numpy(tmp_path: Path) -> None:
    value = np.empty((), dtype=object)
    value[()] = SPLITS
    payload = pickle.dumps(value, protocol=3).replace(b"numpy._core.", b"numpy.core.")
    assert read_split_file(write_npy(tmp_path / "s.npy", payload))["test"] == ("000010.mp3",)


def test_valid_is_read_as_validation(tmp_path: Path) -> None:
    renamed = {"train": SPLITS["train"], "valid": SPLITS["validation"], "test": SPLITS["test"]}
    np.save(tmp_path / "s.npy", renamed, allow_pickle=True)  # type: ignore[arg-type]
    assert read_split_file(tmp_path / "s.npy")["validation"] == ("000134.mp3",)


def test_the_published_file(shared: Path) -> None:
    splits = read_split_file(shared / "published" / "dataset_medium_split.npy")
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [17487, 2499, 4996]


class Planted:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("depth", ["top", "inside"])
def test_a_planted_command_is_refused_and_not_run(tmp_path: Path, depth: str) -> None:
    planted = Planted(os.system, f"touch '{tmp_path / 'ran'}'")
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": [planted]}
    payload = pickle.dumps(planted if depth == "top" else value)
    with pytest.raises(DatasetError, match=r"refused, it asks for \w+\.system, which is not admi"):
        read_split_file(write_npy(tmp_path / "s.npy", payload))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "function", [eval, getattr, np.load, np.fromfile, pickle.loads], ids=lambda f: f.__name__
)
def test_nothing_but_the_three_names_is_admitted(tmp_path: Path, function: Any) -> None:
    payload = pickle.dumps(Planted(function, "1"))
    with pytest.raises(DatasetError, match="not admitted"):
        read_split_file(write_npy(tmp_path / "s.npy", payload))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "refused"),
        (b"<html>not found</html>", "refused"),
        (b"\x93NUMPY\x01\x00", "refused"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_split_file(tmp_path / "s.npy")
    assert "\n" not in str(caught.value)


def test_a_plain_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.arange(3))
    with pytest.raises(DatasetError, match="holds an array of int64"):
        read_split_file(tmp_path / "s.npy")


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", {"train": SPLITS["train"]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="splits found: train; expected train, validation, test"):
        read_split_file(tmp_path / "s.npy")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_split_file(tmp_path / "absent.npy")
