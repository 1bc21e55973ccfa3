"""Hearing many files once each, and keeping what was heard.

Conventions: ``store/sounds-v<N>.jsonl`` holds a line for each distinct file that was heard, by the
SHA-256 of its bytes, and ``store/files-v<N>.jsonl`` which bytes a path held, by its size and time
of change, so that a run that goes on reads nothing again that did not change. Files that could
not even be read are tried again by every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from earwitness.audio.files import stat_regular
from earwitness.audit.features import (
    CRASHED,
    KILLED,
    VERSION,
    FileFeatures,
    hear_file,
    read_row,
    sound_row,
)
from earwitness.core.errors import AudioError
from earwitness.core.io import sha256_of
from earwitness.scoring.store import LineFile
from earwitness.scoring.workers import Death, TaskQueue, map_tasks

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
