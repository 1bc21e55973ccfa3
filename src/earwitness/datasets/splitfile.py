"""Deezer's split file: a ``.npy`` that holds a pickled dict of arrays of file names.

Conventions: a pickle from outside may not run code. The unpickler below knows the three names
that NumPy needs to rebuild arrays of strings and nothing else, so a planted callable is
refused before it can be called.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.core.errors import DatasetError

SPLIT_NAMES = ("train", "validation", "test")

_ADMITTED = {
    (f"{package}.multiarray", "_reconstruct") for package in ("numpy.core", "numpy._core")
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds arrays of strings and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted")
        if name == "_reconstruct":
            return np.ndarray.__reduce__(np.empty(0))[0]
        return getattr(np, name)


def read_split_file(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the names of each split.

    Args:
        path: A ``.npy`` file as Deezer publishes it: a 0-d object array with a dict of
            ``train``, ``validation`` and ``test`` arrays of file names.

    Returns:
        Names as they stand, in order, by split; ``valid`` is read as ``validation``.

    Raises:
        DatasetError: No such file, another kind of file, or a pickle that asks for anything
            but arrays of strings. Nothing of it was run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}), expected Deezer's split file; give "
            "--deezer-split-npy, or --n-fma-real 0 --n-fma-fake 0 to go without FMA"
        ) from error
    try:
        value = _unpickle_npy(content)
    except Exception as error:
        expected = "expected a pickled dict of arrays of names"
        raise DatasetError(f"{path}: refused, {_one_line(error)}; {expected}") from error
    return _checked(path, value)


def _unpickle_npy(content: bytes) -> Any:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"its .npy version is {version}")
    shape, _, dtype = read_header(stream)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"it holds an array of {dtype} of shape {shape}")
    array = _ArrayUnpickler(stream).load()
    if not isinstance(array, np.ndarray) or array.shape != () or not array.dtype.hasobject:
        raise ValueError(f"it holds {type(array).__name__}")
    return array.item()


def _checked(path: Path, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: holds {type(value).__name__}, expected a dict of splits")
    splits: dict[str, tuple[str, ...]] = {}
    for name, names in value.items():
        if not isinstance(names, np.ndarray | list | tuple):
            raise DatasetError(f"{path}: split {name!r} is no array of names")
        split = "validation" if name == "valid" else str(name)
        splits[split] = tuple(str(n) for n in np.asarray(names).ravel().tolist())
    missing = [name for name in SPLIT_NAMES if name not in splits]
    if missing:
        found = ", ".join(splits) or "none"
        raise DatasetError(f"{path}: splits found: {found}; expected {', '.join(SPLIT_NAMES)}")
    return splits


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
