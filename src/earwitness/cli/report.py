"""``earwitness report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console


def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="metrics.json, or a comparison table (.csv or .parquet)."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes.")] = Path(
        "report.html"
    ),
    audio_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Look for the files of mistakes below this folder, too; may be given again.",
        ),
    ] = None,
) -> None:
    """Write one page that says what an evaluation found.

    The page is a single file: it needs no network, prints, and follows light and dark screens.
    From a comparison table alone it says what counts can say.
    """
    from earwitness.core.metrics import read_metrics
    from earwitness.evaluation.from_counts import evaluate_counts
    from earwitness.reporting.page import write_report
    from earwitness.reporting.tables import read_comparison

    if source.suffix.lower() in (".csv", ".parquet"):
        metrics = evaluate_counts(read_comparison(source), source=source)
    else:
        metrics = read_metrics(source)
    write_report(metrics, out, audio_roots=audio_root or [])
    console.out.print(f"written to {out}", markup=False)
