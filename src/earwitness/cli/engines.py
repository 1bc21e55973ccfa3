"""Run a command on other machines: its shards as tasks, or files of ``predict`` on Ray.

Each task of SLURM is the command of its shard, as ``merge`` names it; one queued again resumes.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer
from pydantic import Field, ValidationError

from earwitness.cli import console
from earwitness.cli.options import (
    choose_device,
    comma_list,
    option,
    requested_device,
    weights_by_name,
    with_options,
)
from earwitness.core.errors import EarwitnessError, RunError, UsageError
from earwitness.core.io import first_problem
from earwitness.scoring.options import Section

if TYPE_CHECKING:
    from earwitness.detectors.base import AnyDetector
    from earwitness.scoring.options import ScoringOptions
    from earwitness.scoring.run import Score
    from earwitness.scoring.shards import Shard

_Section = TypeVar("_Section", bound=Section)
_panelled = partial(option, panel="Engines")

SHARDING = ("slurm", "ray")
"""Engines that run shards of ``audit`` and ``render``, which have no detectors to feed."""


@dataclass(frozen=True)
class Engine:
    """Options that say where a command scores; see ``with_engine_options``."""

    shard: Annotated[
        str | None,
        _panelled(
            "K/N",
            "Do shard K of N only. earwitness merge joins those of predict and stress; audit and "
            "render join theirs without --shard. slurm takes K and N from the task of a SLURM "
            "array.",
        ),
    ] = None
    engine: Annotated[
        Literal["local", "slurm", "ray"],
        _panelled(
            "NAME",
            "local: this machine. slurm: submit --shards N as tasks of one array (needs pip "
            "install 'earwitness[slurm]'). ray: on a cluster, with --shards N for audit and "
            "render (needs pip install 'earwitness[ray]').",
        ),
    ] = "local"
    engine_option: Annotated[
        list[str] | None,
        _panelled(
            "KEY=VALUE",
            "Of submitit or sbatch, such as partition=gpu, timeout_min=600, gpus_per_node=1; "
            "cluster=local runs the tasks here. Of Ray: actors=N (at most, of a detector), "
            "num_cpus=N and num_gpus=N of each; with audit and render, num_cpus=N of each shard.",
        ),
    ] = None
    shards: Annotated[
        int | None, _panelled("N", "Number of shards to run on the engine.", min=1)
    ] = None
    ray_address: Annotated[
        str | None,
        _panelled(
            "ADDRESS",
            "Cluster that --engine ray joins, auto for that of this machine (default: one of this "
            "machine alone, for this run).",
            envvar="RAY_ADDRESS",
        ),
    ] = None

    def check(self, out: Path | None, *, sharding: Collection[str] = ("slurm",)) -> None:
        """Raise ``UsageError`` for options that do not fit together.

        Args:
            out: Folder to write to.
            sharding: Engines that run ``--shards N``; see ``SHARDING``.
        """
        if self.engine == "local" and self.engine_option:
            raise UsageError("--engine-option: expected --engine slurm or ray with it")
        if self.engine not in sharding and self.shards is not None:
            raise UsageError("--shards: expected --engine slurm with it, or --shard K/N")
        if self.engine in sharding and self.shard:
            raise UsageError(f"--shard: expected --shards N with --engine {self.engine}")
        if self.engine in sharding and (out is None or self.shards is None):
            raise UsageError(
                f"--engine {self.engine}: expected --out RUN_FOLDER and --shards N with it"
            )
        if self.shard is not None and out is None:
            raise UsageError("--shard: expected --out RUN_FOLDER with it")

    def choose_shard(self, out: Path | None) -> Shard | None:
        """Return the shard of ``--shard``, if any, and print it if it is the environment's.

        Raises:
            UsageError: It is not K/N, or ``out``, their folder, has shards of another number.
        """
        from earwitness.scoring.shards import FROM_SLURM, check_division, parse_shard

        shard = parse_shard(self.shard, os.environ) if self.shard is not None else None
        of = shard.of if shard else self.shards
        if out is not None and of is not None:
            check_division(out, of)
        if shard is None:
            return None
        if self.shard == FROM_SLURM:
            task = os.environ["SLURM_ARRAY_TASK_ID"]
            console.remark(f"shard {shard}, by SLURM_ARRAY_TASK_ID {task}")
        return shard

    def submit(self, out: Path, then: str) -> None:
        """Submit the shards of this very command, and say what is next; wait for local tasks.

        Args:
            out: Folder of submitit's files.
            then: The command that joins the shards.
        """
        jobs = submit_shards(out, self.shards or 1, self.engine_option or ())
        console.echo(f"{len(jobs)} tasks submitted, the first as job {jobs[0].job_id}")
        if "cluster=local" in (self.engine_option or ()):
            failures = wait_for(jobs)
            console.remark(*failures)
            if failures:
                raise typer.Exit(1)
        console.echo(f"when all are done: {then}")

    def start_shards(self, out: Path) -> bool:
        """Do the shards of ``audit`` and ``render``; return whether they are joined later."""
        from earwitness.scoring.file_shards import SHARDS_FOLDER

        if self.engine == "slurm":
            self.submit(out / SHARDS_FOLDER, command_of_all(sys.argv[1:]))
        elif self.engine == "ray":
            self._run_on_ray()
        return self.engine == "slurm"

    def _run_on_ray(self) -> None:
        """Do the shards of this very command as tasks of a Ray cluster, and wait for them."""
        from earwitness.scoring.ray_cluster import Tasks, ray_cluster, run_tasks

        options = _ray_options(Tasks, self.engine_option or ())
        name, *words = command_of_shards(sys.argv[1:])
        command = [name, "--num-workers", str(options.num_cpus), *words]  # the last one counts
        tasks = commands_of(command, self.shards or 1)
        with (
            ray_cluster(self.ray_address),
            console.progress_bar("shards", len(tasks), "shards") as advance,
        ):
            for _ in run_tasks(ShardTask(), tasks, options):
                advance(True)

    def open_detectors(
        self,
        stack: ExitStack,
        detector: list[str] | None,
        weights: list[str] | None,
        options: ScoringOptions,
        *,
        gpu: int | None = None,
    ) -> tuple[list[AnyDetector], Score]:
        """Open detectors where they score; return them, and the function that scores plans."""
        from earwitness.detectors.loading import check_names, open_detector
        from earwitness.scoring.predict import score_plan

        names = comma_list(detector)
        given = {"weights": weights_by_name(weights, names), **options.of_detectors()}
        if self.engine != "ray" or not names:
            device = choose_device(options.device, gpu)
            opened = [open_detector(name, device=device, **given) for name in names]
            return check_names(opened), score_plan
        from earwitness.scoring.ray_cluster import ray_cluster
        from earwitness.scoring.ray_data import Pool, open_on_ray, score_on_ray

        pool = _ray_options(Pool, self.engine_option or ())
        stack.enter_context(ray_cluster(self.ray_address))
        there = open_on_ray(names, pool, device=requested_device(options.device, gpu), **given)
        return check_names([*there]), score_on_ray


def with_engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``run_on`` of a command by the options of ``Engine``."""
    shown = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kind
        )
        for field, kind in zip(
            fields(Engine), get_type_hints(Engine, include_extras=True).values(), strict=True
        )
    ]
    return with_options("run_on", shown, lambda given: Engine(**given), command)


