"""``earwitness evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console

SHOWN_KINDS = ("overall", "dataset", "column")


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(help="Prediction files, or folders that are searched for them."),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where metrics go; a .csv of them is put beside it."),
    ] = Path("metrics.json"),
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Cut by this column, too; may be given again."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            help="Decide anew at this score (default: the labels in the file).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where resampling starts.")] = 0,
    resamples: Annotated[
        int, typer.Option(min=100, help="Resamples of the group bootstrap.")
    ] = 2000,
) -> None:
    """Say what scores are worth: figures with intervals over groups, slice by slice.

    Overall, by dataset, corpus and generator, and each real corpus against each generator. Rows
    without a score are in no figure; how many there are stands beside each.
    """
    from earwitness.core.errors import UsageError
    from earwitness.core.metrics import write_metrics
    from earwitness.evaluation.evaluate import evaluate as make_metrics
    from earwitness.reporting.estimates import estimates_table, write_estimates

    table = out.with_suffix(".csv")
    if table == out:
        raise UsageError(f"--out {out}: the CSV goes there, expected a name that ends in .json")
    metrics = make_metrics(
        predictions,
        seed=seed,
        by=by,
        threshold=threshold,
        n_resamples=resamples,
    )
    write_metrics(metrics, out)
    write_estimates(metrics, table)
    console.out.print(estimates_table(s for s in metrics.slices if s.kind in SHOWN_KINDS))
    for check in metrics.checks:
        if check.verdict != "ok":
            console.remark(f"{check.detector}: {check.detail}")
    for note in metrics.notes:
        console.remark(note)
    console.out.print(f"written to {out} and {table}", markup=False)
