"""Audio files as samples: the whole file or a slice, at its own rate or another.

Conventions: samples are ``(n_channels, n_samples)`` float32, integers scaled to [-1, 1);
positions and lengths are samples at the rate that is asked for. Slices equal the same slice of
the whole file bit for bit, resampled ones too. Whatever is wrong with a file is an
``AudioError`` that names it, and nothing is written to standard error: libmpg123 writes notes to
file descriptor 2 whatever ``sys.stderr`` is, so the descriptor is redirected while it runs.
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

from earwitness.audio import libsndfile, mpeg, pyav
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

PROBES_KEPT = 4096

LOUDEST = 1e10
"""Samples beyond it are damage; up to it (unscaled 32-bit integers) all arithmetic stays finite."""


def probe_audio(path: str | os.PathLike[str]) -> AudioInfo:
    """Return the format and the decoded length of a file.

    WAV, FLAC, OGG and MP3 are not decoded for it, unless an MP3's frames do not add up; other
    formats are decoded once, without keeping samples. Results are kept in this process for as
    long as size and modification time of the file stay the same.

    Raises:
        AudioError: The file cannot be read, is damaged, or yields over 1 % less than it claims.
    """
    name = os.fspath(path)
    status = stat_regular(name)
    return _probe(name, os.path.abspath(name), status.st_size, status.st_mtime_ns)  # noqa: PTH100


@functools.lru_cache(maxsize=PROBES_KEPT)
def _probe(name: str, absolute: str, n_bytes: int, mtime_ns: int) -> AudioInfo:  # noqa: ARG001
    """Probe a file; the further arguments only tell one state of it from another."""
    with opened(name) as fd, _remarks_in_errors():
        plan = _plan(fd, name)
        return check_info(_find(fd, name, plan), plan)


def _find(fd: int, path: str, plan: Plan) -> AudioInfo:
    """Return what the first reader that can read a file finds in it."""
    if plan.is_mpeg and (frames := walk_frames(fd)):
        return mpeg.probe(fd, frames, path)
    try:
        return libsndfile.probe(fd, path, plan)
    except libsndfile.NotForLibsndfileError:
        if looks_like_text(fd):
            raise AudioError(path, "a text/HTML file, not audio") from None
    frames = walk_frames(fd) if read_at(fd, 0, 3) in TAG_MARKS else None
    return pyav.probe(fd, path) if frames is None else mpeg.probe(fd, frames, path)


def _plan(fd: int, path: str) -> Plan:
    """Return how a file is read, by the mark at its start, past ID3v2 tags."""
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
        sample_rate_hz: Rate wanted; ``None`` is the file's own.
        mono: Return the mean over channels.

    Returns:
        Samples ``(n_channels, n_samples)`` float32 at the rate wanted, and what is known of the
        file at its own rate.

    Raises:
        AudioError: As ``read_slice``.
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
    """Read a slice of a file, decoding little more than the slice where the format allows.

    Args:
        path: The file.
        start: First sample, at the rate wanted.
        n_samples: Samples wanted, at the rate wanted.
        sample_rate_hz: Rate wanted; ``None`` is the file's own.
        mono: Return the mean over channels, taken before resampling.

    Returns:
        ``(n_channels, n_samples)`` float32, shorter where the file ends first.

    Raises:
        AudioError: The file cannot be read, is damaged, or the slice holds NaN or infinities.
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
    """Return ``[start, stop)`` at the rate wanted."""

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
    """Return stretches of a file at its own rate, in one pass over it.

    Args:
        info: Result of ``probe_audio``.
        spans: Stretches inside the file, in order, not overlapping.

    Returns:
        ``(n_channels, n_samples)`` float32 of each.

    Raises:
        AudioError: The file cannot be read, is damaged, or a span holds NaN, infinities or
            samples beyond ``LOUDEST``.
    """
    reader = {"ffmpeg": pyav, "frames": mpeg}.get(info.reader, libsndfile)
    with opened(info.path) as fd, _remarks_in_errors():
        parts: list[NDArray[np.float32]] = reader.read(fd, info, spans)
    for part in parts:
        _check_values(info.path, part)
    return parts


def _check_values(path: str, samples: NDArray[np.float32]) -> None:
    """Refuse what no later step could compute with; a NaN is neither small nor large."""
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

    Tags and pictures are outside of them, so a copy with other tags has the same hash.

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
    """Silence the decoders; what they wrote becomes part of the reason if they fail."""
    with capture_stderr() as remarks:
        try:
            yield
        except AudioError as error:
            said = remarks()
            if not said:
                raise
            raise AudioError(error.path, f"{error.reason} ({said})") from error


STDERR = 2
LONGEST_REMARK = 120


class _Redirection:
    """Descriptor 2 pointed elsewhere while at least one block wants it so."""

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
        """Return what was written, or nothing where another thread may have written it."""
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
    """Return an open nameless file, or the null device where no disk can be written."""
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError:
        return open(os.devnull, "r+b", buffering=0)  # noqa: PTH123  # closed by _restore


_redirection = _Redirection()


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Keep descriptor 2 silent inside the block; blocks may nest and run in several threads.

    Yields:
        A function that returns, inside the block, what the libraries wrote, as one short line;
        it is empty where another thread ran such a block at the same time.
    """
    _redirection.enter()
    try:
        yield lambda: _shorten(_redirection.text())
    finally:
        _redirection.leave()


def _shorten(text: str) -> str:
    """Return the last line that says something, no longer than ``LONGEST_REMARK``.

    Lines with terminal escapes come from a progress bar of the same process, not from a decoder.
    """
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "\x1b" not in line]
    remark = lines[-1] if lines else ""
    printable = "".join(c if c.isprintable() else "?" for c in remark)
    return printable if len(printable) <= LONGEST_REMARK else printable[: LONGEST_REMARK - 1] + "…"
