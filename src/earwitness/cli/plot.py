"""``earwitness plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.lists import COMPARISON


def plot(
    *,
    input_csv: Annotated[
        Path, typer.Option(metavar="FILE", help="A comparison table.")
    ] = COMPARISON,
    out_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where the pictures go.")] = Path(
        "ood_eval/confusion_matrices"
    ),
    normalized: Annotated[
        bool, typer.Option("--normalized", help="Draw row-normalised matrices as well.")
    ] = False,
) -> None:
    """Draw a confusion matrix for every row of a comparison table.

    Files are named <dataset>__<model>.png and <dataset>__<model>__normalized.png.
    """
    from earwitness.reporting.figures import plot_confusions
    from earwitness.reporting.tables import read_comparison

    written = plot_confusions(read_comparison(input_csv), out_dir, normalized=normalized)
    console.out.print(f"{len(written)} pictures written to {out_dir}", markup=False)
