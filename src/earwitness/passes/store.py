"""Finished rows on disk: an append-only file a detector, whole whatever ends the run.

Conventions: ``store/<detector>.jsonl`` holds a header line and then one JSON object a file that was
judged, ASCII, line feeds at line ends. A line is written in one piece as soon as its file is
finished; what follows the last whole line (a run that was killed, a disk that was full) is dropped
by whoever opens the file next. Paths are absolute. One process at a time writes into a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from earwitness.core.errors import RunError
from earwitness.core.files import file_stem
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.passes.cutting import Job

STORE_FOLDER = "store"
_LOCK = ".lock"
_VERSION = 1
_SYNC_EVERY_S = 1.0


class RowStore:
    """Finished rows of one detector; a context manager that closes the file.

    Args:
        folder: The run folder's ``store``.
        detector: Name of the detector.
        anew: Forget what is there.
        keep_errors: Take rows that hold an error for finished, too.

    Attributes:
        path: The file.
        finished: What is on disk, by the job with an absolute path.

    Raises:
        RunError: The file cannot be opened, or holds something else.
    """

    def __init__(
        self, folder: Path, detector: str, *, anew: bool = False, keep_errors: bool = True
    ) -> None:
        self.path = folder / f"{file_stem(detector)}.jsonl"
        self.finished: dict[Job, FileScore] = {}
        self._synced_at = time.monotonic()
        with _told(self.path, 0):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("wb" if anew else "ab+", buffering=0)
        try:
            self._read(detector, keep_errors=keep_errors)
        except BaseException:
            self._file.close()
            raise

    def _read(self, detector: str, *, keep_errors: bool) -> None:
        """Take what is there and drop a torn end."""
        header = {"earwitness_store": _VERSION, "detector": detector}
        with _told(self.path, 0):
            lines = self.path.read_bytes().splitlines(keepends=True)
            rows = _whole_rows(lines, self.path)
            self._size = sum(map(len, lines[: len(rows)]))
            self._file.truncate(self._size)
        if not rows:
            self._append(header)
        elif rows[0] != header:
            raise RunError(f"{self.path}: begins with {rows[0]}, expected {header}")
        for number, row in enumerate(rows[1:], 2):
            try:
                job, score = _parsed(row)
            except (TypeError, KeyError, ValueError):
                raise RunError(f"{self.path}:{number}: no finished row, expected one") from None
            self.finished[job] = score
        if not keep_errors:
            self.finished = {j: s for j, s in self.finished.items() if s.error is None}

    def add(self, job: Job, score: FileScore) -> None:
        """Keep what was said of a file.

        Raises:
            RunError: It cannot be written; what was written before stays valid.
        """
        job = absolute(job)
        self._append(
            {
                "path": job.path,
                "skip_s": job.skip_s,
                "windows": score.windows,
                "encoders": score.encoders,
                "native_rate_hz": score.native_rate_hz,
                "error": score.error,
            }
        )
        self.finished[job] = score

    def _append(self, row: dict[str, Any]) -> None:
        line = memoryview(json.dumps(row, allow_nan=False).encode() + b"\n")
        with _told(self.path, len(self.finished)):
            try:
                rest = line
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(self._size)
                raise
            self._size += len(line)
            if time.monotonic() - self._synced_at > _SYNC_EVERY_S:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file, contextlib.suppress(OSError):
            self._sync()


def absolute(job: Job) -> Job:
    """Return a job that names the same file from any working folder."""
    return Job(os.path.abspath(job.path), job.skip_s)  # noqa: PTH100 - a name may be no valid Path


def _whole_rows(lines: list[bytes], path: Path) -> list[Any]:
    """Return the lines as JSON; a last one that is torn is left out.

    Raises:
        RunError: Another line is no JSON.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("torn")
            rows.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise RunError(
                    f"{path}:{number}: no JSON, expected a finished row; "
                    "--resume always scores anew"
                ) from None
    return rows


def _parsed(row: Any) -> tuple[Job, FileScore]:
    score = FileScore(
        windows=tuple(WindowScore(*map(float, window)) for window in row["windows"]),
        encoders=tuple(map(float, row["encoders"])),
        native_rate_hz=row["native_rate_hz"],
        error=row["error"],
    )
    if (score.error is None) is not bool(score.windows):
        raise ValueError("neither a score nor an error, or both")
    return Job(str(row["path"]), float(row["skip_s"])), score


@contextlib.contextmanager
def _told(path: Path, n_kept: int) -> Iterator[None]:
    """Say in one line what the disk refused, and that nothing was lost."""
    try:
        yield
    except OSError as error:
        kept = f"; {n_kept} finished rows are kept, the same command goes on" if n_kept else ""
        raise RunError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process from writing into a run folder; the lock ends with the process.

    Raises:
        RunError: Another process is at it, or the disk has no locks.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: found a file, expected a folder to write to")
    path = folder / STORE_FOLDER / _LOCK
    with _told(path, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{folder}: another run is writing there, expected to be alone; wait for it or "
                "choose another folder"
            ) from None
        except NotImplementedError:
            raise RunError(
                f"{folder}: its disk knows no file locks, expected one that does"
            ) from None
    try:
        yield
    finally:
        lock.release()
