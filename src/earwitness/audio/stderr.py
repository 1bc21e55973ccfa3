"""Keeping C libraries from writing to the user's terminal.

Conventions: libmpg123 inside libsndfile writes notes to file descriptor 2 whatever Python's
``sys.stderr`` is, so the descriptor itself is pointed at a temporary file while such a library
runs. It belongs to the whole process: what other threads write to it meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO

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
        yield lambda: _shortened(_redirection.text())
    finally:
        _redirection.leave()


def _shortened(text: str) -> str:
    """Return the last line that says something, no longer than ``LONGEST_REMARK``.

    Lines with terminal escapes come from a progress bar of the same process, not from a decoder.
    """
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "\x1b" not in line]
    remark = lines[-1] if lines else ""
    printable = "".join(c if c.isprintable() else "?" for c in remark)
    return printable if len(printable) <= LONGEST_REMARK else printable[: LONGEST_REMARK - 1] + "…"
