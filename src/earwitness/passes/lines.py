"""An append-only file of JSON lines, whole whatever ends the program.

Conventions: a header line, then one JSON object a line, ASCII, line feeds at line ends. A line is
written in one piece; what follows the last whole line (a program that was killed, a disk that was
full) is dropped by whoever opens the file next. One process at a time writes into a file.
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

from earwitness.core.errors import RunError

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
        with refusals_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if anew else "ab+", buffering=0)
        try:
            self._read(header, take)
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: dict[str, Any], take: Callable[[Any], None]) -> None:
        """Hand over what is there and drop a torn end."""
        self._size = 0
        with refusals_told(self.path), self.path.open("rb") as lines:
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
        with refusals_told(self.path, self._n_rows):
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
def refusals_told(path: Path, n_kept: int = 0) -> Iterator[None]:
    """Say in one line what the disk refused, and that nothing was lost."""
    try:
        yield
    except OSError as error:
        kept = f"; {n_kept} finished rows are kept, the same command goes on" if n_kept else ""
        raise RunError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error
