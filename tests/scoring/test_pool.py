from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from loky.process_executor import BrokenProcessPool

import processes
from earwitness.scoring.workers import how_died, worker_pool


def test_work_is_handed_out() -> None:
    with worker_pool(2) as submit:
        futures = [submit(pow, 2, n) for n in range(5)]
        assert [future.result() for future in futures] == [1, 2, 4, 8, 16]


def test_a_worker_that_dies_breaks_the_pool() -> None:
    with worker_pool(1) as submit, pytest.raises(BrokenProcessPool):
        submit(os._exit, 1).result()


def write_half_a_result() -> None:
    """Make this worker end as one does that is killed while it writes its result."""

    def write_half(pipe: Connection, data: memoryview) -> None:
        os.write(pipe.fileno(), data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send = write_half  # type: ignore[method-assign]


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_worker_killed_while_it_writes_breaks_the_pool(n_workers: int) -> None:
    with worker_pool(n_workers) as submit, pytest.raises(BrokenProcessPool) as raised:
        submit(write_half_a_result).result()
    assert how_died(raised.value) == "killed"


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
def test_a_pool_that_is_left_ends_though_a_result_is_half_written() -> None:
    def leave() -> None:
        with worker_pool(2) as submit:
            submit(write_half_a_result)
            submit(time.sleep, 60)
            time.sleep(0.3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()


def group_is_gone(group: int, timeout_s: float = 20) -> bool:
    """Wait until no process of the group runs any more."""
    for _ in range(round(timeout_s / 0.1)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


FIRST_MASK = """
import signal
from earwitness.scoring.workers import worker_pool
with worker_pool(1) as submit:
    print(signal.SIGINT in submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal masks")
def test_even_the_first_worker_of_a_process_is_deaf_to_ctrl_c() -> None:
    """The first one is started beside trackers of resources, which unblock what they blocked."""
    command = [sys.executable, "-c", FIRST_MASK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


SLEEPER = """
import time
from earwitness.scoring.workers import worker_pool
with worker_pool(2) as submit:
    futures = [submit(time.sleep, 60) for _ in range(6)]
    print("started", flush=True)
    futures[0].result()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to interrupt")
@pytest.mark.parametrize("wait_s", [0.0, 1.5])
def test_ctrl_c_ends_a_script_at_once_and_leaves_no_worker(tmp_path: Path, wait_s: float) -> None:
    """The terminal sends Ctrl-C to the whole group, workers too; a script without a guard."""
    script = tmp_path / "script.py"
    script.write_text(SLEEPER)
    process = processes.start([sys.executable, script])
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1  # the script's own; workers are silent
    assert "KeyboardInterrupt" in err
    assert group_is_gone(process.pid)
