"""From predictions to rows of the comparison table.

Conventions: fake is the positive class; a row without a score is not counted, and how many
there were is told beside the figures; a rate that is not defined is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts
from earwitness.core.predictions import Predictions
from earwitness.evaluation.repeats import Aggregate
from earwitness.evaluation.sources import check_threshold, decide, is_scored, open_sources
from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import measure_counts

NEED_BOTH_CLASSES = ("precision_fake", "f1_fake")
"""Columns that the published table fills for one class, too, where that alone decides them."""

_RATES = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy")

Cell = str | int | float | None
"""What stands in a cell of the comparison table; ``None`` is undefined."""


@dataclass(frozen=True)
class Summary:
    """A row of the comparison table and where it came from.

    Attributes:
        row: How the detector decided.
        n_failed: Items that could not be scored and were not counted.
        source: The prediction file, or names where the predictions came from memory.
        n_abstained: Items that hold nothing to analyse and were not counted.
        notes: What the reader of the file should know about it.
    """

    row: ComparisonRow
    n_failed: int
    source: str
    n_abstained: int = 0
    notes: tuple[str, ...] = ()


def summarize(
    sources: Sequence[str | Path | Predictions],
    *,
    threshold: float | None = None,
    model_name: str | None = None,
    dataset_name: str | None = None,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
) -> list[Summary]:
    """Count decisions, one row a detector and dataset, in the order given.

    Args:
        sources: Prediction files, folders that are searched for them, or predictions.
        threshold: Scores from here up are called fake. ``None`` takes the labels as they are;
            a file without labels gets them at 0.5.
        model_name: What the ``model`` column says; by default the detector's name.
        dataset_name: What the ``dataset`` column says; by default the manifest's name, or what
            the path tells (see ``read_predictions``).
        key: The key file of ASVspoof score files.
        aggregate: How several rows of one file become one item: ``mean`` or ``max``; ``None``
            refuses them.

    Raises:
        UsageError: The threshold is not from 0 to 1, or two rows would go by the same model and
            dataset.
        PredictionsError: A file is not what it should be, or has labels alone and a threshold
            was given.
    """
    check_threshold(threshold)
    return [
        _summarize_one(opened.predictions, opened.source, threshold)
        for opened in open_sources(
            sources, model=model_name, dataset=dataset_name, key=key, aggregate=aggregate
        )
    ]


def is_one_class(counts: Counts) -> bool:
    """Whether there are reals alone or fakes alone."""
    return (counts.n_real == 0) != (counts.n_fake == 0)


def comparison_record(row: ComparisonRow) -> dict[str, Cell]:
    """Return a row of the comparison table by column, in the order of the published table.

    Its F1 is empty where no fake is found, as published, and not 0.
    """
    counts = row.counts
    rates = (
        measure_counts(name, counts) if name != "f1" or counts.tp else math.nan for name in _RATES
    )
    cells = (row.model, row.dataset, counts.n, counts.tp, counts.tn, counts.fp, counts.fn)
    defined = (None if math.isnan(rate) else rate for rate in rates)
    return dict(zip(COMPARISON_COLUMNS, (*cells, *defined), strict=True))


def _summarize_one(predictions: Predictions, source: str, threshold: float | None) -> Summary:
    frame = predictions.frame.with_columns(decide(predictions, source, threshold))
    counted = frame.filter(is_scored(frame))
    counts = count_decisions(counted["target"], counted["pred_label"])
    row = ComparisonRow(predictions.detector, predictions.dataset, counts)
    n_abstained = predictions.n_abstained
    return Summary(
        row, frame.height - counts.n - n_abstained, source, n_abstained, predictions.notes
    )
