"""PyTorch files that state more than they hold are refused before PyTorch reads them."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from earwitness.core.errors import WeightsError
from earwitness.detectors.torch_file import read_content, read_state

STATE = {"a": torch.arange(100.0), "b": torch.ones(3, 4, dtype=torch.int64)}


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def changed(path: Path, edit: Any, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a saved state with its records changed by ``edit(name, content)``."""
    with (
        zipfile.ZipFile(io.BytesIO(saved(STATE))) as old,
        zipfile.ZipFile(path, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, edit(name.partition("/")[2], old.read(name)))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_what_torch_saves_is_read(tmp_path: Path, new: bool) -> None:
    halves = {"h": torch.ones(4).half(), "view": STATE["a"][10:20], "tied": STATE["a"]}
    for content in (STATE, OrderedDict(STATE), STATE | halves):
        (tmp_path / "x.pth").write_bytes(saved(content, _use_new_zipfile_serialization=new))
        read = read_state(tmp_path / "x.pth")
        assert all(torch.equal(read[name], values) for name, values in content.items())


def test_parameters_and_plain_values_beside_tensors_are_read(tmp_path: Path) -> None:
    content = {"state_dict": {"p": torch.nn.Parameter(torch.ones(2))}, "epoch": 3, "x": [1, (2,)]}
    (tmp_path / "x.pth").write_bytes(saved(content))
    assert read_content(tmp_path / "x.pth")["epoch"] == 3


@pytest.mark.filterwarnings("ignore:.*quantized:UserWarning", "ignore:Sparse:UserWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(1).expand(4 << 30),
        lambda: torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0)),
        lambda: torch.arange(10.0).as_strided((5, 5), (1, 1)),
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        lambda: torch.empty(1 << 40, device="meta"),
    ],
    ids=["stride 0", "2**40 items", "overlapping", "sparse", "csr", "quantised", "meta"],
)
def test_tensors_that_are_not_stored_in_full_are_refused(tmp_path: Path, make: Any) -> None:
    (tmp_path / "x.pth").write_bytes(saved({"a": make()}))
    message = refusal(tmp_path / "x.pth")
    assert "expected plain tensors" in message or "are stored" in message


def test_a_storage_longer_than_its_record_is_refused(tmp_path: Path) -> None:
    path = changed(
        tmp_path / "x.pth",
        lambda name, content: content[:100] if name == "data/0" else content,
    )
    assert "record data/0 has 100 bytes, expected 400" in refusal(path)


def test_a_number_of_items_that_is_forged_is_refused(tmp_path: Path) -> None:
    path = changed(
        tmp_path / "x.pth",
        lambda name, content: (
            content.replace(b"Kd", b"J\xff\xff\xff\x7f") if "pkl" in name else content
        ),
    )
    assert " bytes, expected " in refusal(path)


def test_compressed_records_are_refused_unread(tmp_path: Path) -> None:
    path = changed(tmp_path / "x.pth", lambda _, content: content, compression=zipfile.ZIP_DEFLATED)
    assert "records are compressed" in refusal(path)


def test_a_record_that_is_missing_is_named(tmp_path: Path) -> None:
    path = changed(
        tmp_path / "x.pth",
        lambda name, content: (
            content.replace(b"X\x01\0\0\x000", b"X\x01\0\0\x009") if "pkl" in name else content
        ),
    )
    assert "record data/9 is missing" in refusal(path)


class Allocating:
    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (1 << 40,)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_what_allocates_as_it_is_asked_is_refused(tmp_path: Path, new: bool) -> None:
    content = saved({"a": Allocating()}, pickle_module=pickle, _use_new_zipfile_serialization=new)
    (tmp_path / "x.pth").write_bytes(content)
    assert "asks for bytearray" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_a_file_cut_anywhere_is_refused_in_one_line(tmp_path: Path, new: bool) -> None:
    content = saved(STATE, _use_new_zipfile_serialization=new)
    for n_bytes in [*range(40), *range(40, len(content) - 1, 61)]:
        (tmp_path / "x.pth").write_bytes(content[:n_bytes])
        refusal(tmp_path / "x.pth")


def test_the_hostile_file_is_refused(shared: Path) -> None:
    assert "are stored" in refusal(shared / "cases" / "hostile" / "pth_stride0_15GB.pth")
