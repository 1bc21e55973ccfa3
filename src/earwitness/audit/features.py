"""What an audit knows of one file, taken in one pass over it.

Conventions: ``FileFeatures`` belong to bytes, not to a path: equal bytes are decoded once. Of a
very long file the beginning is used. What cannot be read has an ``error`` and nothing else but,
where it can be read at all, the hash of its bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import (
    AudioInfo,
    Packets,
    mix_down,
    probe_audio,
    read_slice,
    scan_packets,
)
from earwitness.audio.files import stat_regular
from earwitness.audio.resample import resample
from earwitness.audit.near_duplicates.fingerprints import (
    N_CLASSES,
    RATE_HZ,
    Chroma,
    Words,
    fingerprint,
    time_chroma,
)
from earwitness.audit.signal import Channel, measure_channel
from earwitness.core.errors import AudioError
from earwitness.core.io import sha256_of
from earwitness.scoring.store import LineFile
from earwitness.scoring.workers import Death, TaskQueue, map_tasks

LONGEST_S = 1_200
"""How much of a file is heard, from its start."""

VERSION = 2
"""Raised whenever the same file gives another ``FileFeatures``."""

CRASHED = "the audio decoder crashed on this file"
KILLED = "the process that read this file was killed from outside, or memory ran out"


_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "words": ("<u4", (-1,)),
    "chroma": ("<i1", (-1, N_CLASSES)),
}


@dataclass(frozen=True, eq=False)
class FileFeatures:
    """What is known of one file.

    Attributes:
        sha256: Of its bytes; ``None`` where they cannot be read.
        error: Why it cannot be heard; ``None`` where it can.
        packets_sha256: Of its compressed packets; ``None`` where they cannot be told.
        samples_sha256: Of its samples at their own rate, rounded to 16 bits.
        duration_s: Its length.
        sample_rate_hz: Its own rate.
        n_channels: Its channels.
        codec: Coding of its samples.
        container: What they are wrapped in.
        bit_rate_kbps: Mean over its compressed packets, to the nearest whole number.
        encoder: What wrote it, as its tag says.
        tag_fields: Names of its other metadata fields, with ``|`` between them; empty for none.
        cover_art: ``yes`` or ``no``: whether it holds a cover picture.
        channel: What the channel left on it.
        words: Sub-fingerprints, see ``audio.fingerprint``.
        chroma: Time–chroma, see ``audio.chroma``.
    """

    sha256: str | None = None
    error: str | None = None
    packets_sha256: str | None = None
    samples_sha256: str | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    n_channels: int | None = None
    codec: str | None = None
    container: str | None = None
    bit_rate_kbps: int | None = None
    encoder: str | None = None
    tag_fields: str | None = None
    cover_art: str | None = None
    channel: Channel | None = None
    words: Words = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    chroma: Chroma = field(default_factory=lambda: np.zeros((0, N_CLASSES), dtype=np.int8))


def hear_file(path: str, sha256: str) -> FileFeatures:
    """Take everything an audit wants to know of a file; errors become words.

    Args:
        path: The file.
        sha256: Of its bytes.
    """
    try:
        info = probe_audio(path)
        n_samples = min(info.n_samples, LONGEST_S * info.sample_rate_hz)
        samples = read_slice(path, 0, n_samples)
        packets = scan_packets(path)
    except AudioError as error:
        return FileFeatures(sha256, error.reason)
    low = resample(mix_down(samples), info.sample_rate_hz, RATE_HZ)[0]
    return FileFeatures(
        sha256,
        packets_sha256=packets.sha256 if packets else None,
        samples_sha256=_hash_samples(samples, info),
        duration_s=info.duration_s,
        sample_rate_hz=info.sample_rate_hz,
        n_channels=info.n_channels,
        codec=info.codec,
        container=info.container,
        bit_rate_kbps=_bit_rate_kbps(packets, info),
        encoder=packets.encoder if packets else None,
        tag_fields="|".join(packets.tags) if packets else None,
        cover_art=("yes" if packets.has_cover else "no") if packets else None,
        channel=measure_channel(samples, info.sample_rate_hz),
        words=fingerprint(low),
        chroma=time_chroma(low),
    )


def _bit_rate_kbps(packets: Packets | None, info: AudioInfo) -> int | None:
    return round(packets.n_bytes * 8 / info.duration_s / 1000) if packets else None


def _hash_samples(samples: NDArray[np.float32], info: AudioInfo) -> str:
    """Return the SHA-256 of samples rounded to 16 bits, with their rate, channels and length."""
    shape = f"{info.sample_rate_hz}\0{info.n_channels}\0{info.n_samples}\0"
    digest = hashlib.sha256(shape.encode())
    for channel in samples:
        rounded = np.rint(channel * 32_768).clip(-32_768, 32_767).astype("<i2")
        digest.update(rounded.tobytes())
    return digest.hexdigest()


def sound_row(sound: FileFeatures) -> dict[str, Any]:
    """Return a sound as JSON can hold it: arrays as base64 of their little-endian bytes."""
    row = {one.name: getattr(sound, one.name) for one in fields(FileFeatures)}
    packed = {name: base64.b64encode(row[name].tobytes()).decode() for name in _ARRAYS}
    return row | packed


def read_row(row: Any) -> FileFeatures:
    """Return the sound that ``sound_row`` made a row of.

    Raises:
        TypeError: The row is another.
        KeyError: Likewise.
        ValueError: Likewise.
    """
    unpacked = {
        name: np.frombuffer(base64.b64decode(row[name]), dtype).reshape(shape)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    channel = None if row["channel"] is None else Channel(*row["channel"])
    return FileFeatures(**(row | unpacked | {"channel": channel}))


_REASONS: dict[Death, str] = {"crashed": CRASHED, "killed": KILLED}

OnFileDone = Callable[[bool], None]
"""Called once a file, with whether it could be heard."""


class State(NamedTuple):
    """What tells one state of a file from another."""

    path: str
    n_bytes: int
    changed_ns: int


class Hashed(NamedTuple):
    """The hash of a file's bytes, or why there is none."""

    state: State
    sha256: str | None
    error: str | None = None


