"""``earwitness bench``: ``init``, ``run``, ``diff``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from earwitness.bench.steps import NOT_DONE
from earwitness.cli import console

if TYPE_CHECKING:
    from earwitness.bench.run import BenchmarkRun

BENCH_YAML = Path("bench.yaml")


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output file.")] = BENCH_YAML,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented bench.yaml to start from."""
    from earwitness.bench.config import write_template

    write_template(file, force=force)
    console.out.print(
        f"written to {file}; fill in data and detectors, then: earwitness bench run {file}",
        markup=False,
    )


def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Configuration, see bench init.")
    ] = BENCH_YAML,
    *,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a key of the file, such as scoring.windows=3; repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder (default: out in the file).")
    ] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Score rows with an error again.")
    ] = False,
) -> None:
    """Run a whole benchmark: splits, scores, audit, tables, metrics, plots, report.

    Steps with unchanged inputs are skipped, so the same command resumes after Ctrl-C or a crash,
    and repeats only what depends on a change.
    """
    from earwitness.bench.config import read_config
    from earwitness.bench.run import read_errors, run_benchmark

    config = read_config(file, changes=change or (), out=out)
    with StageView() as view:
        done = run_benchmark(
            config, watcher=view, on_start=view.start_scoring, retry_errors=retry_errors
        )
    if not done.done:
        console.out.print("nothing to do: all steps are unchanged")
    print_places(done)
    if n_failed := len(read_errors(done.out)):
        console.remark(
            f"{console.thousands(n_failed)} rows could not be scored (see errors.csv); "
            "--retry-errors tries them again"
        )
    if n_abstained := done.count_abstained():
        console.remark(
            f"{console.thousands(n_abstained)} rows abstained from: nothing to analyse (see the "
            "column abstained)"
        )


def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="Another run folder.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if anything differs.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Show what changed between two runs.

    Compares options, versions, weights, rows of the manifests, scores, decisions (flipped ones are
    listed) and metrics on the items that both scored, with a test of each difference.
    """
    from earwitness.bench.diff import diff_runs
    from earwitness.bench.diff_tables import diff_parts

    found = diff_runs(first, second, seed=seed)
    if as_json:
        console.out.print_json(found.model_dump_json())
    else:
        for part in diff_parts(found):
            console.out.print(part, markup=False)
    if strict and not found.is_same:
        raise typer.Exit(1)


def print_places(done: BenchmarkRun) -> None:
    """Print the paths of a benchmark's outputs."""
    for what, path in done.places().items():
        console.out.print(f"  {what:<18} {console.shortened(path)}", markup=False)


class StageView:
    """A line a stage: what is done, what is unchanged, how far the one in hand is.

    A context manager; it is a ``Watcher``.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=9)),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(overflow="fold")),
            console=console.err,
        )
        self._tasks: dict[str, TaskID] = {}
        self._reasons: dict[str, str] = {}
        self._at: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._at is not None:
            self._progress.update(self._tasks[self._at], note="not finished")
        self._progress.stop()

    def plan(self, stages: Sequence[str]) -> None:
        """Show the stages."""
        self._tasks = {
            name: self._progress.add_task(name, start=False, total=1, note="waits")
            for name in stages
        }
        self._progress.start()

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        """Show why a stage has something to do."""
        self._at = stage
        self._reasons[stage] = _why(stale, n_parts)
        self._progress.start_task(self._tasks[stage])
        self._progress.update(self._tasks[stage], note=self._reasons[stage])

    def skip(self, stage: str) -> None:
        """Show that a stage has nothing to do."""
        task = self._tasks[stage]
        self._progress.start_task(task)
        self._progress.update(task, completed=1, note="unchanged, skipped")

    def end(self, stage: str) -> None:
        """Show that a stage is done."""
        task = self._tasks[stage]
        self._at = None
        total = self._progress.tasks[task].total
        reason = self._reasons[stage]
        note = "done" if reason == NOT_DONE else f"done again: {reason}"
        self._progress.update(task, completed=total, note=note)
        self._progress.stop_task(task)

    def start_scoring(self, n_to_do: int, n_done: int) -> Callable[[bool], None]:
        """Turn the bar of the stage in hand into one of files; see ``Starting``."""
        task, n_failed = self._tasks[self._at or ""], 0
        self._progress.update(task, total=n_done + n_to_do, completed=n_done)

        def advance(went_well: bool) -> None:
            nonlocal n_failed
            n_failed += not went_well
            self._progress.advance(task)
            self._progress.update(task, note=self._count(task, n_failed))

        return advance

    def _count(self, task: TaskID, n_failed: int) -> str:
        at = self._progress.tasks[task]
        failed = f", {n_failed} failed" if n_failed else ""
        done, total = (console.thousands(int(n or 0)) for n in (at.completed, at.total))
        return f"{done} of {total} files{failed}"


def _why(stale: Mapping[str, str], n_parts: int) -> str:
    """Say why: of the one thing there is to do, or of the first and how many more."""
    part, reason = next(iter(stale.items()))
    if len(stale) == n_parts and len(set(stale.values())) == 1:
        return reason
    n_kept = n_parts - len(stale)
    kept = f"; {n_kept} other{'s' * (n_kept > 1)} kept" if n_kept else ""
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return f"{part}{more}: {reason}{kept}"
