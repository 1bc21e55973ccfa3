"""``earwitness stress``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.engines import (
    Engine,
    command_of_merge,
    command_of_shards,
    with_engine_options,
)
from earwitness.cli.options import (
    Aggregation,
    Root,
    Weights,
    open_manifests,
    option,
    remark_on_manifests,
    with_scoring_options,
)
from earwitness.core.errors import UsageError
from earwitness.scoring.options import ScoringOptions

if TYPE_CHECKING:
    from earwitness.bench.stress import StressTest
    from earwitness.scoring.predict import OnFileDone

_TABLES = "the same command with --out {} instead of shards then writes the tables"


@with_scoring_options
@with_engine_options
def stress(
    *,
    detector: Annotated[
        list[str] | None,
        option("NAMES", "Detectors, by name, hub id or folder, comma-separated."),
    ] = None,
    manifest: Annotated[list[str] | None, option("FILE", "The manifest.")] = None,
    out: Annotated[
        Path,
        option("DIR", "Run folder; stress.json, .csv, .tex and report.html are written there."),
    ],
    suite: Annotated[
        str, option("SUITE", "Perturbations: quick, sensitivity, full, or a YAML file.")
    ] = "quick",
    weights: Weights = None,
    root: Root = None,
    aggregate: Aggregation = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the perturbations and the statistics.")
    ] = 0,
    keep_audio: Annotated[
        bool, typer.Option("--keep-audio", help="Also write perturbed copies of whole files.")
    ] = False,
    run_on: Engine,
    options: ScoringOptions,
) -> None:
    """Score perturbed copies of every item, and measure what each perturbation changes.

    Files are perturbed in memory and compared with the clean rows of the same items; of a file
    longer than two minutes, the middle two are used. After Ctrl-C or a crash the same command
    resumes.
    """
    from earwitness.bench.stress import run_stress
    from earwitness.cli.predict import on_start
    from earwitness.evaluation.schema import Settings
    from earwitness.perturb.suites import load_suite
    from earwitness.scoring.stress import score_perturbed

    run_on.check(out)
    part = run_on.choose_shard(out)
    if keep_audio and (part or run_on.engine == "slurm"):
        raise UsageError("--keep-audio: expected a whole run, earwitness perturb writes copies")
    manifests = open_manifests(manifest, root)
    if len(manifests) != 1:
        raise UsageError(f"--manifest: {len(manifests)} manifests, expected one")
    chosen = load_suite(suite, seed=seed)
    if run_on.engine == "slurm":
        run_on.submit(out, command_of_merge(out))
        console.echo(_TABLES.format(f"{out}-merged"))
        return
    with ExitStack() as stack:
        detectors, on_engine = run_on.open_detectors(stack, detector, weights, options)
        remark_on_manifests(manifests)
        given, bars = (manifests[0], detectors, chosen), stack.enter_context(ExitStack())
        more: dict[str, Any] = {"options": options, "on_start": on_start(bars), "score": on_engine}
        if part:
            command = command_of_shards(sys.argv[1:])
            score_perturbed(*given, out / part.folder, shard=part, command=command, **more)
            console.echo(f"shard {part} is scored; when all are, merge them")
            console.echo(_TABLES.format("MERGED"))
            return

        def on_copies(n_to_do: int, _: int) -> OnFileDone:
            bars.close()
            return bars.enter_context(console.progress_bar("copies", n_to_do, "copies"))

        found = run_stress(
            *(*given, out),
            settings=Settings(seed=seed),
            aggregate=aggregate,
            keep_audio=keep_audio,
            on_copies=on_copies,
            **more,
        )
    _print_test(found)
    if all(one.frame["error"].is_not_null().all() for one in found.predictions.values()):
        raise typer.Exit(1)


def _print_test(found: StressTest) -> None:
    """Print the tables of a stress test, what they show, and where they are."""
    from earwitness.report.stress import (
        describe_sensitivity,
        describe_tests,
        sensitivity_table,
        stress_table,
        worst_table,
    )

    matrix, paths = found.matrix, found.tables
    console.out.print(stress_table(matrix), "")
    for table in (sensitivity_table(matrix), worst_table(matrix)):
        if table.rows:
            console.out.print(table, "")
    console.remark(*describe_tests(matrix.rows), *describe_sensitivity(matrix))
    frames = (one.frame for one in found.predictions.values())
    failures = (
        (row["error"], row["filepath"])
        for frame in frames
        for row in frame.filter(frame["error"].is_not_null()).iter_rows(named=True)
    )
    console.remark(*console.frequent(failures))
    console.echo(f"written to {', '.join(map(str, paths[:-1]))} and {paths[-1]}")
