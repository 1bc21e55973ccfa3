"""``earwitness bench``: ``init``, ``run``, ``diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console

if TYPE_CHECKING:
    from earwitness.workflows.benchmark import BenchmarkRun

BENCH_YAML = Path("bench.yaml")


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write.")] = BENCH_YAML,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file.")] = False,
) -> None:
    """Write a commented bench.yaml to start from."""
    from earwitness.workflows.configfile import write_template

    write_template(file, force=force)
    console.out.print(
        f"written to {file}; fill in data and detectors, then: earwitness bench run {file}",
        markup=False,
    )


def run(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="What there is to do; see `bench init`.")
    ] = BENCH_YAML,
    *,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a key, as if it stood in the file (scoring.windows=3); may "
            "be given again.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another run folder than the file's.")
    ] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Try rows again that could not be scored.")
    ] = False,
) -> None:
    """Run a whole benchmark: splits, scores, tables, metrics, pictures, report.

    What is done and unchanged is skipped, so the same command goes on after Ctrl-C or a crash,
    and after a change does again just what depends on it.
    """
    from earwitness.cli.stageview import StageView
    from earwitness.workflows.benchmark import read_errors, run_benchmark
    from earwitness.workflows.configfile import read_config

    config = read_config(file, changes=change or (), out=out)
    with StageView() as view:
        done = run_benchmark(
            config, watcher=view, starting=view.start_scoring, retry_errors=retry_errors
        )
    if not done.done:
        console.out.print("nothing to do: everything is there and unchanged")
    print_places(done)
    if n_failed := len(read_errors(done.out)):
        console.remark(
            f"{console.thousands(n_failed)} rows could not be scored (see errors.csv); "
            "--retry-errors tries them again"
        )
    if n_abstained := done.count_abstained():
        console.remark(
            f"{console.thousands(n_abstained)} rows abstained from, for they hold nothing to "
            "analyse (see the column abstained)"
        )


def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="Another.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when anything differs.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Where the permutations start.")] = 0,
) -> None:
    """Tell what changed between two runs.

    Options, versions and weights; rows of the manifests; scores; decisions that flipped, worst
    first; and figures on the items that both scored, with a test of each difference.
    """
    from earwitness.reporting.rundiffs import diff_parts
    from earwitness.workflows.rundiff import diff_runs

    found = diff_runs(first, second, seed=seed)
    if as_json:
        console.out.print_json(found.model_dump_json())
    else:
        for part in diff_parts(found):
            console.out.print(part, markup=False)
    if strict and not found.is_same:
        raise typer.Exit(1)


def print_places(done: BenchmarkRun) -> None:
    """Say where everything lies that a benchmark left."""
    for what, path in done.places().items():
        console.out.print(f"  {what:<18} {console.shortened(path)}", markup=False)
