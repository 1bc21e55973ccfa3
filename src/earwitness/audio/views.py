"""A file as it should have been: pieces of it, and bytes in place of wrong ones.

Conventions: offsets are bytes. A view is a list of pieces, each a range of the file or bytes of
its own, and reads as if they were one file; nothing is copied or written.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from earwitness.audio.regular import read_at

Piece = bytes | tuple[int, int]
View = tuple[Piece, ...]
"""Bytes, and ranges ``(start, stop)`` of the file."""

BUFFER_BYTES = 1 << 16


class Plan(NamedTuple):
    """How a file is to be read by libsndfile.

    Attributes:
        views: Its parts, one after another in time; none where the file itself is read.
        claimed_samples: Length its header claims; ``None`` where it claims none.
        claimed_share: Bytes of sound that it claims over those that there are, at least 1.
        is_mpeg: It is MPEG frames in another wrapping.
        is_foreign: libsndfile cannot give it whole, FFmpeg may.
    """

    views: tuple[View, ...] = ()
    claimed_samples: int | None = None
    claimed_share: float = 1.0
    is_mpeg: bool = False
    is_foreign: bool = False


class _ViewFile(io.RawIOBase):
    """The bytes of a view."""

    def __init__(self, fd: int, view: View) -> None:
        super().__init__()
        self._fd = fd
        self._pieces = [piece for piece in view if _length(piece)]
        self._ends = list(accumulate(_length(piece) for piece in self._pieces))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        number = bisect_right(self._ends, self._position)
        if number >= len(self._pieces):
            return 0
        piece = self._pieces[number]
        begin = self._position - (self._ends[number] - _length(piece))
        n_bytes = min(len(target), self._ends[number] - self._position)
        if isinstance(piece, bytes):
            found = piece[begin : begin + n_bytes]
        else:
            found = read_at(self._fd, piece[0] + begin, n_bytes)
        target[: len(found)] = found
        self._position += len(found)
        return len(found)


class Part(NamedTuple):
    """A part of a file that libsndfile reads as a file of its own.

    Attributes:
        view: Its bytes.
        n_samples: Samples per channel that it holds.
        by_seek: Whether a reader may seek in it.
    """

    view: View
    n_samples: int
    by_seek: bool


def open_view(fd: int, view: View) -> io.BufferedReader:
    """Return a view as a file to read."""
    return io.BufferedReader(_ViewFile(fd, view), BUFFER_BYTES)


def patched(patches: Sequence[tuple[int, bytes]], start: int, stop: int) -> View:
    """Return the range of a file with other bytes at some offsets, which are in order."""
    pieces: list[Piece] = []
    for at, content in patches:
        pieces += [(start, at), content]
        start = at + len(content)
    return (*pieces, (start, stop))


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else max(0, piece[1] - piece[0])
