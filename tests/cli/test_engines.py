"""Shards as tasks of submitit on this machine, which stands for a cluster."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

import processes
from cli.conftest import Run
from cli.test_shards import N_FILES, arguments, bench, content
from earwitness.cli.engines import ShardTask, command_of_shards, submitit_parameters
from earwitness.core.errors import RunError

pytest.importorskip("submitit", reason="submitit is not installed (earwitness[slurm])")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")

__all__ = ["bench"]  # the fixture

LOCAL = ("--engine", "slurm", "--engine-option", "cluster=local")


def test_the_command_of_a_shard_has_no_options_of_engines() -> None:
    words = ["predict", "--engine=slurm", "--shards", "4", "--engine_option", "a=b", "--out", "x"]
    assert command_of_shards(words) == ["predict", "--out", "x", "--shard", "{shard}"]
    words = ["predict", "--shard=slurm", "--out=x"]
    assert command_of_shards(words) == ["predict", "--out=x", "--shard", "{shard}"]


def test_options_of_submitit_have_its_names_and_others_go_to_sbatch_as_they_are() -> None:
    given = {"partition": "gpu", "cpus_per_task": 4, "nice": 5, "reservation": "a"}
    lists = {"setup": "module load python", "exclusive": "true"}
    assert submitit_parameters(given | lists) == {
        "name": "earwitness",
        "timeout_min": 1440,
        "slurm_partition": "gpu",
        "cpus_per_task": 4,
        "slurm_srun_args": ["--cpus-per-task=4"],
        "slurm_additional_parameters": {"nice": 5, "reservation": "a", "requeue": True},
        "slurm_setup": ["module load python"],
        "slurm_exclusive": True,
        "stderr_to_stdout": False,
    }
    once = submitit_parameters({"mem_gb": "7.5", "no_requeue": "true"})
    assert once["mem_gb"] == 7.5
    assert once["slurm_additional_parameters"] == {"no_requeue": True}


def test_errors_of_sbatch_are_one_line(
    bench: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("srun", "sbatch"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho welcome >&2\necho no such partition >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    shards = ("--engine", "slurm", "--shards", "2")
    refused = run(*arguments(bench, tmp_path / "shards", *shards))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "earwitness: --engine slurm: welcome; no such partition\n"


def test_an_error_of_a_task_does_not_end_in_a_long_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(RunError, match="has begun") as caught:
        ShardTask()(["status", str(tmp_path)])
    assert len(caught.traceback) == 2


def task_of(store: Path) -> int:
    """Return the process that has a store open, once it has rows."""
    for _ in range(30_000):
        if store.is_file() and store.read_bytes().count(b"\n") > 2:
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal() and _has_open(entry, store):
                    return int(entry.name)
        time.sleep(0.002)
    raise AssertionError(f"no process has scored into {store}")


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(link.readlink() == file for link in (process / "fd").iterdir())
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds the task in /proc")
def test_two_tasks_of_which_one_is_killed_and_submitted_again_are_one_run(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    assert run(*arguments(bench, tmp_path / "whole")).code == 0
    command = arguments(bench, tmp_path / "shards", *LOCAL, "--shards", "2")
    first = processes.start([sys.executable, "-m", "earwitness", *command])
    store = tmp_path / "shards" / "shard-2-of-2" / "store" / "mine.jsonl"
    os.kill(task_of(store), signal.SIGKILL)
    _, err = first.communicate(timeout=240)
    assert first.returncode == 1
    assert "note: task 2 of 2: " in err
    refused = run("merge", tmp_path / "out", tmp_path / "shards")
    assert "incomplete: shard 2/2 lacks" in refused.err
    again = run(*command)
    assert again.code == 0
    assert "2 tasks submitted" in again.out
    merged = run("merge", tmp_path / "out", tmp_path / "shards")
    assert merged.out == f"{N_FILES} rows merged, 0 failed\n"
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the task in /proc")
def test_a_task_that_the_cluster_takes_back_is_queued_again_and_resumes(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    command = arguments(bench, tmp_path / "shards", *LOCAL, "--shards", "2")
    submitting = processes.start([sys.executable, "-m", "earwitness", *command])
    store = tmp_path / "shards" / "shard-2-of-2" / "store" / "mine.jsonl"
    os.kill(task_of(store), signal.SIGUSR2)  # what SLURM sends before it takes a node back
    _, err = submitting.communicate(timeout=240)
    assert (submitting.returncode, "failed" in err) == (0, False)
    logs = [path.read_text() for path in (tmp_path / "shards" / "jobs").glob("*_log.err")]
    assert sum("files are scored already" in log for log in logs) == 1
    files = [json.loads(row)["path"] for row in store.read_text().splitlines()[1:]]
    assert len(files) == len(set(files))
    merged = run("merge", tmp_path / "out", tmp_path / "shards")
    assert merged.out == f"{N_FILES} rows merged, 0 failed\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--engine", "slurm"), "--engine slurm: expected --out RUN_FOLDER and --shards N with it"),
        (("--shards", "4"), "--shards: expected --engine slurm with it, or --shard K/N"),
        (LOCAL[2:], "--engine-option: expected --engine slurm or ray with it"),
        (("--engine", "ray", "--engine-option", "actors=0"), "--engine-option: actors: "),
        (("--engine", "ray", "--engine-option", "gpus=1"), "--engine-option: gpus: "),
        ((*LOCAL, "--shards", "4", "--shard", "1/4"), "--shard: expected --shards N"),
        (
            (*LOCAL, "--shards", "4", "--engine-option", "x"),
            "--engine-option x: expected KEY=VALUE",
        ),
        (
            (*LOCAL, "--shards", "4", "--engine-option", "mem_gb=lots"),
            "--engine-option: mem_gb: Input should be a valid number",
        ),
        (
            (*LOCAL, "--shards", "4", "--engine-option", "nodes=2"),
            "--engine-option: nodes: Input should be 1",
        ),
        (
            ("--engine", "slurm", "--shards", "4", "--engine-option", "cluster=locl"),
            "--engine-option cluster=locl: expected slurm or local",
        ),
    ],
)
def test_options_that_make_no_array_are_refused(
    bench: Path, tmp_path: Path, run: Run, more: tuple[str, ...], message: str
) -> None:
    refused = run(*arguments(bench, tmp_path / "shards", *more))
    assert refused.code == 2
    assert refused.err.startswith(f"earwitness: {message}")
    assert refused.err.count("\n") == 1
