"""``earwitness compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console


def compare(
    first: Annotated[
        Path, typer.Argument(help="A prediction file, or a folder of those of one detector.")
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
    seed: Annotated[int, typer.Option(min=0, help="Where the permutations start.")] = 0,
) -> None:
    """Tell whether two detectors, or two runs, differ on the items that both scored.

    AUROC by DeLong's test over groups, all else by swapping whole groups; p-values corrected for
    their number (Holm).
    """
    from earwitness.evaluation.compare import compare as make_comparison
    from earwitness.reporting.estimates import comparison_tables

    found = make_comparison(first, second, seed=seed, threshold=threshold)
    console.out.print(f"first: {found.first}", markup=False)
    console.out.print(f"second: {found.second}", markup=False)
    for table in comparison_tables(found):
        console.out.print(table, "")
    console.out.print(
        f"{found.n_common} items that both scored; {found.n_left_out} others left out"
    )
