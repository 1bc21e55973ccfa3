"""Run the shards of ``predict`` as tasks of SLURM, through submitit.

Each task is the command of its shard, as ``merge`` names it; a task that is queued again resumes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from earwitness.core.errors import RunError, UsageError
from earwitness.scoring.shards import Shard

JOBS = "jobs"
"""Folder of submitit's files and logs, beside the run folders of shards."""

_SHARED = (
    *("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node"),
    *("tasks_per_node", "stderr_to_stdout"),
)
_TIMEOUT_MIN = 24 * 60
_OWN_OPTIONS = ("--engine", "--engine-option", "--shards", "--shard")


def command_of_shards(words: Sequence[str]) -> list[str]:
    """Return the arguments of ``predict`` for one shard, ``{shard}``, without those of engines."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, has_value, _ = word.partition("=")
        if name.replace("_", "-") not in _OWN_OPTIONS:
            kept.append(word)
        elif not has_value:
            next(rest, None)
    return [*kept, "--shard", "{shard}"]


class ShardTask:
    """Runs the command of a shard in this process; submitit queues it again when it is stopped."""

    def __call__(self, arguments: list[str]) -> None:
        """Run ``earwitness`` with arguments; ``RunError`` if its exit status is not 0."""
        from earwitness.cli import make_app

        sys.argv = ["earwitness", *arguments]  # recorded as the command of the shard
        if status := make_app()(arguments, prog_name="earwitness", standalone_mode=False):
            raise RunError(f"exit status {status} of earwitness {' '.join(arguments)}")

    def checkpoint(self, arguments: list[str]) -> Any:
        """Return the same task; finished rows are in its store."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, arguments)


def submit_shards(out: Path, n_shards: int, options: Iterable[str]) -> list[Any]:
    """Submit one array job over the shards of this very command; return submitit's jobs.

    Args:
        out: Folder of the run folders.
        n_shards: Number of shards.
        options: ``KEY=VALUE`` for submitit; names that it does not know are of sbatch.
            ``cluster=local`` runs tasks on this machine.

    Raises:
        UsageError: No submitit, or options that it refuses.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError("--engine slurm: needs pip install 'earwitness[slurm]'") from None
    given = dict(map(_key_and_value, options))
    cluster = str(given.pop("cluster", "slurm"))
    named = {
        n if n in _SHARED else f"slurm_{n.removeprefix('slurm_')}": v for n, v in given.items()
    }
    command = command_of_shards(sys.argv[1:])
    shards = [Shard(number, n_shards) for number in range(1, n_shards + 1)]
    tasks = [[word.replace("{shard}", str(shard)) for word in command] for shard in shards]
    try:
        executor = submitit.AutoExecutor(out / JOBS, cluster=cluster)
        executor.update_parameters(**{"name": "earwitness", "timeout_min": _TIMEOUT_MIN, **named})
        return list(executor.map_array(ShardTask(), tasks))
    except (RuntimeError, ValueError, AssertionError, TypeError, NameError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--engine slurm: {reason}") from None


def wait_for(jobs: Sequence[Any]) -> list[str]:
    """Wait for submitit's jobs of this machine; return what failed, a line each."""
    failures = []
    for number, job in enumerate(jobs, 1):
        while not job.done():
            time.sleep(0.1)
        # Of a task that was killed there is no result, for which submitit would wait a minute.
        has_ended = job.paths.result_pickle.is_file()
        if not has_ended or (error := job.exception()) is not None:
            last = str(error).strip().splitlines()[-1:] if has_ended else ["killed"]
            failures.append(
                f"task {number} of {len(jobs)}: {''.join(last)} (see {job.paths.stderr})"
            )
    return failures


def _key_and_value(text: str) -> tuple[str, int | str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise UsageError(f"--engine-option {text}: expected KEY=VALUE")
    return key.replace("-", "_"), int(value) if value.isdecimal() else value
