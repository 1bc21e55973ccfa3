"""Store the scores of finished files: an append-only ``store/<detector>.jsonl`` per detector.

A row is written as soon as a file is finished and survives a kill. Paths are absolute. One process
at a time writes into a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from earwitness.core.errors import RunError
from earwitness.core.io import file_stem, sweep
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.core.remote import recorded_name
from earwitness.scoring.clips import Job
from earwitness.scoring.perturbed import Recipe
from earwitness.scoring.stored_scores import StoredScores

_SYNC_S = 10.0
"""Time between syncs of a file. Of nine files each second they took a quarter of a run."""
STORE_FOLDER = "store"


def recorded(job: Job) -> Job:
    """Return a job as stores have it: with an absolute path, without the credentials of URLs."""
    return job._replace(path=recorded_name(job.path))


def _parsed(row: Any) -> tuple[Job, FileScore]:
    score = FileScore(
        windows=tuple(_window(*window) for window in row["windows"]),
        encoders=tuple(map(float, row["encoders"])),
        native_rate_hz=row["native_rate_hz"],
        error=row["error"],
        details=row.get("details"),
        note=row.get("note"),  # stores of earlier versions have none
    )
    if (score.error is None) is not bool(score.windows):
        raise ValueError("neither a score nor an error, or both")
    recipe = Recipe(*row["recipe"]) if "recipe" in row else None
    return Job(str(row["path"]), float(row["skip_s"]), recipe), score


def _parse(line: bytes) -> tuple[Job, FileScore]:
    return _parsed(json.loads(line.decode()))


def _window(
    start_s: float, duration_s: float | None, logit: float | None, abstained: str | None = None
) -> WindowScore:
    if (logit is None) is (abstained is None):
        raise ValueError("neither a score nor a reason, or both")
    score, reason = (None, str(abstained)) if logit is None else (float(logit), None)
    duration_s = None if duration_s is None else float(duration_s)
    return WindowScore(float(start_s), duration_s, score, reason)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run folder against other processes; the lock ends with the process."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: found a file, expected a folder to write to")
    path = folder / STORE_FOLDER / ".lock"
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


class LineFile:
    """A JSON lines file open for appending; a context manager that closes it.

    ``take`` is called with every existing row after the header, and its position in bytes. A file
    that cannot be opened, or has another header, raises a ``RunError``.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        take: Callable[[Any, int], None],
        *,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self._n_rows = 0
        self._synced_at = time.monotonic()
        with write_errors_as_run_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if overwrite else "ab+", buffering=0)
        try:
            self._read(header, take)
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: dict[str, Any], take: Callable[[Any, int], None]) -> None:
        """Pass existing rows to ``take`` and drop a torn last line."""
        self._size = 0
        with write_errors_as_run_errors(self.path), self.path.open("rb") as lines:
            for number, (row, n_bytes) in enumerate(_whole_rows(lines, self.path), 1):
                if number > 1:
                    self._take_row(number, row, take)
                elif row != header:
                    raise RunError(f"{self.path}: begins with {row}, expected {header}")
                self._size += n_bytes
            self._file.truncate(self._size)
        if self._size == 0:
            self._write(header)

    def _take_row(self, number: int, row: Any, take: Callable[[Any, int], None]) -> None:
        try:
            take(row, self._size)
        except (TypeError, KeyError, ValueError):
            raise RunError(f"{self.path}:{number}: not a finished row") from None
        self._n_rows += 1

    def append(self, row: dict[str, Any]) -> int:
        """Append a row and return its position in bytes.

        Raises:
            RunError: It cannot be written; earlier rows stay valid.
        """
        offset = self._size
        self._write(row)
        self._n_rows += 1
        return offset

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
            if time.monotonic() - self._synced_at > _SYNC_S:
                self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._file, contextlib.suppress(OSError):
            self._sync()


class RowStore(LineFile):
    """Scores of the finished files of one detector; a context manager that closes the file.

    ``finished`` has the scores on disk, by job with an absolute path; without ``keep_errors`` rows
    with an error do not count.
    """

    def __init__(
        self, folder: Path, detector: str, *, overwrite: bool = False, keep_errors: bool = True
    ) -> None:
        path, header = _store_file(folder, detector)
        self.finished = StoredScores([path], _parse)
        self._keep_errors = keep_errors
        super().__init__(path, header, self._take, overwrite=overwrite)

    def _take(self, row: Any, offset: int) -> None:
        job, score = _parsed(row)
        if self._keep_errors or score.error is None:
            self.finished.note(job, offset)

    def add(self, job: Job, score: FileScore) -> None:
        """Append the score of a file."""
        job = recorded(job)
        offset = self.append(
            {
                "path": job.path,
                "skip_s": job.skip_s,
                **({"recipe": job.recipe} if job.recipe else {}),
                "windows": [
                    window[: 3 if window.abstained is None else 4] for window in score.windows
                ],
                "encoders": score.encoders,
                "native_rate_hz": score.native_rate_hz,
                "error": score.error,
                **({"details": dict(score.details)} if score.details else {}),
                **({} if score.note is None else {"note": score.note}),
            }
        )
        self.finished.note(job, offset)


def _store_file(folder: Path, detector: str) -> tuple[Path, dict[str, Any]]:
    """Return the path of a detector's store and its first row."""
    return folder / f"{file_stem(detector)}.jsonl", {"earwitness_store": 1, "detector": detector}


def read_scores(folders: Sequence[Path], detector: str) -> StoredScores:
    """Return the finished rows of stores, which other processes may be writing to.

    Of several rows of a job, that of the first folder counts, and in it the last.
    """
    found = [_store_file(folder, detector) for folder in reversed(folders)]
    there = [(path, header) for path, header in found if path.is_file()]
    scores = StoredScores([path for path, _ in there], _parse)
    ends = [*scores.starts[1:], float("inf")]
    for (path, header), start, end in zip(there, scores.starts, ends, strict=False):
        at = start
        with path.open("rb") as lines:
            for number, (row, n_bytes) in enumerate(_whole_rows(lines, path), 1):
                if number == 1 and row != header:
                    raise RunError(f"{path}: begins with {row}, expected {header}")
                if at + n_bytes > end:  # added meanwhile
                    break
                if number > 1:
                    try:
                        job, _ = _parsed(row)
                    except (TypeError, KeyError, ValueError):
                        raise RunError(f"{path}:{number}: not a finished row") from None
                    scores.note(job, at)
                at += n_bytes
    return scores


def _whole_rows(lines: Iterable[bytes], path: Path) -> Iterator[tuple[Any, int]]:
    """Yield each line as JSON, with its length in bytes; a torn last line is left out."""
    torn = 0
    for number, line in enumerate(lines, 1):
        if torn:
            raise RunError(
                f"{path}:{torn}: no JSON, expected a finished row; --resume always scores all again"
            )
        try:
            if not line.endswith(b"\n"):
                raise ValueError("torn")
            row = json.loads(line.decode())  # which text it is need not be guessed
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
