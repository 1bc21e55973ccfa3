"""From predictions to rows of the comparison table.

Conventions: fake is the positive class; a row without a score is not counted, and how many
there were is told beside the figures; a rate that is not defined is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.predictions import Predictions
from earwitness.core.results import COMPARISON_COLUMNS, ComparisonRow
from earwitness.manifests.scores import find_predictions, read_predictions
from earwitness.metrics import points

Cell = str | int | float | None
"""What stands in a cell of the comparison table; ``None`` is undefined."""


@dataclass(frozen=True)
class Summary:
    """A row of the comparison table and where it came from.

    Attributes:
        row: How the detector decided.
        n_failed: Items that have no score and were not counted.
        source: The prediction file, or names where the predictions came from memory.
    """

    row: ComparisonRow
    n_failed: int
    source: str


def summarize(
    sources: Sequence[str | Path | Predictions],
    *,
    threshold: float | None = None,
    model_name: str | None = None,
    dataset_name: str | None = None,
) -> list[Summary]:
    """Count decisions, one row a detector and dataset, in the order given.

    Args:
        sources: Prediction files, folders that are searched for them, or predictions.
        threshold: Scores from here up are called fake. ``None`` takes the labels as they are;
            a file without labels gets them at 0.5.
        model_name: What the ``model`` column says; by default the detector's name.
        dataset_name: What the ``dataset`` column says; by default the manifest's name, or what
            the path tells (see ``read_predictions``).

    Raises:
        UsageError: The threshold is not from 0 to 1, or two rows would go by the same model and
            dataset.
        PredictionsError: A file is not what it should be, or has labels alone and a threshold
            was given.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold}, expected a number from 0 to 1")
    summaries = [
        _summarize_one(predictions, source, threshold)
        for predictions, source in _open_all(sources, model_name, dataset_name)
    ]
    _refuse_twins(summaries)
    return summaries


def comparison_record(row: ComparisonRow) -> dict[str, Cell]:
    """Return a row of the comparison table by column, in the order of the published table."""
    counts = row.counts
    rates = (
        points.accuracy(counts),
        points.precision(counts),
        points.recall(counts),
        points.specificity(counts),
        points.f1(counts),
        points.balanced_accuracy(counts),
    )
    cells = (row.model, row.dataset, counts.n, counts.tp, counts.tn, counts.fp, counts.fn)
    defined = (None if math.isnan(rate) else rate for rate in rates)
    return dict(zip(COMPARISON_COLUMNS, (*cells, *defined), strict=True))


def _open_all(
    sources: Sequence[str | Path | Predictions], model: str | None, dataset: str | None
) -> list[tuple[Predictions, str]]:
    opened = []
    for source in sources:
        if isinstance(source, Predictions):
            named = Predictions(dataset or source.dataset, model or source.detector, source.frame)
            opened.append((named, f"{named.detector} on {named.dataset}"))
            continue
        path = Path(source)
        for file in find_predictions(path) if path.is_dir() else [path]:
            found = read_predictions(file, dataset=dataset, detector=model)
            opened += [(predictions, str(file)) for predictions in found]
    return opened


def _summarize_one(predictions: Predictions, source: str, threshold: float | None) -> Summary:
    frame = predictions.frame.with_columns(_decision(predictions, source, threshold))
    counted = frame.filter(pl.col("error").is_null() & pl.col("pred_label").is_not_null())
    counts = points.count_decisions(counted["target"], counted["pred_label"])
    row = ComparisonRow(predictions.detector, predictions.dataset, counts)
    return Summary(row, frame.height - counts.n, source)


def _decision(predictions: Predictions, source: str, threshold: float | None) -> pl.Expr:
    frame, label = predictions.frame, pl.col("pred_label")
    if threshold is None:
        return label
    if frame["pred_prob"].count() == 0 and frame["pred_label"].count():
        raise PredictionsError(
            f"{source}: labels alone, expected pred_prob or y_pred to decide at {threshold:g}"
        )
    return (pl.col("pred_prob") >= threshold).cast(pl.Int8).alias("pred_label")


def _refuse_twins(summaries: Sequence[Summary]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for summary in summaries:
        key = (summary.row.model, summary.row.dataset)
        if key in seen:
            raise UsageError(
                f"{summary.source}: model {key[0]!r} on dataset {key[1]!r} again, after "
                f"{seen[key]}; expected one file for each, or names given one file at a time"
            )
        seen[key] = summary.source
