"""``earwitness demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.bench import print_places

if TYPE_CHECKING:
    from earwitness.demo.run import DemoData, DemoRun, Outcome


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
    from earwitness.cli.bench import StageView
    from earwitness.demo.run import judge_demo, prepare_demo

    def say(text: str) -> None:
        console.err.print(text, markup=False)

    with console.err.status("starting") as status:
        data = prepare_demo(out, seed=seed, say=say, working=status.update)
    with StageView() as view:
        done = judge_demo(data, say=say, watcher=view, starting=view.start_scoring)
    _print(data, done)


def _print(data: DemoData, done: DemoRun) -> None:
    from earwitness.report.comparison import comparison_table, read_comparison

    console.out.print()
    console.out.print(comparison_table(read_comparison(done.benchmark.comparison)))
    console.out.print()
    for line in _lesson(done.outcomes):
        console.out.print(line, markup=False)
    console.out.print("\nWhere it lies")
    print_places(done.benchmark)
    made = {"the detector": data.detector_folder, "the made-up music": data.workspace.root}
    for what, place in made.items():
        console.out.print(f"  {what:<18} {place}", markup=False)


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
    known, unknown = (_found([o for o in fakes if o.known is side]) for side in (True, False))
    found = (
        f"It finds {_counted(*known)} of the fakes of the kinds it was trained on and "
        f"{_counted(*unknown)} of the others."
    )
    if _is_above(known, unknown):
        lesson = (
            " What a detector does on generators it knows says nothing about those it does not "
            "know: that is what an out-of-domain benchmark is for."
        )
    else:
        lesson = " With this seed the intervals of the two overlap."
    return [*lines, "", found + lesson]


def _found(outcomes: list[Outcome]) -> tuple[int, int]:
    """Return how many fakes were found, and of how many."""
    return sum(o.n_right for o in outcomes), sum(o.n for o in outcomes)


def _counted(n_right: int, n: int) -> str:
    return f"{n_right} of {n} ({n_right / max(n, 1):.0%})"


def _is_above(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether one share's 95 % Wilson interval (over items) is above the other's."""
    from scipy.stats import binomtest

    first, second = (
        binomtest(n_right, n).proportion_ci(method="wilson") for n_right, n in (one, other)
    )
    return bool(first.low > second.high)
