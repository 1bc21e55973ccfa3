"""Finished rows on disk: an append-only file a detector, whole whatever ends the run.

Conventions: ``store/<detector>.jsonl`` holds one JSON object a file that was scored, written as
soon as the file is finished. Paths are absolute. One process at a time
writes into a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from earwitness.core.errors import RunError
from earwitness.core.io import file_stem, sweep
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.scoring.clips import Job

STORE_FOLDER = "store"
_LOCK = ".lock"
_VERSION = 1


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
        header = {"earwitness_store": _VERSION, "detector": detector}
        self._lines = LineFile(self.path, header, self._take, anew=anew)
        if not keep_errors:
            self.finished = {j: s for j, s in self.finished.items() if s.error is None}

    def _take(self, row: Any) -> None:
        job, score = _parsed(row)
        self.finished[job] = score

    def add(self, job: Job, score: FileScore) -> None:
        """Append the scores of a file.

        Raises:
            RunError: It cannot be written; what was written before stays valid.
        """
        job = absolute(job)
        self._lines.append(
            {
                "path": job.path,
                "skip_s": job.skip_s,
                "windows": [
                    window[: 3 if window.abstained is None else 4] for window in score.windows
                ],
                "encoders": score.encoders,
                "native_rate_hz": score.native_rate_hz,
                "error": score.error,
            }
        )
        self.finished[job] = score

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.__exit__(kind, error, trace)


def absolute(job: Job) -> Job:
    """Return a job that names the same file from any working folder."""
    return Job(os.path.abspath(job.path), job.skip_s)  # noqa: PTH100 - a name may be no valid Path


def _parsed(row: Any) -> tuple[Job, FileScore]:
    score = FileScore(
        windows=tuple(_window(*window) for window in row["windows"]),
        encoders=tuple(map(float, row["encoders"])),
        native_rate_hz=row["native_rate_hz"],
        error=row["error"],
    )
    if (score.error is None) is not bool(score.windows):
        raise ValueError("neither a score nor an error, or both")
    return Job(str(row["path"]), float(row["skip_s"])), score


def _window(
    start_s: float, duration_s: float, logit: float | None, abstained: str | None = None
) -> WindowScore:
    if (logit is None) is (abstained is None):
        raise ValueError("neither a score nor a reason, or both")
    where = float(start_s), float(duration_s)
    if logit is None:
        return WindowScore(*where, None, str(abstained))
    return WindowScore(*where, float(logit))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process from writing into a run folder; the lock ends with the process.

    Raises:
        RunError: Another process is at it, or the disk has no locks.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: found a file, expected a folder to write to")
    path = folder / STORE_FOLDER / _LOCK
    with write_errors_as_run_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"{folder}: locked by another run; wait for it or choose another folder"
            ) from None
        except NotImplementedError:
            raise RunError(
                f"{folder}: its file system has no file locks, expected one that has"
            ) from None
    try:
        sweep(folder, below=True)
        yield
    finally:
        lock.release()


_SYNC_EVERY_S = 1.0


class LineFile:
    """A file of JSON lines, open for more; a context manager that closes it.

    Args:
        path: The file; its folder is made if it is missing.
        header: What its first line says.
        take: Given every row that is there, one after another, the header left out.
        anew: Forget what is there.

    Attributes:
        path: The file.

    Raises:
        RunError: The file cannot be opened, or holds something else.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        take: Callable[[Any], None],
        *,
        anew: bool = False,
    ) -> None:
        self.path = path
        self._n_rows = 0
        self._synced_at = time.monotonic()
        with write_errors_as_run_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if anew else "ab+", buffering=0)
        try:
            self._read(header, take)
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: dict[str, Any], take: Callable[[Any], None]) -> None:
        """Pass existing rows to ``take`` and drop a torn last line."""
        self._size = 0
        with write_errors_as_run_errors(self.path), self.path.open("rb") as lines:
            for number, (row, n_bytes) in enumerate(_whole_rows(lines, self.path), 1):
                self._size += n_bytes
                if number > 1:
                    self._take_row(number, row, take)
                elif row != header:
                    raise RunError(f"{self.path}: begins with {row}, expected {header}")
            self._file.truncate(self._size)
        if self._size == 0:
            self._write(header)

    def _take_row(self, number: int, row: Any, take: Callable[[Any], None]) -> None:
        try:
            take(row)
        except (TypeError, KeyError, ValueError):
            raise RunError(f"{self.path}:{number}: no finished row, expected one") from None
        self._n_rows += 1

    def append(self, row: dict[str, Any]) -> None:
        """Write one more row.

        Raises:
            RunError: It cannot be written; what was written before stays valid.
        """
        self._write(row)
        self._n_rows += 1

    def _write(self, row: dict[str, Any]) -> None:
        line = memoryview(json.dumps(row, allow_nan=False).encode() + b"\n")
        with write_errors_as_run_errors(self.path, self._n_rows):
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


def _whole_rows(lines: Iterable[bytes], path: Path) -> Iterator[tuple[Any, int]]:
    """Yield the lines as JSON, with their lengths in bytes; a last one that is torn is left out.

    Raises:
        RunError: Another line is no JSON.
    """
    torn = 0
    for number, line in enumerate(lines, 1):
        if torn:
            raise RunError(
                f"{path}:{torn}: no JSON, expected a finished row; --resume always scores anew"
            )
        try:
            if not line.endswith(b"\n"):
                raise ValueError("torn")
            row = json.loads(line)
        except ValueError:
            torn = number
            continue
        yield row, len(line)


@contextlib.contextmanager
def write_errors_as_run_errors(path: Path, n_kept: int = 0) -> Iterator[None]:
    """Turn an OSError into a one-line RunError that says how many rows are kept."""
    try:
        yield
    except OSError as error:
        kept = f"; {n_kept} finished rows are kept, the same command resumes" if n_kept else ""
        raise RunError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error
