"""Features of files, extracted in one pass and cached by the hash of the bytes.

The cache has the features of distinct files in ``sounds-v<N>.jsonl``, and in ``files-v<N>.jsonl``
the hash of each path with its size and time of change, so that only changed files are read again.
Files that cannot be read are tried by every run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import resample
from earwitness.audio.decode import AudioInfo, mix_down, probe_audio, read_slice, scan_packets
from earwitness.audio.files import stat_regular
from earwitness.audit.near_duplicates.fingerprints import (
    N_CLASSES,
    RATE_HZ,
    Chroma,
    Words,
    fingerprint,
    time_chroma,
)
from earwitness.audit.scratch import Scratch
from earwitness.audit.signal import Channel, measure_channel
from earwitness.core.errors import AudioError
from earwitness.core.io import sha256_of
from earwitness.core.remote import recorded_name, to_path
from earwitness.scoring.store import LineFile
from earwitness.scoring.workers import CRASHED, KILLED, Death, TaskQueue, map_tasks

LONGEST_S = 1_200
"""Duration that is used of longer files, from the start."""

VERSION = 2
"""Version of the features; raise it whenever the same file gives other ones."""

_DEATHS: dict[Death, str] = {"crashed": CRASHED, "killed": KILLED}
_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "words": ("<u4", (-1,)),
    "chroma": ("<i1", (-1, N_CLASSES)),
}

OnFileDone = Callable[[bool], None]
"""Called once a file, with whether it could be decoded."""


@dataclass(frozen=True, eq=False)
class FileFeatures:
    """Features of one file; ``None`` where they are unknown.

    Attributes:
        sha256: Hash of the bytes.
        error: Why it cannot be decoded; ``None`` if it can.
        packets_sha256: Hash of the compressed packets.
        samples_sha256: Hash of the samples at their own rate, rounded to 16 bits.
        bit_rate_kbps: Mean over the compressed packets.
        encoder: The encoder tag.
        tag_fields: Names of the other metadata fields, separated by ``|``.
        cover_art: ``yes`` or ``no``.
        channel: Level, silence, bandwidth and stereo field.
        words: Fingerprint.
        chroma: Time–chroma.
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


def extract_file_features(path: str, sha256: str) -> FileFeatures:
    """Return the features of a file with this hash, or the error of one that cannot be decoded."""
    try:
        info = probe_audio(path)
        n_samples = min(info.n_samples, LONGEST_S * info.sample_rate_hz)
        samples = read_slice(path, 0, n_samples)
        packets = scan_packets(path)
    except AudioError as error:
        return FileFeatures(sha256, error.reason)
    low = resample(mix_down(samples), info.sample_rate_hz, RATE_HZ)[0]
    of_packets: dict[str, Any] = {}
    if packets:
        of_packets = {
            "packets_sha256": packets.sha256,
            "bit_rate_kbps": round(packets.n_bytes * 8 / info.duration_s / 1000),
            "encoder": packets.encoder,
            "tag_fields": "|".join(packets.tags),
            "cover_art": "yes" if packets.has_cover else "no",
        }
    return FileFeatures(
        sha256,
        samples_sha256=_hash_samples(samples, info),
        duration_s=info.duration_s,
        sample_rate_hz=info.sample_rate_hz,
        n_channels=info.n_channels,
        codec=info.codec,
        container=info.container,
        channel=measure_channel(samples, info.sample_rate_hz),
        words=fingerprint(low),
        chroma=time_chroma(low),
        **of_packets,
    )


def _hash_samples(samples: NDArray[np.float32], info: AudioInfo) -> str:
    """Return the SHA-256 of samples rounded to 16 bits, with their rate, channels and length."""
    shape = f"{info.sample_rate_hz}\0{info.n_channels}\0{info.n_samples}\0"
    digest = hashlib.sha256(shape.encode())
    for channel in samples:
        rounded = np.rint(channel * 32_768).clip(-32_768, 32_767).astype("<i2")
        digest.update(rounded.tobytes())
    return digest.hexdigest()


def _write_row(features: FileFeatures) -> dict[str, Any]:
    """Return features for JSON: arrays as base64 of their little-endian bytes."""
    row = {one.name: getattr(features, one.name) for one in fields(FileFeatures)}
    packed = {name: base64.b64encode(row[name].tobytes()).decode() for name in _ARRAYS}
    return row | packed


def _read_row(row: Any) -> FileFeatures:
    """Return the features of a row; ``TypeError``, ``KeyError`` or ``ValueError`` if invalid."""
    unpacked = {
        name: np.frombuffer(base64.b64decode(row[name]), dtype).reshape(shape)
        for name, (dtype, shape) in _ARRAYS.items()
    }
    channel = None if row["channel"] is None else Channel(*row["channel"])
    return FileFeatures(**(row | unpacked | {"channel": channel}))


class FileState(NamedTuple):
    """A path, and the size and time of change of its file."""

    path: str
    n_bytes: int = 0
    changed_ns: int = 0


class Hashed(NamedTuple):
    """The hash of a file, or why there is none."""

    state: FileState
    sha256: str | None
    error: str | None = None


