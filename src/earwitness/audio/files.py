"""Opening of regular files, and shared types of the readers.

Pipes, sockets, devices and folders are refused before opening, which alone may block.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import stat
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.core.cache import open_copy
from earwitness.core.errors import AudioError
from earwitness.core.remote import RemotePath, is_url

HEAD_BYTES = 1024
HIGHEST_OFFSET = 1 << 62

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "no permission to read it",
    errno.EPERM: "no permission to read it",
    errno.ELOOP: "its symbolic links run in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def stat_regular(path: str) -> os.stat_result:
    """Return the status of a regular, non-empty file, else raise ``AudioError``."""
    with _plain_reasons(path):
        # A local name may be no valid Path.
        status = RemotePath(path).stat() if is_url(path) else os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise AudioError(path, f"{kind}, not a file")
    if status.st_size == 0:
        raise AudioError(path, "the file is empty")
    return status


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Yield a descriptor of a regular file, for reading, or raise ``AudioError``."""
    stat_regular(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with _plain_reasons(path):
        fd = open_copy(path) if is_url(path) else os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _plain_reasons(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = _REASONS.get(error.errno or 0)
        raise AudioError(path, known or f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise AudioError(path, f"no file can have this name: {error}") from error


def read_at(fd: int, position: int, n_bytes: int) -> bytes:
    """Return ``n_bytes`` from ``position``, fewer at the file's end and none past any file's end.

    The descriptor's own position stays, since a library may be reading from it.
    """
    if position >= HIGHEST_OFFSET:
        return b""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        os.lseek(fd, position, os.SEEK_SET)
    except OSError:  # a file system's limit may be lower
        return b""
    try:
        return os.read(fd, n_bytes)
    finally:
        os.lseek(fd, before, os.SEEK_SET)


def looks_like_text(fd: int) -> bool:
    """Return whether a file begins with printable text (UTF-8, or UTF-16 with BOM)."""
    head = read_at(fd, 0, HEAD_BYTES)
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if utf16 else "utf-8-sig")()
    try:
        text = decoder.decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c.isspace() for c in text)


Reader = Literal["seek", "stream", "frames", "ffmpeg"]
"""libsndfile with seeks, libsndfile from the start, MPEG frames, or FFmpeg from the start."""

SMALLEST_YIELD = 0.99
"""Minimum share of the claimed length."""


class Span(NamedTuple):
    """A section of a file, in samples at its own rate; the stop is exclusive."""

    start: int
    stop: int


@dataclass(frozen=True)
class AudioInfo:
    """Format and length of one file.

    Attributes:
        path: The file, as given.
        sample_rate_hz: Its own sample rate.
        n_channels: Number of channels.
        n_samples: Decoded samples per channel.
        codec: Codec of the samples ("mp3", "pcm_s16le").
        container: Container format ("mp3", "wav").
        claimed_samples: Length in the header, if any.
        reader: Reader that decodes it.
        parts: Parts for libsndfile to read in place of the whole file, if any.
    """

    path: str
    sample_rate_hz: int
    n_channels: int
    n_samples: int
    codec: str
    container: str
    claimed_samples: int | None = None
    reader: Reader = "stream"
    parts: tuple[Part, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate_hz


def check_info(info: AudioInfo, plan: Plan) -> AudioInfo:
    """Return ``info`` with the length that the header claims, or the plan.

    Raises:
        AudioError: The file is over 1 % shorter, has no samples, or an absurd sample rate.
    """
    rate_hz = info.sample_rate_hz
    if not 1_000 <= rate_hz <= 1_536_000:
        expected = "1000 to 1536000 Hz"
        raise AudioError(info.path, f"its sample rate is {rate_hz} Hz, expected {expected}")
    claimed = info.claimed_samples or plan.claimed_samples
    if claimed is None and plan.claimed_share > 1:
        claimed = round(info.n_samples * plan.claimed_share)
    slack_s = 0.1 if info.reader == "ffmpeg" else 0.0  # claims include encoder delay and padding
    if info.n_samples < SMALLEST_YIELD * (claimed or 0) - slack_s * rate_hz:
        reason = f"truncated at {info.duration_s:.2f} s"
        claims_s = (claimed or 0) / rate_hz
        raise AudioError(info.path, f"{reason} (its header claims {claims_s:.2f} s)")
    if info.n_samples == 0:
        raise AudioError(info.path, "holds no samples")
    return replace(info, claimed_samples=claimed)


def describe_change(was: tuple[int, int], now: tuple[int, int], at_s: float) -> str:
    """Return the reason for a change of sample rate or channels within a file."""
    if was[0] == now[0]:
        return f"changes from {was[1]} to {now[1]} channels at {at_s:.2f} s"
    if was[1] == now[1]:
        return f"changes from {was[0]} to {now[0]} Hz at {at_s:.2f} s"
    before, after = (f"{rate_hz} Hz and {n} channels" for rate_hz, n in (was, now))
    return f"changes from {before} to {after} at {at_s:.2f} s"


Piece = bytes | tuple[int, int]
View = tuple[Piece, ...]
"""Bytes, and ranges ``(start, stop)`` of the file."""

BUFFER_BYTES = 1 << 16


class Plan(NamedTuple):
    """How libsndfile reads a file.

    Attributes:
        views: Parts to read in place of the file, in order of time.
        claimed_samples: Length in the header, if any.
        claimed_share: Claimed bytes of audio relative to the actual ones, at least 1.
        is_mpeg: MPEG frames in another container.
        is_foreign: Left to FFmpeg.
    """

    views: tuple[View, ...] = ()
    claimed_samples: int | None = None
    claimed_share: float = 1.0
    is_mpeg: bool = False
    is_foreign: bool = False


class _ViewFile(io.RawIOBase):
    """A view as a raw file."""

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
    """A view that libsndfile reads as a separate file; ``by_seek`` if it may seek."""

    view: View
    n_samples: int
    by_seek: bool


def open_view(fd: int, view: View) -> io.BufferedReader:
    """Return a view as a file to read."""
    return io.BufferedReader(_ViewFile(fd, view), BUFFER_BYTES)


def patched(patches: Sequence[tuple[int, bytes]], start: int, stop: int) -> View:
    """Return the range of a file with bytes replaced at ascending offsets."""
    pieces: list[Piece] = []
    for at, content in patches:
        pieces += [(start, at), content]
        start = at + len(content)
    return (*pieces, (start, stop))


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else max(0, piece[1] - piece[0])


def fill_spans(
    info: AudioInfo,
    spans: Sequence[Span],
    blocks: Iterable[NDArray[np.float32]],
    position: int = 0,
) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` of each span.

    Args:
        info: Format of the file.
        spans: Spans in order, not overlapping.
        blocks: Decoded samples ``(n_channels, n)`` in order, consumed as needed.
        position: Position of the first block; may be negative.

    Raises:
        AudioError: The blocks end before the last span.
    """
    parts = [np.empty((info.n_channels, s.stop - s.start), dtype=np.float32) for s in spans]
    last = max((span.stop for span in spans), default=0)
    for block in blocks:
        if position >= last:
            break
        for span, part in zip(spans, parts, strict=True):
            first, stop = max(span.start, position), min(span.stop, position + block.shape[1])
            if first < stop:
                source = block[:, first - position : stop - position]
                part[:, first - span.start : stop - span.start] = source
        position += block.shape[1]
    if position < last:
        ends_s = max(0, position) / info.sample_rate_hz
        raise AudioError(info.path, f"ends at {ends_s:.2f} s, expected {info.duration_s:.2f} s")
    return parts
