"""``earwitness evaluate``, ``compare``, ``summarize``, ``plot`` and ``report``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import (
    Aggregation,
    Key,
    Threshold,
    comma_list,
    option,
    refuse_inputs,
    switch,
)
from earwitness.core.errors import UsageError

PREDICTIONS, COMPARISON = Path("ood_eval/preds"), Path("ood_eval/final_ood_comparison.csv")
SHOWN_KINDS = ("overall", "dataset", "column", "sonics")


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(help="Prediction files, folders of them, or ASVspoof score files."),
    ],
    *,
    out: Annotated[
        Path, option("FILE", "Output file (.json); a .csv of the same name is written too.")
    ] = Path("metrics.json"),
    by: Annotated[
        list[str] | None,
        option("COLUMNS", "Also slice by these columns (comma-separated or repeated)."),
    ] = None,
    threshold: Annotated[
        str | None,
        option(
            "RULE",
            "Decision threshold, given or fitted: 0.5, eer, fpr=0.01, conformal=0.01, cost, "
            "cost=10 (default: the labels in the file).",
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        option("COLUMNS", "Fit a threshold within each value of these columns (comma-separated)."),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        option(
            "PREDS",
            "Predictions to fit threshold and calibration on (default: half of the groups, "
            "with metrics on the other half); repeatable.",
        ),
    ] = None,
    calibrate: Annotated[
        str | None, option("METHOD", "Calibrate probabilities: temperature or platt.")
    ] = None,
    audit: Annotated[
        Path | None, option("FILE", "audit.json of the same items; its results are included.")
    ] = None,
    key: Key = None,
    aggregate: Aggregation = None,
    asvspoof_out: Annotated[
        Path | None, option("FOLDER", "Also write ASVspoof 5 score and key files.")
    ] = None,
    p_fake: Annotated[
        float, typer.Option(help="Prior probability of a fake in minDCF and actDCF.")
    ] = 0.05,
    c_miss: Annotated[
        float, typer.Option(help="Cost of a fake classified as real (C_fa of ASVspoof).")
    ] = 10.0,
    c_false_alarm: Annotated[
        float, typer.Option(help="Cost of a real classified as fake (C_miss of ASVspoof).")
    ] = 1.0,
    confidence: Annotated[float, typer.Option(help="Confidence level of the intervals.")] = 0.95,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed of the bootstrap and the split into halves.")
    ] = 0,
    resamples: Annotated[
        int, typer.Option(min=100, help="Number of bootstrap samples of groups.")
    ] = 2000,
) -> None:
    """Compute metrics with confidence intervals, per slice.

    Slices are: overall, dataset, corpus, generator, each real corpus against each generator, and
    the partitions of SONICS. Decisions are evaluated with every threshold rule, and with thresholds
    fitted on other corpora. Unscored rows are excluded from every metric; their count is reported.
    """
    from earwitness.audit.schema import read_audit
    from earwitness.evaluation.calibration import parse_method
    from earwitness.evaluation.evaluate import evaluate as make_metrics
    from earwitness.evaluation.rows import export_asvspoof
    from earwitness.evaluation.schema import write_metrics
    from earwitness.evaluation.thresholds import parse_costs
    from earwitness.report import metric_tables
    from earwitness.report.localisation import localisation_table

    table = out.with_suffix(".csv")
    if table == out:
        raise UsageError(f"--out {out}: the CSV is written there; expected a name in .json")
    refuse_inputs("--out", [out, table], [*predictions, *(calibration or []), key, audit])
    metrics = make_metrics(
        predictions,
        audit=None if audit is None else read_audit(audit),
        seed=seed,
        by=comma_list(by),
        threshold=threshold,
        within=comma_list(within),
        calibration=calibration,
        calibrate=parse_method(calibrate),
        key=key,
        aggregate=aggregate,
        confidence=confidence,
        costs=parse_costs(p_fake, c_miss, c_false_alarm),
        n_resamples=resamples,
    )
    if asvspoof_out is not None:
        lost = export_asvspoof(predictions, asvspoof_out, key=key, aggregate=aggregate)
        for path, n_lost in lost.items():
            if n_lost:
                console.remark(f"{path}: {n_lost} files have no score and are in the key only")
    write_metrics(metrics, out)
    metric_tables.write_estimates(metrics, table)
    shown = (s for s in metrics.slices if s.kind in SHOWN_KINDS)
    for estimates in metric_tables.estimates_tables(shown, metrics.baselines):
        console.out.print(estimates, "")
    console.out.print(f"intervals: {confidence:.0%}, over groups", "")
    console.out.print(metric_tables.operating_table(metrics), "")
    if len({line.applied_to for line in metrics.transfers}) > 1:
        console.out.print(metric_tables.transfer_table(metrics.transfers), "")
    if metrics.strata:
        console.out.print(metric_tables.strata_table(metrics.strata), "")
    if metrics.localisation:
        console.out.print(localisation_table(metrics.localisation, tolerances_s=(0.5,)), "")
    for check in metrics.checks:
        if check.verdict != "ok":
            console.remark(f"{check.detector}: {check.detail}" if check.detector else check.detail)
    console.remark(*metrics.notes)
    console.echo(f"written to {out} and {table}")


def compare(
    first: Annotated[
        Path, typer.Argument(help="Prediction file, ASVspoof score file, or a folder of them.")
    ],
    second: Annotated[Path, typer.Argument(help="The same of the other detector or run.")],
    *,
    threshold: Threshold = None,
    key: Key = None,
    aggregate: Aggregation = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the permutations.")] = 0,
) -> None:
    """Test whether two detectors, or two runs, differ on the items that both scored.

    Given two folders, each detector in both is compared with itself; given a folder and a file of
    one detector, every other detector is compared with that one.

    The p-values are from permutations of whole groups, with Holm's correction; the interval of a
    difference in AUROC is DeLong's for clustered data.
    """
    from earwitness.evaluation.compare import compare as make_comparison
    from earwitness.report.metric_tables import comparison_tables

    found = make_comparison(
        first, second, key=key, aggregate=aggregate, seed=seed, threshold=threshold
    )
    for pair in found.pairs:
        console.echo(f"first: {pair.first}")
        console.echo(f"second: {pair.second}")
        for table in comparison_tables(pair):
            console.out.print(table, "")
        console.out.print(
            f"{pair.n_common} items scored by both; {pair.n_left_out} others excluded\n"
        )
    n_tests = sum(not math.isnan(line.p_holm) for line in found.lines)
    console.out.print(f"Holm: corrected for {n_tests} tests")
    console.remark(*found.notes)


def summarize(
    predictions: Annotated[
        list[Path] | None,
        typer.Argument(help="Prediction files, or folders of them (default: ood_eval/preds)."),
    ] = None,
    *,
    input_csv: Annotated[list[Path] | None, option("FILE", "Prediction file; repeatable.")] = None,
    output_csv: Annotated[Path, option("FILE", "Output file, the comparison table.")] = COMPARISON,
    threshold: Threshold = None,
    model_name: Annotated[
        str | None, option("NAME", "Value of the model column (default: from the file).")
    ] = None,
    dataset_name: Annotated[
        str | None, option("NAME", "Value of the dataset column (default: from the path).")
    ] = None,
    key: Key = None,
    aggregate: Aggregation = None,
    append: Annotated[bool, switch("--append", "Append to the existing table.")] = False,
) -> None:
    """Summarize prediction files as rows of the comparison table.

    Reads files of predict and of the published scripts (columns target or y_true, and pred_label,
    y_pred or pred_prob). Unscored rows are excluded; their count is printed.
    """
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
        console.remark(*summary.notes)
        for n, why in (
            (summary.n_failed, "without a score"),
            (summary.n_abstained, "abstained from (nothing to analyse)"),
        ):
            if n:
                console.remark(f"{summary.source}: {n} rows {why}, not counted")
    console.echo(f"written to {output_csv}")


def plot(
    *,
    input_csv: Annotated[Path, option("FILE", "Comparison table.")] = COMPARISON,
    out_dir: Annotated[Path, option("DIR", "Output folder.")] = Path("ood_eval/confusion_matrices"),
    normalized: Annotated[
        bool, switch("--normalized", "Also draw row-normalised matrices.")
    ] = False,
) -> None:
    """Plot a confusion matrix for each row of a comparison table.

    Files are named <dataset>__<model>.png and <dataset>__<model>__normalized.png.
    """
    from earwitness.report.comparison import plot_confusions, read_comparison

    written = plot_confusions(read_comparison(input_csv), out_dir, normalized=normalized)
    console.echo(f"{len(written)} charts written to {out_dir}")


def report(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="metrics.json, stress.json, a run folder with one, or a comparison table (.csv or "
            ".parquet).",
        ),
    ],
    *,
    out: Annotated[Path, option("FILE", "Output file.")] = Path("report.html"),
    audio_root: Annotated[
        list[Path] | None,
        option("DIR", "Folder to search for the audio of wrong decisions; repeatable."),
    ] = None,
    spectra: Annotated[
        int,
        typer.Option(
            min=0,
            max=24,
            metavar="N",
            help="Read up to N flagged files of each detector again, and draw what it found there.",
        ),
    ] = 0,
) -> None:
    """Write an evaluation or a stress test as one HTML page.

    The page is a single file that works offline, in print, and in light and dark mode. Of a
    comparison table it shows the metrics that are computed from counts.
    """
    from earwitness.evaluation.schema import read_metrics
    from earwitness.evaluation.stress import STRESS_JSON, read_matrix
    from earwitness.evaluation.summarize import evaluate_counts
    from earwitness.report.comparison import read_comparison
    from earwitness.report.page import write_report
    from earwitness.report.stress_page import write_stress_report

    if source.is_dir():
        source = _find_results(source, ("metrics.json", STRESS_JSON))
    if source.name == STRESS_JSON:
        if audio_root:
            raise UsageError(f"--audio-root: expected without {STRESS_JSON}")
        write_stress_report(read_matrix(source), out)
        console.echo(f"written to {out}")
        return
    if source.suffix.lower() in (".csv", ".parquet"):
        metrics = evaluate_counts(read_comparison(source), source=source)
    else:
        metrics = read_metrics(source)
    write_report(metrics, out, audio_roots=audio_root or [], n_spectra=spectra)
    console.echo(f"written to {out}")


def _find_results(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first of some files that a folder has."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{folder}: found no results, expected {' or '.join(names)}")
