"""``earwitness bench`` (``init``, ``run``, ``diff``) and ``earwitness demo``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from earwitness.bench.steps import NOT_DONE
from earwitness.cli import console
from earwitness.cli.options import option, switch

if TYPE_CHECKING:
    from earwitness.bench.run import BenchmarkRun
    from earwitness.demo.outcomes import Flagged, Outcome

BENCH_YAML = Path("bench.yaml")


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output file.")] = BENCH_YAML,
    *,
    force: Annotated[bool, switch("--force", "Overwrite an existing file.")] = False,
) -> None:
    """Write a commented bench.yaml to start from."""
    from earwitness.bench.config import write_template

    write_template(file, force=force)
    console.echo(
        f"written to {file}; fill in data and detectors, then: earwitness bench run {file}"
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
        bool, switch("--retry-errors", "Score rows with an error again.")
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
    as_json: Annotated[bool, switch("--json", "Print everything as JSON.")] = False,
    strict: Annotated[bool, switch("--strict", "Exit with status 1 if anything differs.")] = False,
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
            console.echo(part)
    if strict and not found.is_same:
        raise typer.Exit(1)


def print_places(done: BenchmarkRun) -> None:
    """Print the paths of a benchmark's outputs."""
    here = Path.cwd()
    for what, path in done.places().items():
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        console.echo(f"  {what:<18} {shown}")


def demo(
    *,
    out: Annotated[Path, option("DIR", "Output folder.")] = Path("demo-run"),
    seed: Annotated[int, option("N", "Random seed.", min=0)] = 0,
) -> None:
    """Run the whole benchmark on synthetic data: offline, on the CPU, without downloads.

    Synthesizes a small music corpus and fakes of it in the published layout, trains a fakeprint
    detector on two kinds of fake, and evaluates it on those and on others.
    """
    from earwitness.demo.run import Settings, prepare_demo, run_demo

    def on_step(text: str) -> None:
        console.err.print(text, markup=False)

    settings = Settings(seed=seed)
    with console.err.status("starting") as status:
        prepare_demo(out, settings, on_step=on_step, on_progress=status.update)
    with StageView() as view:
        done = run_demo(out, settings, on_step=on_step, watcher=view, on_start=view.start_scoring)
    _print_demo(done, out)


def _print_demo(done: BenchmarkRun, out: Path) -> None:
    from earwitness.demo.outcomes import read_flagged, read_outcomes
    from earwitness.demo.run import DETECTOR, WORKSPACE
    from earwitness.report.comparison import comparison_table, read_comparison

    console.out.print()
    console.out.print(comparison_table(read_comparison(done.comparison)))
    console.out.print()
    for line in _lesson(Path(DETECTOR).name, read_outcomes(done), read_flagged(done)):
        console.echo(line)
    console.out.print("\nOutput files")
    print_places(done)
    for what, path in {"detector": DETECTOR, "synthetic music": WORKSPACE}.items():
        console.echo(f"  {what:<18} {out / path}")


def _lesson(name: str, outcomes: list[Outcome], others: list[Flagged]) -> list[str]:
    """Return the trained detector's accuracy by kind, what it shows, and what others flag."""
    lines = [
        f"  {o.kind:<17} {o.source:<14} {o.n_right:>2} of {o.n:>2} ({o.n_right / o.n:4.0%})  "
        f"{'in the training data' if o.known else 'not in the training data'}"
        for o in outcomes
    ]
    known, unknown = (
        [o for o in outcomes if o.kind != "real" and o.known is s] for s in (True, False)
    )
    found = (
        f"{name} finds {_found(known)} of the fakes of kinds in its training data and "
        f"{_found(unknown)} of the others."
    )
    if _is_above(known, unknown):
        lesson = (
            " Performance on known generators does not predict performance on unknown ones, which "
            "is why out-of-domain benchmarks are needed."
        )
    else:
        lesson = " With this seed the intervals of the two rates overlap."
    more = [
        f"Not trained here: {o.detector} flags {o.n_fake_flagged} of {o.n_fake} fakes and "
        f"{o.n_real_flagged} of {o.n_real} reals."
        for o in others
    ]
    return [f"Correct decisions of {name} by kind of music", *lines, "", found + lesson, *more]


def _found(fakes: list[Outcome]) -> str:
    n_right, n = sum(o.n_right for o in fakes), sum(o.n for o in fakes)
    return f"{n_right} of {n} ({n_right / max(n, 1):.0%})"


def _is_above(one: list[Outcome], other: list[Outcome]) -> bool:
    """Return whether the 95 % Wilson interval of one rate is above the other's."""
    from scipy.stats import binomtest

    first, second = (
        binomtest(sum(o.n_right for o in side), sum(o.n for o in side)).proportion_ci(
            method="wilson"
        )
        for side in (one, other)
    )
    return bool(first.low > second.high)


class StageView:
    """A ``Watcher`` with a line per stage: done, unchanged, or its progress; a context manager."""

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

    def __exit__(self, *error: object) -> None:
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
