"""``earwitness demo``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from earwitness.demo.run import DemoRun, Outcome


def demo(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to work in.")] = Path("demo-run"),
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of all that is made up and drawn.")
    ] = 0,
) -> None:
    """Run the whole benchmark on made-up data: offline, on the CPU, nothing to download.

    Synthesises a small music corpus and fakes of it in the published folder tree, trains a
    fakeprint detector on two kinds of fake, and judges it on those and on others.
    """
    from earwitness.demo.run import run_demo

    with ExitStack() as stack:
        status = stack.enter_context(console.err.status("starting"))

        def start_scoring(n_files: int, n_done: int) -> Callable[[bool], None]:  # noqa: ARG001
            status.stop()
            return stack.enter_context(console.progress_bar("scoring", n_files))

        done = run_demo(
            out,
            seed=seed,
            say=lambda text: console.err.print(text, markup=False),
            working=status.update,
            starting=start_scoring,
        )
    _print(done)


def _print(done: DemoRun) -> None:
    from earwitness.reporting.tables import comparison_table
    from earwitness.workflows.benchmark import COMPARISON_CSV

    run = done.benchmark
    console.out.print()
    console.out.print(comparison_table([summary.row for summary in run.summaries]))
    console.out.print()
    for line in _lesson(done.outcomes):
        console.out.print(line, markup=False)
    places = {
        "comparison table": run.out / COMPARISON_CSV,
        "confusion matrices": f"{run.out / 'confusion'} ({len(run.figures)} pictures)",
        "scores, row by row": run.out / "preds",
        "what was drawn and left out": run.out / "manifests",
        "the detector and its card": done.detector_folder,
        "the made-up music": done.workspace.root,
    }
    console.out.print("\nWhere it lies")
    for what, place in places.items():
        console.out.print(f"  {what:<28} {place}", markup=False)


def _lesson(outcomes: tuple[Outcome, ...]) -> list[str]:
    """Say what the run shows, from the numbers it gave."""
    lines = ["What this shows: how the detector did, kind by kind"]
    for outcome in outcomes:
        verb = "let pass" if outcome.kind == "real" else "found"
        lines.append(
            f"  {outcome.kind:<17} {outcome.source:<14} {verb:<8} "
            f"{outcome.n_right:>2} of {outcome.n:>2} ({outcome.n_right / outcome.n:4.0%})  "
            f"{'trained on this kind' if outcome.known else 'never met'}"
        )
    fakes = [o for o in outcomes if o.kind != "real"]
    known, unknown = (_rate([o for o in fakes if o.known is side]) for side in (True, False))
    found = f"It finds {known:.0%} of the fakes of the kinds it was trained on and {unknown:.0%} of"
    if known - unknown >= 0.2:
        lesson = (
            " the others. What a detector does on generators it knows says nothing about those "
            "it does not know: that is what an out-of-domain benchmark is for."
        )
    else:
        lesson = " the others: with this seed the two lie close together."
    return [*lines, "", found + lesson]


def _rate(outcomes: list[Outcome]) -> float:
    return sum(o.n_right for o in outcomes) / max(sum(o.n for o in outcomes), 1)
