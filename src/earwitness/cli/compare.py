"""``earwitness compare``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console


def compare(
    first: Annotated[
        Path,
        typer.Argument(help="A prediction file, an ASVspoof score file, or a folder of them."),
    ],
    second: Annotated[Path, typer.Argument(help="The same for the other detector, or run.")],
    *,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            help="Decide anew at this score (default: the labels in the files).",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Key file of ASVspoof score files."),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="Make one item of several rows of a file: mean or max of their scores (default: "
            "such files are refused).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where the permutations start.")] = 0,
) -> None:
    """Tell whether two detectors, or two runs, differ on the items that both scored.

    Of two folders, each detector that both have is compared with itself; of a folder and a file
    of one detector, each other detector with that one.

    p-values by swapping whole groups, corrected for their number (Holm); the interval of a
    difference of two AUROCs is DeLong's over groups.
    """
    from earwitness.evaluation.compare import compare as make_comparison
    from earwitness.evaluation.repeats import parse_aggregate
    from earwitness.reporting.estimates import comparison_tables

    found = make_comparison(
        first, second, key=key, aggregate=parse_aggregate(aggregate), seed=seed, threshold=threshold
    )
    for pair in found.pairs:
        console.out.print(f"first: {pair.first}", markup=False)
        console.out.print(f"second: {pair.second}", markup=False)
        for table in comparison_tables(pair):
            console.out.print(table, "")
        console.out.print(
            f"{pair.n_common} items that both scored; {pair.n_left_out} others left out\n"
        )
    n_tests = sum(not math.isnan(line.p_holm) for line in found.lines)
    console.out.print(f"Holm: corrected for {n_tests} tests")
    for note in found.notes:
        console.remark(note)
