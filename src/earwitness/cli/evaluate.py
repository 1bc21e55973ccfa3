"""``earwitness evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import comma_list, refuse_inputs

SHOWN_KINDS = ("overall", "dataset", "column", "sonics")


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            help="Prediction files, folders that are searched for them, or ASVspoof score files."
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Where metrics go; a .csv of them is put beside it."),
    ] = Path("metrics.json"),
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Cut by these columns, too; by comma or repeated."),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Decide anew at this score, or at one that is fitted: 0.5, eer, fpr=0.01, cost, "
            "cost=10 (default: the labels in the file).",
        ),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PREDS",
            help="Fit on these predictions (default: on a half of the groups, and report on the "
            "other); may be given again.",
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Fit probabilities, too: temperature or platt."),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="audit.json of what was judged, to be carried along."),
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
    asvspoof_out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write ASVspoof 5 score and key files there as well."),
    ] = None,
    p_fake: Annotated[
        float, typer.Option(help="Share of fakes that minDCF and actDCF suppose.")
    ] = 0.05,
    c_miss: Annotated[
        float, typer.Option(help="What a fake called real costs in them (ASVspoof's C_fa).")
    ] = 10.0,
    c_false_alarm: Annotated[
        float, typer.Option(help="What a real called fake costs in them (ASVspoof's C_miss).")
    ] = 1.0,
    confidence: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Where resampling and halves start.")] = 0,
    resamples: Annotated[
        int, typer.Option(min=100, help="Resamples of the group bootstrap.")
    ] = 2000,
) -> None:
    """Say what scores are worth: figures with intervals over groups, slice by slice.

    Overall, by dataset, corpus and generator, each real corpus against each generator, and the
    partitions of SONICS; what decisions are worth, and what thresholds do on other corpora. Rows
    without a score are in no figure; how many there are stands beside each.
    """
    from earwitness.audit.schema import read_audit
    from earwitness.core.errors import UsageError
    from earwitness.evaluation.asvspoof import export_asvspoof
    from earwitness.evaluation.evaluate import evaluate as make_metrics
    from earwitness.evaluation.repeats import parse_aggregate
    from earwitness.evaluation.schema import write_metrics
    from earwitness.evaluation.thresholds import parse_costs, parse_method
    from earwitness.report.metric_tables import (
        estimates_tables,
        operating_table,
        transfer_table,
        write_estimates,
    )

    table = out.with_suffix(".csv")
    if table == out:
        raise UsageError(f"--out {out}: the CSV goes there, expected a name that ends in .json")
    refuse_inputs("--out", [out, table], [*predictions, *(calibration or []), key, audit])
    how = parse_aggregate(aggregate)
    metrics = make_metrics(
        predictions,
        audit=None if audit is None else read_audit(audit),
        seed=seed,
        by=comma_list(by),
        threshold=threshold,
        calibration=calibration,
        calibrate=parse_method(calibrate),
        key=key,
        aggregate=how,
        confidence=confidence,
        costs=parse_costs(p_fake, c_miss, c_false_alarm),
        n_resamples=resamples,
    )
    if asvspoof_out is not None:
        for path, n_lost in export_asvspoof(
            predictions, asvspoof_out, key=key, aggregate=how
        ).items():
            if n_lost:
                console.remark(f"{path}: {n_lost} files have no score and stand in the key alone")
    write_metrics(metrics, out)
    write_estimates(metrics, table)
    shown = (s for s in metrics.slices if s.kind in SHOWN_KINDS)
    for figures in estimates_tables(shown, metrics.baselines, width=console.out.width):
        console.out.print(figures, "")
    console.out.print(f"intervals: {confidence:.0%}, over groups", "")
    console.out.print(operating_table(metrics), "")
    if len({line.applied_to for line in metrics.transfers}) > 1:
        console.out.print(transfer_table(metrics), "")
    for check in metrics.checks:
        if check.verdict != "ok":
            console.remark(f"{check.detector}: {check.detail}" if check.detector else check.detail)
    for note in metrics.notes:
        console.remark(note)
    console.out.print(f"written to {out} and {table}", markup=False)


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
    from earwitness.report.metric_tables import comparison_tables

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
