"""PyTorch files, validated before PyTorch reads them.

PyTorch trusts the lengths in a file: a storage longer than its record reads beyond it, and some
rebuild functions allocate any size. Lengths are checked first; tensors must be dense and stored.
"""

from __future__ import annotations

import contextlib
import mmap
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from earwitness.core.errors import WeightsError, first_line
from earwitness.detectors.weights import check_header

_FOREIGN = re.compile(
    rb"\n(bytearray|_rebuild_(?:sparse|nested|wrapper|meta|device|qtensor|xla|hpu)\w*)\n"
)
"""Functions that allocate any size, or make tensors that are not dense."""
_BYTES = {"Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16, "Float": 4, "Int": 4}
_BYTES |= {"Half": 2, "BFloat16": 2, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1, "Untyped": 1}
_PUT, _GET = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
_MARK, _TUPLE = object(), object()
"""Markers of opcodes, unequal to any text in the file."""


def check_file(path: Path) -> None:
    """Check the lengths in a PyTorch file, without unpickling; raise ``ValueError`` if invalid."""
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = _FOREIGN.search(content)
            name = found[1].decode() if found else None
    if name:
        raise ValueError(f"it asks for {name}, expected plain tensors")
    if zipfile.is_zipfile(path):
        _check_zip(path)


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its records are compressed, expected plain ones")
        sizes = {entry.filename.partition("/")[2]: entry.file_size for entry in entries}
        if len(sizes) < len(entries) or sum(sizes.values()) > path.stat().st_size:
            raise ValueError("its records overlap, expected one after the other")
        root = entries[0].filename.partition("/")[0] if entries else ""
        if sizes.get("byteorder", 0) and archive.read(f"{root}/byteorder") != b"little":
            raise ValueError("its numbers are big-endian, expected little-endian ones")
        if "data.pkl" in sizes:
            _check_storages(archive.read(f"{root}/data.pkl"), sizes)


def _check_storages(pickled: bytes, sizes: Mapping[str, int]) -> None:
    """Compare the length of every storage with that of its record.

    ``torch.save`` writes a tuple: "storage", class, record name, device, number of items.
    """
    memo: dict[Any, Any] = {}
    recent: list[Any] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "BINPERSID":
            _check_storage(recent, sizes)
        elif opcode.name in _PUT:
            memo[argument] = recent[-1] if recent else None
            continue
        item = memo.get(argument) if opcode.name in _GET else argument
        recent = [*recent[-6:], {"MARK": _MARK, "TUPLE": _TUPLE}.get(opcode.name, item)]


def _check_storage(parts: list[Any], sizes: Mapping[str, int]) -> None:
    kind, key, _, n_items = parts[2:6] if len(parts) == 7 else (None,) * 4
    ends = (parts[0], parts[-1]) if parts else ()
    if ends != (_MARK, _TUPLE) or parts[1] != "storage" or type(n_items) is not int:
        raise ValueError("a storage is described in an unusual way")
    name = str(kind).rpartition(" ")[2].removesuffix("Storage")
    held = sizes.get(f"data/{key}")
    if held is None:
        raise ValueError(f"record data/{str(key)[:40]} is missing")
    if name not in _BYTES:
        raise ValueError(f"a storage is of kind {name[:40]!r}")
    n_bytes = n_items * _BYTES[name]
    if not 0 <= n_bytes <= held:
        raise ValueError(f"record data/{key} has {held} bytes, expected {n_bytes}")


def check_tensors(content: Any) -> None:
    """Raise ``ValueError`` unless all tensors are dense, on the CPU and stored in full."""
    for name, values in _tensors(content, "the file", 0):
        plain = values.layout == torch.strided and values.device.type == "cpu"
        if not plain or values.is_quantized:
            raise ValueError(f"{name} is {values.layout} on {values.device}, expected a dense one")
        n_bytes = values.numel() * values.element_size()
        held = values.untyped_storage().nbytes()
        if n_bytes > held:
            raise ValueError(
                f"{name} has shape {tuple(values.shape)}, {n_bytes} bytes, but {held} are stored"
            )


def _tensors(content: Any, name: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    if depth > 40:
        raise ValueError("it is nested more than 40 deep")
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(value, str(key)[:60], depth + 1)
    elif isinstance(content, list | tuple | set):
        for value in content:
            yield from _tensors(value, name, depth + 1)


class Placeholder:
    """Stand-in for an object of an unknown class; ignores its arguments and state."""

    def __new__(cls, *_: Any, **__: Any) -> Placeholder:
        """Accept any arguments, including those of ``copyreg``."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def load_tensors(path: Path) -> Any:
    """Return the content of a PyTorch file: tensors, plain containers and placeholders.

    Raises:
        pickle.UnpicklingError: The file is damaged, of the format before PyTorch 1.6 with unknown
            classes, or uses what PyTorch blocks.
    """
    with _standing_in(path):
        return torch.load(path, map_location="cpu", weights_only=True)


def _standing_in(path: Path) -> contextlib.AbstractContextManager[object]:
    serialization: Any = torch.serialization
    if not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):
        return contextlib.nullcontext()
    try:
        names = serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - torch.load raises the error
        return contextlib.nullcontext()
    kinds = [(type(name.rpartition(".")[2], (Placeholder,), {}), name) for name in names]
    allowed: contextlib.AbstractContextManager[object] = serialization.safe_globals(kinds)
    return allowed


def load_state(network: nn.Module, path: Path) -> None:
    """Load a file of weights into a network, buffers included; see ``read_state`` and ``fill``."""
    fill(network, read_state(path), path, expected="the network of its config.json")


def fill(
    network: nn.Module, state: Mapping[str, torch.Tensor], path: Path, *, expected: str
) -> None:
    """Load a state dict into a network, buffers included.

    Raises:
        WeightsError: Names are missing, unexpected or of another shape, listed in one line.
    """
    problems = list(_list_problems(state, network.state_dict()))
    if problems:
        others = len(problems) - 8
        shown = "; ".join(problems[:8]) + (f"; and {others} more" if others > 0 else "")
        raise WeightsError(f"{path}: not {expected}: {shown}")
    network.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict in a file, without running code; raise ``WeightsError`` otherwise."""
    state = read_content(path)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: expected a table of tensors by name")
    return state


def read_content(path: Path) -> Any:
    """Return the tensors and plain containers in a file, without running code.

    Args:
        path: A safetensors file by its suffix, or a PyTorch file.

    Raises:
        WeightsError: The file cannot be read, or contains code.
    """
    if path.suffix == ".safetensors":
        check_header(path)
    try:
        return load_file(path) if path.suffix == ".safetensors" else _read_pickled(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors, or is damaged; expected a PyTorch file of tensors, "
            "as torch.save(model.state_dict(), path) writes it"
        ) from error
    except Exception as error:
        reason = first_line(error)
        raise WeightsError(f"{path}: cannot be read as weights ({reason})") from error


def _read_pickled(path: Path) -> Any:
    check_file(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        content = load_tensors(path)
    check_tensors(content)
    return content


def _list_problems(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    for name in own:
        if name not in state:
            yield f"{name} is missing"
    for name in state:
        if name not in own:
            yield f"{name} is not expected"
    for name, values in state.items():
        if name not in own:
            continue
        if values.shape != own[name].shape:
            yield f"{name} has shape {tuple(values.shape)}, expected {tuple(own[name].shape)}"
        elif values.is_floating_point() != own[name].is_floating_point():
            kind = "floating-point" if own[name].is_floating_point() else "whole"
            yield f"{name} is {values.dtype}, expected {kind} numbers"
        elif not values.isfinite().all():
            yield f"{name} holds numbers that are not finite"
