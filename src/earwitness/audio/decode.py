"""Reading of audio files or slices, at the file's sample rate or another.

Samples are ``(n_channels, n_samples)`` float32, integers scaled to [-1, 1); positions are at the
requested rate. A slice equals the same slice of the whole file bit for bit. libmpg123 writes to
file descriptor 2 whatever ``sys.stderr`` is, so the descriptor is redirected.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import libsndfile, pyav
from earwitness.audio.clips import resample_slice, resampled_length
from earwitness.audio.files import (
    AudioInfo,
    Plan,
    Span,
    check_info,
    looks_like_text,
    opened,
    read_at,
    stat_regular,
)
from earwitness.audio.flac_frames import plan_flac
from earwitness.audio.headers import TAG_MARKS, end_of_id3v2, plan_by_header
from earwitness.audio.mpeg_frames import walk_frames
from earwitness.audio.ogg import plan_ogg
from earwitness.audio.pyav import Packets
from earwitness.core.errors import AudioError
from earwitness.core.remote import absolute_name

__all__ = [
    "AudioInfo",
    "Packets",
    "Span",
    "mix_down",
    "probe_audio",
    "read_audio",
    "read_slice",
    "read_spans",
    "scan_packets",
]

LOUDEST = 1e10
"""Largest valid sample: unscaled 32-bit integers pass, and arithmetic stays finite."""


def probe_audio(path: str | os.PathLike[str]) -> AudioInfo:
    """Return the format and the decoded length of a file, cached until the file changes.

    WAV, FLAC, OGG and intact MP3 files are not decoded; other formats are decoded once.

    Raises:
        AudioError: The file cannot be read, is damaged, or is over 1 % shorter than it claims.
    """
    name = os.fspath(path)
    status = stat_regular(name)
    return _probe(name, absolute_name(name), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _probe(name: str, absolute: str, n_bytes: int, mtime_ns: int) -> AudioInfo:  # noqa: ARG001
    """Probe a file; the other arguments are part of the cache key."""
    with opened(name) as fd, _remarks_in_errors():
        plan = _plan(fd, name)
        return check_info(_find(fd, name, plan), plan)


def _find(fd: int, path: str, plan: Plan) -> AudioInfo:
    """Return the result of the first reader that supports a file."""
    if plan.is_mpeg and (frames := walk_frames(fd)):
        return pyav.probe_mpeg(fd, frames, path)
    try:
        return libsndfile.probe(fd, path, plan)
    except libsndfile.NotForLibsndfileError:
        if looks_like_text(fd):
            raise AudioError(path, "a text/HTML file, not audio") from None
    frames = walk_frames(fd) if read_at(fd, 0, 3) in TAG_MARKS else None
    return pyav.probe(fd, path) if frames is None else pyav.probe_mpeg(fd, frames, path)


def _plan(fd: int, path: str) -> Plan:
    """Return how to read a file, by its first bytes after ID3v2 tags."""
    begin = end_of_id3v2(fd)
    mark = read_at(fd, begin, 4)
    if mark == b"OggS":
        return plan_ogg(fd, path)
    return plan_flac(fd, path) if mark == b"fLaC" else plan_by_header(fd, path, begin)


def read_audio(
    path: str | os.PathLike[str], *, sample_rate_hz: int | None = None, mono: bool = False
) -> tuple[NDArray[np.float32], AudioInfo]:
    """Read a whole file.

    Args:
        path: The file.
        sample_rate_hz: Target rate; by default the file's own.
        mono: Return the mean over channels.

    Returns:
        Samples ``(n_channels, n_samples)`` float32, and the file's format at its own rate.

    Raises:
        AudioError: See ``read_slice``.
        ValueError: ``sample_rate_hz`` is not positive.
    """
    info = probe_audio(path)
    length = _length_at(info, sample_rate_hz)
    return _read(info, 0, length, sample_rate_hz=sample_rate_hz, mono=mono), info


def read_slice(
    path: str | os.PathLike[str],
    start: int,
    n_samples: int,
    *,
    sample_rate_hz: int | None = None,
    mono: bool = False,
) -> NDArray[np.float32]:
    """Read a slice of a file, ``(n_channels, n_samples)`` float32, shorter at the file's end.

    Args:
        path: The file.
        start: First sample, at the target rate.
        n_samples: Length, at the target rate.
        sample_rate_hz: Target rate; by default the file's own.
        mono: Return the mean over channels, taken before resampling.

    Raises:
        AudioError: The file cannot be read, is damaged, or the slice has NaN or infinite samples.
        ValueError: ``start`` is outside the file, or a number is negative.
    """
    info = probe_audio(path)
    length = _length_at(info, sample_rate_hz)
    if not 0 <= start < length:
        raise ValueError(f"{info.path}: start is {start}, expected 0 to {length - 1}")
    if n_samples < 0:
        raise ValueError(f"{info.path}: n_samples is {n_samples}, expected 0 or more")
    stop = min(length, start + n_samples)
    return _read(info, start, stop, sample_rate_hz=sample_rate_hz, mono=mono)


def _length_at(info: AudioInfo, sample_rate_hz: int | None) -> int:
    if sample_rate_hz is None:
        return info.n_samples
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz is {sample_rate_hz}, expected a positive rate")
    return resampled_length(info.n_samples, info.sample_rate_hz, sample_rate_hz)


def _read(
    info: AudioInfo, start: int, stop: int, *, sample_rate_hz: int | None, mono: bool
) -> NDArray[np.float32]:
    """Return ``[start, stop)`` at the target rate."""

    def read_native(first: int, count: int) -> NDArray[np.float32]:
        (samples,) = read_spans(info, [Span(first, first + count)])
        return mix_down(samples) if mono else samples

    samples = resample_slice(
        read_native,
        start,
        stop,
        n_samples=info.n_samples,
        from_hz=info.sample_rate_hz,
        to_hz=sample_rate_hz or info.sample_rate_hz,
    )
    return np.ascontiguousarray(samples)


def read_spans(info: AudioInfo, spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return ``(n_channels, n_samples)`` float32 of each span of a file, at its own rate.

    Args:
        info: Result of ``probe_audio``.
        spans: Spans within the file, in order, not overlapping.

    Raises:
        AudioError: The file cannot be read, is damaged, or has invalid samples.
    """
    readers = {"ffmpeg": pyav.read, "frames": pyav.read_mpeg}
    with opened(info.path) as fd, _remarks_in_errors():
        parts = readers.get(info.reader, libsndfile.read)(fd, info, spans)
    for part in parts:
        check_values(info.path, part)
    return parts


