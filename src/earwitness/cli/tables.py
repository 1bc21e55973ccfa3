"""``earwitness summarize``, ``plot`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import (
    COMPARISON,
    PREDICTIONS,
    Aggregation,
    Key,
    Threshold,
    refuse_inputs,
)


def summarize(
    predictions: Annotated[
        list[Path] | None,
        typer.Argument(help="Prediction files, or folders of them (default: ood_eval/preds)."),
    ] = None,
    *,
    input_csv: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Prediction file; repeatable."),
    ] = None,
    output_csv: Annotated[
        Path, typer.Option(metavar="FILE", help="Comparison table to write.")
    ] = COMPARISON,
    threshold: Threshold = None,
    model_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Value of the model column (default: from the file)."),
    ] = None,
    dataset_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Value of the dataset column (default: from the path)."),
    ] = None,
    key: Key = None,
    aggregate: Aggregation = None,
    append: Annotated[bool, typer.Option("--append", help="Append to the existing table.")] = False,
) -> None:
    """Summarize prediction files as rows of the comparison table.

    Reads this package's files and both published forms (target|y_true with
    pred_label|y_pred|pred_prob). Unscored rows are excluded; their count is printed.
    """
    from earwitness.core.errors import UsageError
    from earwitness.evaluation.summarize import summarize as make_rows
    from earwitness.report.comparison import comparison_table, write_comparison

    paths = [*(predictions or []), *(input_csv or [])]
    if not paths and not PREDICTIONS.is_dir():
        raise UsageError(
            f"no prediction file given and no {PREDICTIONS}, expected --input-csv FILE"
        )
    paths = paths or [PREDICTIONS]
    refuse_inputs("--output-csv", [output_csv], [*paths, key])
    summaries = make_rows(
        paths,
        threshold=threshold,
        model_name=model_name,
        dataset_name=dataset_name,
        key=key,
        aggregate=aggregate,
    )
    rows = [summary.row for summary in summaries]
    write_comparison(rows, output_csv, append=append)
    console.out.print(comparison_table(rows))
    for summary in summaries:
        for note in summary.notes:
            console.remark(note)
        if summary.n_failed:
            console.remark(
                f"{summary.source}: {summary.n_failed} rows without a score, not counted"
            )
        if summary.n_abstained:
            console.remark(
                f"{summary.source}: {summary.n_abstained} rows abstained from (nothing to "
                "analyse), not counted"
            )
    console.out.print(f"written to {output_csv}", markup=False)


def plot(
    *,
    input_csv: Annotated[Path, typer.Option(metavar="FILE", help="Comparison table.")] = COMPARISON,
    out_dir: Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")] = Path(
        "ood_eval/confusion_matrices"
    ),
    normalized: Annotated[
        bool, typer.Option("--normalized", help="Also draw row-normalised matrices.")
    ] = False,
) -> None:
    """Plot a confusion matrix for each row of a comparison table.

    Files are named <dataset>__<model>.png and <dataset>__<model>__normalized.png.
    """
    from earwitness.report.comparison import plot_confusions, read_comparison

    written = plot_confusions(read_comparison(input_csv), out_dir, normalized=normalized)
    console.out.print(f"{len(written)} pictures written to {out_dir}", markup=False)


def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="metrics.json, or a comparison table (.csv or .parquet)."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Page to write.")] = Path("report.html"),
    audio_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder to search for the audio of mistakes; repeatable.",
        ),
    ] = None,
) -> None:
    """Write an evaluation as one HTML page.

    The page is a single file that works offline, in print, and in light and dark mode. From a
    comparison table alone it shows the metrics that follow from counts.
    """
    from earwitness.evaluation.schema import read_metrics
    from earwitness.evaluation.summarize import evaluate_counts
    from earwitness.report.comparison import read_comparison
    from earwitness.report.page import write_report

    if source.suffix.lower() in (".csv", ".parquet"):
        metrics = evaluate_counts(read_comparison(source), source=source)
    else:
        metrics = read_metrics(source)
    write_report(metrics, out, audio_roots=audio_root or [])
    console.out.print(f"written to {out}", markup=False)
