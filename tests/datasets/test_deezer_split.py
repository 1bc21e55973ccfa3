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
from earwitness.datasets.fma import read_split_file

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
    with pytest.raises(DatasetError, match=r"refused, it names \w+\.system, which is not supp"):
        read_split_file(write_npy(tmp_path / "s.npy", payload))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "function",
    [eval, getattr, np.load, np.fromfile, pickle.loads, np.ndarray],
    ids=lambda f: f.__name__,
)
def test_nothing_but_arrays_of_strings_is_admitted(tmp_path: Path, function: Any) -> None:
    payload = pickle.dumps(Planted(function, "1"))
    with pytest.raises(DatasetError, match=r"not supported|no function"):
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
    with pytest.raises(DatasetError, match="holds an array of '<i8'"):
        read_split_file(tmp_path / "s.npy")


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", {"train": SPLITS["train"]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="splits found: train; expected train, validation, test"):
        read_split_file(tmp_path / "s.npy")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "names",
    [
        np.array(["ä.mp3", "b"]),
        np.array(["ä.mp3", "b"]).astype(">U7"),
        np.array(["ä.mp3", "b"], dtype=object),
        np.array(["ä.mp3".encode(), b"b"]),
        np.asfortranarray(np.array([["ä.mp3"], ["b"]])),
        ["ä.mp3", "b"],
        ("ä.mp3", "b"),
        [np.str_("ä.mp3"), np.str_("b")],
    ],
    ids=["U", "big-endian", "object", "S", "fortran", "list", "tuple", "scalars"],
)
def test_reads_every_shape_that_numpy_writes(tmp_path: Path, protocol: int, names: Any) -> None:
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": names, "test": np.array([], dtype="<U1")}
    path = write_npy(tmp_path / "s.npy", pickle.dumps(value, protocol=protocol))
    assert read_split_file(path)["train"] == ("ä.mp3", "b")
    assert read_split_file(path)["test"] == ()


def test_two_dimensions_come_in_c_order(tmp_path: Path) -> None:
    names = np.array([["a", "b"], ["c", "d"]])
    for order in (names, np.asfortranarray(names)):
        np.save(tmp_path / "s.npy", {**SPLITS, "train": order}, allow_pickle=True)  # type: ignore[arg-type]
        assert read_split_file(tmp_path / "s.npy")["train"] == ("a", "b", "c", "d")


class Stated:
    """Pickles as an array of strings with a dtype, a dtype's state and an array's state."""

    def __init__(self, dtype: str, dtype_state: tuple[Any, ...], state: tuple[Any, ...]) -> None:
        kind = Planted(np.dtype, dtype, False, True)
        kind.call = (*kind.call, dtype_state)
        self.call = (*np.empty(0).__reduce__()[:2], (*state[:2], kind, *state[2:]))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


PLAIN = (3, "<", None, None, None, 8, 4, 8)


@pytest.mark.parametrize(
    ("dtype", "dtype_state", "state"),
    [
        ("U2", (3, "<", None, None, None, 1 << 30, 4, 8), (1, (1,), False, b"a\0\0\0" * 2)),
        ("U2", (3, "|", None, ("f",), {"f": (None, 1 << 40)}, 8, 4, 8), (1, (1,), False, b"a" * 8)),
        ("U2", (3, "<", ("S1", (9,)), None, None, 8, 4, 8), (1, (1,), False, b"a\0\0\0" * 2)),
        ("U2", (3, "<", None, None, None, 8, 4, 63, {}), (1, (1,), False, b"a\0\0\0" * 2)),
        ("S0", (3, "|", None, None, None, 0, 1, 0), (1, (1 << 30,), False, b"")),
        ("U2", PLAIN, (1, (1 << 40,), False, b"a\0\0\0" * 2)),
        ("U2", PLAIN, (1, (-1,), False, b"a\0\0\0" * 2)),
        ("U2", PLAIN, (1, (1.0,), False, b"a\0\0\0" * 2)),
        ("U2", PLAIN, (1, (1,), False, b"a\0\0\0")),
        ("U2", PLAIN, (1, (1,), False, b"\xff" * 8)),
        ("U2", PLAIN, (1, (1,), False, ["a"])),
        ("O8", (3, "|", None, None, None, -1, -1, 63), (1, (1 << 30,), False, ["a"])),
        ("O8", (3, "|", None, None, None, -1, -1, 63), (1, (1,), False, b"a" * 8)),
        ("i8", (3, "<", None, None, None, -1, -1, 0), (1, (1,), False, b"a" * 8)),
        ("V8", (3, "|", None, None, None, 8, 1, 0), (1, (1,), False, b"a" * 8)),
    ],
)
def test_forged_states_are_refused_before_memory_is_taken(
    tmp_path: Path, dtype: str, dtype_state: tuple[Any, ...], state: tuple[Any, ...]
) -> None:
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": Stated(dtype, dtype_state, state)}
    with pytest.raises(DatasetError, match="refused, ") as caught:
        read_split_file(write_npy(tmp_path / "s.npy", pickle.dumps(value)))
    assert "\n" not in str(caught.value)


def test_the_same_array_with_plain_states_is_read(tmp_path: Path) -> None:
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": Stated("U2", PLAIN, (1, (1,), False, b"a\0\0\0" * 2))}
    path = write_npy(tmp_path / "s.npy", pickle.dumps(value))
    assert read_split_file(path)["train"] == ("aa",)


@pytest.mark.parametrize(
    ("dtype", "dtype_state", "data"),
    [
        ("O8", (3, "|", None, None, None, -1, -1, 63), ["a"] * 1_000),
        ("U1000", (3, "<", None, None, None, 4_000, 4, 8), "a".encode("utf-32-le") * 1_000),
    ],
    ids=["objects", "characters"],
)
def test_data_that_many_arrays_share_is_refused(
    tmp_path: Path, dtype: str, dtype_state: tuple[Any, ...], data: Any
) -> None:
    shape = (len(data),) if isinstance(data, list) else (1,)
    arrays = [Stated(dtype, dtype_state, (1, shape, False, data)) for _ in range(1_000)]
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": arrays}
    with pytest.raises(DatasetError, match="copies more than it holds"):
        read_split_file(write_npy(tmp_path / "s.npy", pickle.dumps(value)))


def test_a_pickle_that_refers_to_itself_is_refused(tmp_path: Path) -> None:
    names: list[Any] = []
    names.append(names)
    value = np.empty((), dtype=object)
    value[()] = {**SPLITS, "train": names}
    with pytest.raises(DatasetError, match="no array of names"):
        read_split_file(write_npy(tmp_path / "s.npy", pickle.dumps(value)))


@pytest.mark.parametrize("name", ["npy_dt_fields_oob.npy", "npy_bomb_S0.npy"])
def test_hostile_files_are_refused(shared: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="refused, "):
        read_split_file(shared / "cases" / "hostile" / name)


def test_a_pipe_or_folder_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    for path in (tmp_path / "pipe.npy", tmp_path):
        with pytest.raises(DatasetError, match="no regular file"):
            read_split_file(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_split_file(tmp_path / "absent.npy")