class FeatureCache(ExitStack):
    """Cache of features and hashes in a folder, or in memory for ``None``; a context manager.

    ``scratch`` keeps the arrays of the features.

    Raises:
        RunError: The files in the folder are no such cache.
    """

    def __init__(self, folder: Path | None, scratch: Scratch | None = None) -> None:
        super().__init__()
        self._scratch = scratch or Scratch()
        self.features: dict[str, FileFeatures] = {}
        self.hashes: dict[FileState, str] = {}
        self._folder = folder
        self._lines: dict[str, LineFile] = {}

    def __enter__(self) -> Self:
        if self._folder is not None:
            for kind, take in (("sounds", self._take_features), ("files", self._take_hash)):
                self._lines[kind] = self.enter_context(_open_lines(self._folder, kind, take))
        return self

    def _take_features(self, row: Any, _: int) -> None:
        self._keep(_read_row(row))

    def _keep(self, features: FileFeatures) -> FileFeatures:
        keep = self._scratch.keep
        kept = replace(features, words=keep(features.words), chroma=keep(features.chroma))
        self.features[str(features.sha256)] = kept
        return kept

    def _take_hash(self, row: Any, _: int) -> None:
        state = FileState(str(row["path"]), int(row["n_bytes"]), int(row["changed_ns"]))
        self.hashes[state] = str(row["sha256"])

    def add_features(self, features: FileFeatures) -> FileFeatures:
        """Add the features of a file whose hash is known; return them as they are kept."""
        if self._lines:
            self._lines["sounds"].append(_write_row(features))
        return self._keep(features)

    def add_hash(self, state: FileState, sha256: str) -> None:
        """Add the hash of a path."""
        state = _recorded(state)
        self.hashes[state] = sha256
        if self._lines:
            self._lines["files"].append(state._asdict() | {"sha256": sha256})


def _open_lines(folder: Path, kind: str, take: Callable[[Any, int], None]) -> LineFile:
    path = folder / f"{kind}-v{VERSION}.jsonl"
    return LineFile(path, {"earwitness_audit": VERSION, "holds": kind}, take)


def join_caches(folder: Path, others: Sequence[Path]) -> None:
    """Add to the cache in a folder what those in others have, each row once."""
    _join_lines(folder, others, "sounds", itemgetter("sha256"))
    _join_lines(folder, others, "files", itemgetter(*FileState._fields))


def _join_lines(
    folder: Path, others: Sequence[Path], kind: str, key: Callable[[Any], object]
) -> None:
    known: set[object] = set()
    with _open_lines(folder, kind, lambda row, _: known.add(key(row))) as own:

        def take(row: Any, _: int) -> None:
            if key(row) not in known:
                known.add(key(row))
                own.append(row)

        for other in others:
            with _open_lines(other, kind, take):
                pass


def extract_features(
    paths: Iterable[str],
    cache: FeatureCache,
    *,
    n_workers: int | None = None,
    on_file_done: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, FileFeatures]:
    """Return the features of each file, or of some when stopped.

    Args:
        paths: Distinct absolute paths.
        cache: Features of earlier runs; new ones are added.
        n_workers: Number of processes; see ``map_tasks``.
        on_file_done: Called once a file.
        should_stop: Called before every file; once it is true, only files in work are finished.
    """
    report = on_file_done or (lambda _: None)
    extracted: dict[str, FileFeatures] = {}
    waiting: dict[str, list[str]] = {}
    for state, sha256, error in _hash_files(paths, cache, n_workers, should_stop):
        if sha256 is None:
            extracted[state.path] = FileFeatures(error=error)
        elif sha256 in cache.features:
            extracted[state.path] = cache.features[sha256]
        else:
            waiting.setdefault(sha256, []).append(state.path)
            continue
        report(extracted[state.path].error is None)
    queue: TaskQueue[tuple[str, str], FileFeatures] = TaskQueue(
        ((same[0], sha256) for sha256, same in waiting.items()), should_stop=should_stop
    )
    for features in map_tasks(
        extract_file_features,
        queue,
        if_crashed=lambda task, death: FileFeatures(task[1], _DEATHS[death]),
        n_workers=n_workers,
    ):
        if features.error not in _DEATHS.values():  # full memory may be the cause: try again later
            features = cache.add_features(features)  # noqa: PLW2901 - the worker's copy goes
        for path in waiting[str(features.sha256)]:
            extracted[path] = features
            report(features.error is None)
    return extracted


def _hash_files(
    paths: Iterable[str],
    cache: FeatureCache,
    n_workers: int | None,
    should_stop: Callable[[], bool],
) -> Iterable[Hashed]:
    """Yield the hash of every file; only files that changed are read."""
    unknown: list[tuple[str]] = []
    for path in paths:
        try:
            state = _read_state(path)
        except AudioError as error:
            yield Hashed(FileState(path), None, error.reason)
            continue
        if sha256 := cache.hashes.get(_recorded(state)):
            yield Hashed(state, sha256)
        else:
            unknown.append((path,))
    if not unknown:
        return
    queue: TaskQueue[tuple[str], Hashed] = TaskQueue(unknown, should_stop=should_stop)
    for hashed in map_tasks(
        hash_file,
        queue,
        if_crashed=lambda task, death: Hashed(FileState(task[0]), None, _DEATHS[death]),
        n_workers=n_workers,
    ):
        if hashed.sha256 is not None:
            cache.add_hash(hashed.state, hashed.sha256)
        yield hashed


def _recorded(state: FileState) -> FileState:
    return state._replace(path=recorded_name(state.path))


def hash_file(path: str) -> Hashed:
    """Return the hash of a file, or why it cannot be read."""
    try:
        state = _read_state(path)
        return Hashed(state, sha256_of(to_path(path)))
    except AudioError as error:
        return Hashed(FileState(path), None, error.reason)
    except OSError as error:
        return Hashed(FileState(path), None, f"cannot be read: {error.strerror or error}")


def _read_state(path: str) -> FileState:
    status = stat_regular(path)
    return FileState(path, status.st_size, status.st_mtime_ns)