JOBS = "jobs"
"""Folder of submitit's files and logs, beside the run folders of shards."""


class _Submission(Section):
    """Options that submitit checks by type; others are strings for sbatch.

    A second task of a shard would only find its folder locked.
    """

    name: Annotated[str, Field(coerce_numbers_to_str=True)] = "earwitness"
    timeout_min: Annotated[int, Field(ge=1)] = 24 * 60
    mem_gb: Annotated[float | None, Field(gt=0)] = None
    cpus_per_task: Annotated[int | None, Field(ge=1)] = None
    gpus_per_node: Annotated[int | None, Field(ge=0)] = None
    stderr_to_stdout: bool = False
    nodes: Literal[1] | None = None
    tasks_per_node: Literal[1] | None = None


_LISTS = ("setup", "teardown", "srun_args")
_OWN_OPTIONS = ("--engine", "--engine-option", "--shards", "--shard")


def command_of_shards(words: Sequence[str]) -> list[str]:
    """Return the arguments of a command for one shard, ``{shard}``, without those of engines."""
    return [*_without_engines(words), "--shard", "{shard}"]


def commands_of(command: Sequence[str], n_shards: int) -> list[list[str]]:
    """Return the arguments of each shard, given those with ``{shard}`` in its place."""
    shards = [f"{number}/{n_shards}" for number in range(1, n_shards + 1)]
    return [[word.replace("{shard}", shard) for word in command] for shard in shards]


def command_of_all(words: Sequence[str]) -> str:
    """Return the command that joins the shards of ``audit`` and ``render``: that of all files."""
    return shlex.join(["earwitness", *_without_engines(words)])


