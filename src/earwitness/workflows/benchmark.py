"""The out-of-domain benchmark: splits, predictions, comparison table, confusion matrices.

A run folder holds what ``scoring`` writes, and ``final_ood_comparison.csv`` and ``confusion/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector
from earwitness.evaluation.summarize import Summary, summarize
from earwitness.manifests.files import read_manifest
from earwitness.manifests.splitfolder import write_splits
from earwitness.manifests.splits import SplitOptions, SplitSet, build_splits
from earwitness.reporting.figures import plot_confusions
from earwitness.reporting.tables import write_comparison
from earwitness.workflows.scoring import ScoringOptions, Starting, score_into_run

COMPARISON_CSV = "final_ood_comparison.csv"


@dataclass(frozen=True)
class BenchmarkRun:
    """What a benchmark left behind.

    Attributes:
        out: The run folder.
        splits: The manifests and what they were drawn from.
        predictions: Prediction files and what they hold.
        summaries: One row a manifest and detector.
        figures: Confusion matrices.
    """

    out: Path
    splits: SplitSet
    predictions: dict[Path, Predictions]
    summaries: tuple[Summary, ...]
    figures: tuple[Path, ...]


def run_benchmark(
    split_options: SplitOptions,
    detectors: Sequence[Detector],
    out: Path,
    *,
    scoring: ScoringOptions | None = None,
    normalized: bool = True,
    starting: Starting | None = None,
) -> BenchmarkRun:
    """Run the whole benchmark into one folder.

    Args:
        split_options: What to draw from which folders.
        detectors: Who judges.
        out: The run folder.
        scoring: How to score.
        normalized: Draw row-normalised confusion matrices as well.
        starting: Told how many files there are to score, and how many are scored already.
    """
    splits = build_splits(split_options)
    paths = write_splits(splits, out / "manifests", absolute_paths=split_options.absolute_paths)
    manifests = [read_manifest(path) for path in paths]
    predictions = score_into_run(
        manifests,
        detectors,
        out,
        options=scoring or ScoringOptions(),
        copying=False,
        starting=starting,
    )
    summaries = summarize(list(predictions))
    rows = [summary.row for summary in summaries]
    write_comparison(rows, out / COMPARISON_CSV)
    figures = plot_confusions(rows, out / "confusion", normalized=normalized)
    return BenchmarkRun(out, splits, predictions, tuple(summaries), tuple(figures))
