from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

N_KILLS = int(os.environ.get("EARWITNESS_TEST_KILLS", "1"))
"""How often a test that proves a resume kills its run; ``make kills`` asks for many."""

_started: list[subprocess.Popen[str]] = []


def start(
    command: Sequence[object], before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """Start a program as a terminal does: a group of its own, where Ctrl-C is not ignored.

    A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
    """

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if before is not None:
            before()

    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 - nothing of ours runs in threads here
    )
    _started.append(process)
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the status, the output and the errors of a process that ends."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def n_rows(out: Path, detector: str = "mine") -> int:
    """Return the number of whole rows in the store of a run, without the header."""
    store = out / "store" / f"{detector}.jsonl"
    return max(store.read_bytes().count(b"\n") - 1, 0) if store.exists() else 0


def wait_for_rows(process: subprocess.Popen[str], out: Path, n: int) -> None:
    """Wait for ``n`` rows in the store of a run, or the end of its process."""
    while process.poll() is None and n_rows(out) < n:
        time.sleep(0.002)


def kill_started() -> None:
    """Kill what is left of every group, so that a failed test leaves nothing running."""
    while _started:
        process = _started.pop()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