def check_values(path: str, samples: NDArray[np.float32]) -> None:
    """Raise ``AudioError`` for NaN, infinite or absurdly large samples."""
    if not samples.size:
        return
    low, high = float(samples.min()), float(samples.max())
    if not math.isfinite(low + high):
        raise AudioError(path, "holds NaN or infinite samples")
    if max(-low, high) > LOUDEST:
        loudest = f"{max(-low, high):.2g}"
        raise AudioError(
            path,
            f"holds samples of up to {loudest}, expected at most {LOUDEST:g} (full scale is 1)",
        )


def scan_packets(path: str | os.PathLike[str]) -> Packets | None:
    """Return hash and tags of a file's compressed packets, or ``None`` if it cannot be demuxed.

    The hash does not depend on tags or pictures.

    Raises:
        AudioError: The file cannot be opened.
    """
    name = os.fspath(path)
    with opened(name) as fd, capture_stderr():
        try:
            return pyav.scan_packets(fd, name)
        except AudioError:
            return None


def mix_down(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean over channels ``(1, n_samples)`` of ``(n_channels, n_samples)``."""
    total: NDArray[np.float32] = samples[0].copy()
    for channel in samples[1:]:
        total += channel
    total /= np.float32(len(samples))
    return total[np.newaxis]


@contextlib.contextmanager
def _remarks_in_errors() -> Iterator[None]:
    """Silence the decoders, and append their output to the reason of an error."""
    with capture_stderr() as remarks:
        try:
            yield
        except AudioError as error:
            said = remarks()
            if not said:
                raise
            raise AudioError(error.path, f"{error.reason} ({said})") from error


STDERR = 2


class _Redirection:
    """Redirects descriptor 2 while at least one block is active."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[int] = []
        self._shared = False
        self._sink: IO[bytes] | None = None
        self._saved: int | None = None

    def enter(self) -> None:
        with self._lock:
            if not self._threads:
                self._install()
            me = threading.get_ident()
            self._shared = self._shared or any(thread != me for thread in self._threads)
            self._threads.append(me)

    def leave(self) -> None:
        with self._lock:
            self._threads.remove(threading.get_ident())
            if not self._threads:
                self._restore()

    def text(self) -> str:
        """Return the captured text, or nothing if another thread may have written it."""
        with self._lock:
            if self._shared or self._sink is None:
                return ""
            self._sink.seek(0)
            return self._sink.read(1 << 16).decode("utf-8", "replace")

    def _install(self) -> None:
        self._shared = False
        try:
            self._saved = os.dup(STDERR)
        except OSError:
            self._saved = None
        self._sink = _temporary_file()
        if self._sink.fileno() != STDERR:
            os.dup2(self._sink.fileno(), STDERR, inheritable=True)

    def _restore(self) -> None:
        assert self._sink is not None  # noqa: S101  # narrows the type: set by _install
        if self._saved is not None:
            os.dup2(self._saved, STDERR, inheritable=True)
            os.close(self._saved)
        elif self._sink.fileno() != STDERR:
            os.close(STDERR)
        self._sink.close()
        self._sink = self._saved = None


def _temporary_file() -> IO[bytes]:
    """Return an open temporary file, or the null device if no disk is writable."""
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError:
        return open(os.devnull, "r+b", buffering=0)  # noqa: PTH123  # closed by _restore


_redirection = _Redirection()


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Capture descriptor 2 inside the block; blocks may nest and run in several threads.

    Yields:
        A function that returns the last captured line, empty if other threads captured too.
    """
    _redirection.enter()
    try:
        yield lambda: _shorten(_redirection.text())
    finally:
        _redirection.leave()


def _shorten(text: str) -> str:
    """Return the last line, at most 120 characters, without lines of progress bars."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "\x1b" not in line]
    remark = lines[-1] if lines else ""
    printable = "".join(c if c.isprintable() else "?" for c in remark)
    return printable if len(printable) <= 120 else printable[:119] + "…"
