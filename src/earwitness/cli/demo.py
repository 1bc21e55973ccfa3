"""``earwitness demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from earwitness.cli import console
from earwitness.cli.bench import print_places
from earwitness.cli.options import option

if TYPE_CHECKING:
    from earwitness.bench.run import BenchmarkRun
    from earwitness.demo.run import Outcome


def demo(
    *,
    out: Annotated[Path, option("DIR", "Output folder.")] = Path("demo-run"),
    seed: Annotated[int, option("N", "Random seed.", min=0)] = 0,
) -> None:
    """Run the whole benchmark on synthetic data: offline, on the CPU, without downloads.

    Synthesizes a small music corpus and fakes of it in the published layout, trains a fakeprint
    detector on two kinds of fake, and evaluates it on those and on others.
    """
    from earwitness.cli.bench import StageView
    from earwitness.demo.run import Settings, prepare_demo, run_demo

    def on_step(text: str) -> None:
        console.err.print(text, markup=False)

    settings = Settings(seed=seed)
    with console.err.status("starting") as status:
        prepare_demo(out, settings, on_step=on_step, on_progress=status.update)
    with StageView() as view:
        done = run_demo(out, settings, on_step=on_step, watcher=view, on_start=view.start_scoring)
    _print(done, out)


def _print(done: BenchmarkRun, out: Path) -> None:
    from earwitness.demo.run import DETECTOR, WORKSPACE, read_outcomes
    from earwitness.report.comparison import comparison_table, read_comparison

    console.out.print()
    console.out.print(comparison_table(read_comparison(done.comparison)))
    console.out.print()
    for line in _lesson(read_outcomes(done)):
        console.out.print(line, markup=False)
    console.out.print("\nOutput files")
    print_places(done)
    for what, path in {"detector": DETECTOR, "synthetic music": WORKSPACE}.items():
        console.out.print(f"  {what:<18} {out / path}", markup=False)


def _lesson(outcomes: list[Outcome]) -> list[str]:
    """Return the accuracy by kind of music, and what it shows."""
    lines = [
        f"  {o.kind:<17} {o.source:<14} {o.n_right:>2} of {o.n:>2} ({o.n_right / o.n:4.0%})  "
        f"{'in the training data' if o.known else 'not in the training data'}"
        for o in outcomes
    ]
    fakes = [o for o in outcomes if o.kind != "real"]
    known, unknown = (_found([o for o in fakes if o.known is side]) for side in (True, False))
    found = (
        f"The detector finds {_counted(*known)} of the fakes of kinds in its training data and "
        f"{_counted(*unknown)} of the others."
    )
    if _is_above(known, unknown):
        lesson = (
            " Performance on known generators does not predict performance on unknown ones, which "
            "is why out-of-domain benchmarks are needed."
        )
    else:
        lesson = " With this seed the intervals of the two rates overlap."
    return ["Correct decisions by kind of music", *lines, "", found + lesson]


def _found(outcomes: list[Outcome]) -> tuple[int, int]:
    """Return the number of fakes found and the number of fakes."""
    return sum(o.n_right for o in outcomes), sum(o.n for o in outcomes)


def _counted(n_right: int, n: int) -> str:
    return f"{n_right} of {n} ({n_right / max(n, 1):.0%})"


def _is_above(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether the 95 % Wilson interval of one rate is above the other's."""
    from scipy.stats import binomtest

    first, second = (
        binomtest(n_right, n).proportion_ci(method="wilson") for n_right, n in (one, other)
    )
    return bool(first.low > second.high)
