"""Deezer's split file: a ``.npy`` that holds a pickled dict of arrays of file names.

Conventions: a pickle from outside may not run code. It is not unpickled; see ``stringpickle``.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from earwitness.core.errors import DatasetError
from earwitness.datasets.string_pickle import read_pickle

SPLIT_NAMES = ("train", "validation", "test")
LARGEST_BYTES = 1 << 28
"""A split file of the whole of FMA has a megabyte a split."""

_MAGIC = b"\x93NUMPY"
_OBJECTS = ("|O", "O", "|O8", "|O4")
_EXPECTED = "expected a pickled dict of arrays of names"


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
        value = _array_of_one(_read(path))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}), expected Deezer's split file; give "
            "--deezer-split-npy, or --n-fma-real 0 --n-fma-fake 0 to go without FMA"
        ) from error
    except Exception as error:
        raise DatasetError(f"{path}: refused, {_one_line(error)}; {_EXPECTED}") from error
    return _checked(path, value)


def _read(path: Path) -> bytes:
    """Return a regular file's bytes.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no regular file, or too long.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # opening a pipe may hang
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it is longer than {LARGEST_BYTES >> 20} MiB")
    return content


def _array_of_one(content: bytes) -> Any:
    """Return the object in a 0-d object array, as ``numpy.save`` writes a dict."""
    if not content.startswith(_MAGIC):
        raise ValueError("it is no .npy file")
    major = content[len(_MAGIC)] if len(content) > len(_MAGIC) else 0
    if major not in (1, 2, 3):
        raise ValueError(f"its .npy version is {major}")
    start = len(_MAGIC) + (4 if major == 1 else 6)
    stop = start + int.from_bytes(content[len(_MAGIC) + 2 : start], "little")
    header = ast.literal_eval(content[start:stop].decode("latin1" if major < 3 else "utf-8"))
    if header["descr"] not in _OBJECTS or header["shape"] != ():
        raise ValueError(f"it holds an array of {header['descr']!r} of shape {header['shape']}")
    value = read_pickle(content[stop:])
    if not isinstance(value, tuple) or len(value) != 1:
        raise ValueError(f"it holds a {type(value).__name__}")
    return value[0]


def _checked(path: Path, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: holds a {type(value).__name__}, {_EXPECTED}")
    splits: dict[str, tuple[str, ...]] = {}
    for name, names in value.items():
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise DatasetError(f"{path}: split {name!r} is no array of names, {_EXPECTED}")
        splits["validation" if name == "valid" else name] = tuple(names)
    missing = [name for name in SPLIT_NAMES if name not in splits]
    if missing:
        found = ", ".join(splits) or "none"
        raise DatasetError(f"{path}: splits found: {found}; expected {', '.join(SPLIT_NAMES)}")
    return splits


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