def command_of_merge(out: Path) -> str:
    """Return the command that merges the shards of ``predict`` and ``stress`` in a folder."""
    return shlex.join(["earwitness", "merge", f"{out}-merged", str(out)])


def print_shard(shard: Shard, n_files: int, n_failed: int) -> None:
    """Print that a shard of files is done, and the command that joins all."""
    done, failed = console.thousands(n_files), console.thousands(n_failed)
    all_files = command_of_all(sys.argv[1:])
    console.echo(f"shard {shard}: {done} files, {failed} failed; when all are done: {all_files}")


def _without_engines(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, has_value, _ = word.partition("=")
        if name.replace("_", "-") not in _OWN_OPTIONS:
            kept.append(word)
        elif not has_value:
            next(rest, None)
    return kept


class ShardTask:
    """Runs the command of a shard in this process; submitit queues it again when it is stopped."""

    def __call__(self, arguments: list[str]) -> None:
        """Run ``earwitness`` with arguments; ``RunError`` if its exit status is not 0."""
        from earwitness.cli import make_app

        sys.argv = ["earwitness", *arguments]  # recorded as the command of the shard
        try:
            status = make_app()(arguments, prog_name="earwitness", standalone_mode=False)
        except EarwitnessError as error:  # submitit and Ray print how it came here
            raise error.with_traceback(None) from None
        if status:
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
        options: ``KEY=VALUE``, see ``submitit_parameters``; ``cluster=local`` runs tasks on this
            machine.

    Raises:
        UsageError: No submitit, or options that it refuses.
    """
    try:
        import submitit
    except ImportError:
        raise UsageError("--engine slurm: needs pip install 'earwitness[slurm]'") from None
    given = dict(map(_key_and_value, options))
    cluster = given.pop("cluster", "slurm")
    if cluster not in ("slurm", "local"):
        raise UsageError(f"--engine-option cluster={cluster}: expected slurm or local")
    parameters = submitit_parameters(given)
    tasks = commands_of(command_of_shards(sys.argv[1:]), n_shards)
    try:
        executor = submitit.AutoExecutor(out / JOBS, cluster=cluster)
        executor.update_parameters(**parameters)
        with contextlib.redirect_stderr(io.StringIO()):  # where submitit repeats sbatch's errors
            return list(executor.map_array(ShardTask(), tasks))
    except (RuntimeError, ValueError, AssertionError, TypeError, NameError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]  # of sbatch all may matter
        raise UsageError(f"--engine slurm: {'; '.join(lines)}") from None


def submitit_parameters(given: Mapping[str, int | str]) -> dict[str, Any]:
    """Return options under the names of ``AutoExecutor``; those it does not know are sbatch's."""
    from submitit import SlurmExecutor

    options = {key.removeprefix("slurm_"): value for key, value in given.items()}
    checked = {name: options.pop(name) for name in _Submission.model_fields if name in options}
    named = _parse_options(_Submission, checked).model_dump(exclude_none=True)
    # Clusters may be set not to queue tasks of lost nodes again unless they ask for it.
    of_sbatch: dict[str, Any] = {} if "no_requeue" in options else {"requeue": True}
    for name, value in options.items():
        chosen = True if value == "true" else value
        if name in SlurmExecutor._valid_parameters():
            named[f"slurm_{name}"] = [str(value)] if name in _LISTS else chosen
        else:
            of_sbatch[name] = chosen
    named["slurm_additional_parameters"] = of_sbatch
    if n_cpus := named.get("cpus_per_task"):  # which srun does not take from sbatch since 22.05
        named.setdefault("slurm_srun_args", []).append(f"--cpus-per-task={n_cpus}")
    return named


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


def _ray_options(model: type[_Section], options: Iterable[str]) -> _Section:
    """Return what ``KEY=VALUE`` options of Ray describe; ``UsageError`` for others."""
    return _parse_options(
        model,
        dict(map(_key_and_value, options)),
        known=f"; --engine ray knows {', '.join(model.model_fields)}",
    )


def _parse_options(
    model: type[_Section], given: Mapping[str, int | str], known: str = ""
) -> _Section:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UsageError(f"--engine-option: {first_problem(error)}{known}") from None


def _key_and_value(text: str) -> tuple[str, int | str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise UsageError(f"--engine-option {text}: expected KEY=VALUE")
    return key.replace("-", "_"), int(value) if value.isdecimal() else value
