"""The tables that the published SONICS script leaves beside ``test_predictions.csv``.

Conventions: file and column names are the published ones. ``loss`` is the mean binary cross-entropy
of the logits, without label smoothing; what is not defined is an empty cell. The partitions and the
metric of each are those that the authors of SONICS report, see ``evaluation.partitions``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.core.files import replacing
from earwitness.core.predictions import Predictions
from earwitness.core.results import Counts
from earwitness.evaluation.partitions import HEADLINES, partition_columns
from earwitness.evaluation.summarize import is_scored
from earwitness.metrics import points

SUMMARY_CSV = "test_summary.csv"
PARTITIONS_CSV = "test_partition_results.csv"

_SONICS = "sonics-"


def write_published_tables(predictions: Predictions, folder: Path) -> list[Path]:
    """Write the summary of a SONICS detector and, where the columns are there, its partitions.

    Args:
        predictions: Rows of one detector; of another detector nothing is written.
        folder: Where the tables go.

    Returns:
        What was written.
    """
    if _SONICS not in predictions.detector:
        return []
    frame = predictions.frame
    rows = frame.filter(is_scored(frame)).with_columns(*partition_columns(frame))
    written = [_write(folder / SUMMARY_CSV, [_summary(predictions.detector, rows)])]
    partitions = _partitions(rows)
    return [*written, _write(folder / PARTITIONS_CSV, partitions)] if partitions else written


def _summary(model: str, rows: pl.DataFrame) -> dict[str, str | float | None]:
    counts = points.count_decisions(rows["target"], rows["pred_label"])
    return {
        "model": model,
        "loss": _loss(rows),
        "acc": _defined(points.accuracy(counts)),
        "f1": _defined(points.f1(counts)),
        "sens": _defined(points.recall(counts)),
        "spec": _defined(points.specificity(counts)),
    }


def _partitions(rows: pl.DataFrame) -> list[dict[str, str | float | int | None]]:
    found: list[dict[str, str | float | int | None]] = []
    for partition, metric in HEADLINES.items():
        column = f"sonics:{partition}"
        for (value,), part in (
            rows.drop_nulls(column).sort(column).group_by(column, maintain_order=True)
        ):
            counts = points.count_decisions(part["target"], part["pred_label"])
            found.append(
                {
                    "partition": partition,
                    "value": str(value),
                    "metric": metric,
                    "result": _defined(_value(metric, counts)),
                    "n": part.height,
                }
            )
    return found


def _value(metric: str, counts: Counts) -> float:
    if metric == "recall":
        return points.recall(counts)
    if metric == "specificity":
        return points.specificity(counts)
    return points.f1_macro(counts)


def _loss(rows: pl.DataFrame) -> float | None:
    """Return the mean of log(1 + exp(-z)), z the logit of a fake and its negative of a real."""
    logits, targets = rows["logit"].to_list(), rows["target"].to_list()
    if not logits or None in logits:
        return None
    margins = [z if target else -z for z, target in zip(logits, targets, strict=True)]
    return math.fsum(max(-z, 0) + math.log1p(math.exp(-abs(z))) for z in margins) / len(margins)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _write(path: Path, rows: Sequence[dict[str, str | float | int | None]]) -> Path:
    with replacing(path) as temporary:
        pl.DataFrame(rows, infer_schema_length=None).write_csv(temporary)
    return path
