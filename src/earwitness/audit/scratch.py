"""Arrays in memory up to a limit, and beyond it in temporary files that are mapped.

The files have no name, so that nothing is left of a killed process. Their pages count as memory
of the process while it uses them; ``release`` gives them back to the system.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet, finalize

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import refusal

_Scalar = TypeVar("_Scalar", bound=np.generic)

DEFAULT_BYTES = 4 << 30
FEWEST_BYTES = 256 << 20

_CHUNK = 64 << 20  # bytes of small arrays that share a file
_ROWS = 1 << 12  # that are kept together
_AROUND = 2 << 20  # bytes that Linux may map where one is read: a huge page


class Scratch:
    """Place for the arrays of one search.

    Args:
        n_bytes: Limit of memory. A quarter each is for arrays of this class, sorted keys, votes,
            and everything else.
        folder: Folder of the temporary files (default: the system's).

    Raises:
        UsageError: The limit is below ``FEWEST_BYTES``.
    """

    def __init__(self, n_bytes: int = DEFAULT_BYTES, folder: Path | None = None) -> None:
        if n_bytes < FEWEST_BYTES:
            raise UsageError(
                f"memory: {n_bytes >> 20} MiB, expected at least {FEWEST_BYTES >> 20} MiB"
            )
        self.share = n_bytes // 4
        self._folder = folder
        self._free = self.share
        self._mapped: WeakSet[mmap.mmap] = WeakSet()
        self._chunk: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._filled = 0

    def empty(self, shape: tuple[int, ...], dtype: type[_Scalar]) -> NDArray[_Scalar]:
        """Return an array without values, in a file where it would exceed the limit.

        Raises:
            RunError: The file cannot be made; the disk may be full.
        """
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if n_bytes <= self._free:
            self._free -= n_bytes
            values = np.empty(shape, dtype=dtype)
            finalize(values, self._return, n_bytes)
            return values
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                if hasattr(os, "posix_fallocate"):  # a full disk would end the process later on
                    os.posix_fallocate(file.fileno(), 0, n_bytes)
                mapped = np.memmap(file, dtype=dtype, mode="w+", shape=shape)
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise RunError(f"{where}: cannot be written ({refusal(error)})") from error
        self._mapped.add(mapped._mmap)  # type: ignore[attr-defined]
        return np.asarray(mapped)

    def _return(self, n_bytes: int) -> None:
        self._free += n_bytes

    def keep(self, values: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Return a small array, moved to a file where the limit is reached."""
        if values.nbytes <= self._free:
            self._free -= values.nbytes
            return values
        start = -(-self._filled // 8) * 8
        if start + values.nbytes > len(self._chunk):
            self.release()
            self._chunk = self.empty((max(_CHUNK, values.nbytes),), np.uint8)
            start = 0
        self._filled = start + values.nbytes
        kept = self._chunk[start : self._filled].view(values.dtype).reshape(values.shape)
        kept[...] = values
        return kept

    @property
    def most_reads(self) -> int:
        """Number of scattered sequences whose pages fit a share: read no more, then release."""
        return max(self.share // _AROUND, 1)

    def release(self) -> None:
        """Give the pages of all files back to the system; their values stay."""
        for pages in self._mapped:
            if hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)


class Collected:
    """Rows of numbers that are added block by block, in files beyond the limit.

    Args:
        n_columns: Numbers of a row.
        scratch: Place of the rows.
    """

    def __init__(self, n_columns: int, scratch: Scratch) -> None:
        self._n_columns, self._scratch = n_columns, scratch
        self._kept: list[NDArray[np.float64]] = []
        self._pending: list[NDArray[np.float64]] = []
        self._n = self._n_pending = 0

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        """Yield all rows, some ``(n, n_columns)`` at a time."""
        for block in chain(self._kept, self._pending):
            yield block
            self._scratch.release()

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add rows."""
        self._pending.append(rows)
        self._n += len(rows)
        self._n_pending += len(rows)
        if self._n_pending >= _ROWS:
            self._kept.append(self._scratch.keep(np.concatenate(self._pending)))
            self._pending, self._n_pending = [], 0

    def columns(self) -> NDArray[np.float64]:
        """Return all rows as ``(n_columns, n)``."""
        columns = self._scratch.empty((self._n_columns, len(self)), np.float64)
        start = 0
        for block in self:
            columns[:, start : start + len(block)] = block.T
            start += len(block)
        return columns