class FeatureCache:
    """What was heard, in memory and, where a folder is given, on disk; a context manager.

    Args:
        folder: Where it is kept; ``None`` keeps it in memory alone.

    Raises:
        RunError: The files there hold something else.
    """

    def __init__(self, folder: Path | None) -> None:
        self.sounds: dict[str, FileFeatures] = {}
        self.hashes: dict[State, str] = {}
        self._folder = folder
        self._open = ExitStack()
        self._lines: dict[str, LineFile] = {}

    def __enter__(self) -> Self:
        if self._folder is not None:
            for kind, take in (("sounds", self._take_sound), ("files", self._take_hash)):
                path = self._folder / f"{kind}-v{VERSION}.jsonl"
                header = {"earwitness_audit": VERSION, "holds": kind}
                self._lines[kind] = self._open.enter_context(LineFile(path, header, take))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def _take_sound(self, row: Any) -> None:
        sound = read_row(row)
        self.sounds[str(sound.sha256)] = sound

    def _take_hash(self, row: Any) -> None:
        state = State(str(row["path"]), int(row["n_bytes"]), int(row["changed_ns"]))
        self.hashes[state] = str(row["sha256"])

    def add_sound(self, sound: FileFeatures) -> None:
        """Keep what was heard of a file whose bytes are known."""
        self.sounds[str(sound.sha256)] = sound
        if self._lines:
            self._lines["sounds"].append(sound_row(sound))

    def add_hash(self, state: State, sha256: str) -> None:
        """Keep what bytes a path holds."""
        self.hashes[state] = sha256
        if self._lines:
            self._lines["files"].append(state._asdict() | {"sha256": sha256})


def extract_features(
    paths: Iterable[str],
    store: FeatureCache,
    *,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, FileFeatures]:
    """Return what is known of each file; where it was stopped, of some.

    Args:
        paths: Absolute paths, no two the same.
        store: What was heard before, and where it is kept.
        n_workers: Processes; see ``map_tasks``.
        advance: Told of every file that is done.
        should_stop: Asked before every file; once it says so, only what is in hand is finished.
    """
    told = advance or (lambda _: None)
    heard: dict[str, FileFeatures] = {}
    waiting: dict[str, list[str]] = {}
    for state, sha256, error in _hash_files(paths, store, n_workers, should_stop):
        if sha256 is None:
            heard[state.path] = FileFeatures(error=error)
        elif sha256 in store.sounds:
            heard[state.path] = store.sounds[sha256]
        else:
            waiting.setdefault(sha256, []).append(state.path)
            continue
        told(heard[state.path].error is None)
    queue: TaskQueue[tuple[str, str], FileFeatures] = TaskQueue(
        ((same[0], sha256) for sha256, same in waiting.items()), should_stop=should_stop
    )
    for sound in map_tasks(hear_file, queue, if_crashed=_crashed, n_workers=n_workers):
        if sound.error not in (
            CRASHED,
            KILLED,
        ):  # a full memory may be to blame, so the next run tries again
            store.add_sound(sound)
        for path in waiting[str(sound.sha256)]:
            heard[path] = sound
            told(sound.error is None)
    return heard


def _hash_files(
    paths: Iterable[str],
    store: FeatureCache,
    n_workers: int | None,
    should_stop: Callable[[], bool],
) -> Iterable[Hashed]:
    """Yield the hash of every file; only files that changed are read."""
    unknown: list[tuple[str]] = []
    for path in paths:
        hashed = _known(path, store)
        if hashed is None:
            unknown.append((path,))
        else:
            yield hashed
    if not unknown:
        return
    queue: TaskQueue[tuple[str], Hashed] = TaskQueue(unknown, should_stop=should_stop)
    for hashed in map_tasks(hash_file, queue, if_crashed=_lost, n_workers=n_workers):
        if hashed.sha256 is not None:
            store.add_hash(hashed.state, hashed.sha256)
        yield hashed


def _known(path: str, store: FeatureCache) -> Hashed | None:
    try:
        state = _state(path)
    except AudioError as error:
        return Hashed(State(path, 0, 0), None, error.reason)
    sha256 = store.hashes.get(state)
    return None if sha256 is None else Hashed(state, sha256)


def hash_file(path: str) -> Hashed:
    """Return the hash of a file's bytes; errors become words."""
    try:
        state = _state(path)
        return Hashed(state, sha256_of(Path(path)))
    except AudioError as error:
        return Hashed(State(path, 0, 0), None, error.reason)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return Hashed(State(path, 0, 0), None, reason)


def _state(path: str) -> State:
    status = stat_regular(path)
    return State(path, status.st_size, status.st_mtime_ns)


def _lost(task: tuple[str], death: Death) -> Hashed:
    return Hashed(State(task[0], 0, 0), None, _REASONS[death])


def _crashed(task: tuple[str, str], death: Death) -> FileFeatures:
    return FileFeatures(task[1], _REASONS[death])
