"""Comparison tables: computed from predictions, evaluated, and written as SONICS publishes them.

Conventions: fake is the positive class; unscored rows are not counted, and their number is
reported; an undefined rate is ``None``.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from earwitness import __version__
from earwitness.core.errors import RunError
from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts, Estimate
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.predictions import Predictions
from earwitness.evaluation.estimates import labels
from earwitness.evaluation.identity import Aggregate
from earwitness.evaluation.rows import (
    Opened,
    check_threshold,
    decide,
    find_cards,
    find_run,
    is_one_sided,
    is_scored,
    open_sources,
)
from earwitness.evaluation.schema import (
    DetectorInfo,
    ManifestInfo,
    Metrics,
    Provenance,
    Settings,
    Source,
)
from earwitness.evaluation.slices import (
    HEADLINES,
    Coverage,
    Slice,
    SliceKind,
    TableRow,
    partition_columns,
)
from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import METRICS, measure_counts

NEED_BOTH_CLASSES = ("precision_fake", "f1_fake")
"""Columns that the published table also fills for a single class, which determines them."""

Cell = str | int | float | None
"""A cell of a published table; ``None`` is undefined."""


@dataclass(frozen=True)
class Summary:
    """A row of the comparison table, its file with notes, and the numbers of items not counted."""

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
    """Count decisions, one row per detector and dataset.

    Args:
        sources: Prediction files, folders of them, or predictions.
        threshold: Least ``pred_prob`` called fake. ``None`` takes the labels of the files, or 0.5
            without labels.
        model_name: Value of the ``model`` column; by default the detector's name.
        dataset_name: Value of the ``dataset`` column; by default the manifest's name, or one
            derived from the path (see ``read_predictions``).
        key: Key file of ASVspoof score files.
        aggregate: How several rows of one file become one item; ``None`` refuses them.

    Raises:
        UsageError: The threshold is not from 0 to 1, or two sources have one model and dataset.
        PredictionsError: A file is malformed, or has labels alone although a threshold is given.
    """
    check_threshold(threshold)
    opened = open_sources(
        sources, model=model_name, dataset=dataset_name, key=key, aggregate=aggregate
    )
    runs: dict[Path, dict[str, Any] | None] = {}
    return [_summarize_one(one, threshold, runs) for one in opened]


def is_one_class(counts: Counts) -> bool:
    """Return whether one class is missing."""
    return (counts.n_real == 0) != (counts.n_fake == 0)


def comparison_record(row: ComparisonRow) -> dict[str, Cell]:
    """Return a row of the comparison table by column; as published, F1 is empty without TP."""
    counts = row.counts
    names = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy")
    rates = (_rate(name, counts) if name != "f1" or counts.tp else None for name in names)
    cells = (row.model, row.dataset, counts.n, counts.tp, counts.tn, counts.fp, counts.fn)
    return dict(zip(COMPARISON_COLUMNS, (*cells, *rates), strict=True))


def _summarize_one(
    one: Opened, threshold: float | None, runs: dict[Path, dict[str, Any] | None]
) -> Summary:
    predictions = one.predictions
    frame = predictions.frame.with_columns(decide(predictions, one.source, threshold))
    counted = frame.filter(is_scored(frame))
    counts = count_decisions(counted["target"], counted["pred_label"])
    n_lost, n_abstained = frame.height - counts.n, predictions.n_abstained
    name = predictions.detector
    row = ComparisonRow(
        name, predictions.dataset, counts, n_lost, n_abstained, _is_one_sided(one, runs)
    )
    return Summary(row, n_lost - n_abstained, one.source, n_abstained, predictions.notes)


def _is_one_sided(one: Opened, runs: dict[Path, dict[str, Any] | None]) -> bool:
    name = one.predictions.detector
    try:
        cards = find_cards(find_run(one, runs), name)
    except RunError:  # the counts do not depend on it
        cards = []
    return is_one_sided(name, cards[0] if cards else None)


def table_row(row: ComparisonRow) -> TableRow:
    """Return a row of the comparison table for ``metrics.json``."""
    record = comparison_record(row)
    values = {
        name: cell for name, cell in record.items() if isinstance(cell, float) or cell is None
    }
    by_lack = [name for name in NEED_BOTH_CLASSES if values[name] is not None]
    return TableRow(
        model=row.model,
        dataset=row.dataset,
        counts=row.counts,
        values=values,
        by_construction=by_lack if is_one_class(row.counts) else [],
        n_lost=row.n_lost,
        n_abstained=row.n_abstained,
    )


def write_published_tables(predictions: Predictions, folder: Path) -> list[Path]:
    """Write SONICS's summary and partition tables, if of its detectors, and return their paths."""
    if "sonics-" not in predictions.detector:
        return []
    frame = predictions.frame
    rows = frame.filter(is_scored(frame)).with_columns(*partition_columns(frame))
    names = {"acc": "accuracy", "f1": "f1", "sens": "recall", "spec": "specificity"}
    counts = count_decisions(rows["target"], rows["pred_label"])
    rates = {column: _rate(name, counts) for column, name in names.items()}
    summary: dict[str, Cell] = {"model": predictions.detector, "loss": _loss(rows), **rates}
    tables = {"test_summary.csv": [summary], "test_partition_results.csv": _partitions(rows)}
    written = []
    for name, lines in tables.items():
        if lines:
            with atomic_write(folder / name) as temporary:
                pl.DataFrame(lines, infer_schema_length=None).write_csv(temporary)
            written.append(folder / name)
    return written


def _partitions(rows: pl.DataFrame) -> list[dict[str, Cell]]:
    found: list[dict[str, Cell]] = []
    for partition, metric in HEADLINES.items():
        column = f"sonics:{partition}"
        for (value,), part in (
            rows.drop_nulls(column).sort(column).group_by(column, maintain_order=True)
        ):
            counts = count_decisions(part["target"], part["pred_label"])
            found.append(
                {
                    "partition": partition,
                    "value": str(value),
                    "metric": metric,
                    "result": _rate(metric, counts),
                    "n": part.height,
                }
            )
    return found


def _loss(rows: pl.DataFrame) -> float | None:
    """Return the mean binary cross-entropy; ``None`` without logits."""
    logits, targets = rows["logit"].to_list(), rows["target"].to_list()
    if not logits or None in logits:
        return None
    margins = [z if target else -z for z, target in zip(logits, targets, strict=True)]
    return math.fsum(max(-z, 0) + math.log1p(math.exp(-abs(z))) for z in margins) / len(margins)


def _rate(name: str, counts: Counts) -> float | None:
    rate = measure_counts(name, counts)
    return None if math.isnan(rate) else rate


NO_GROUPS = "no interval: the tracks of files are unknown"
NO_SCORES = "needs scores, which a comparison table lacks"
_NOTES = (
    "These metrics are computed from the counts of a comparison table. Without scores there are no "
    "curves, no AUROC and no calibration; without rows no file can be named.",
    "There are no intervals: they are over tracks, and the tracks of files are unknown. Intervals "
    "that assume independent files would be too narrow.",
    "Metrics of both classes are computed for each set of reals alone with each set of fakes "
    "alone. Precision, F1 and accuracy there depend on the sizes of the two sets.",
)


def evaluate_counts(rows: Sequence[ComparisonRow], *, source: str | Path) -> Metrics:
    """Compute metrics from a comparison table with at most one row per model and dataset.

    Slices are the datasets, and each set of reals with each set of fakes.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    sided = {row.model for row in rows if row.one_sided}
    slices = [part for model in models for part in _slices([r for r in rows if r.model == model])]
    datasets = {row.dataset: row.counts for row in reversed(rows)}
    path = Path(source)
    digest = sha256_of(path) if path.exists() else None
    return Metrics(
        basis="counts",
        metrics=labels(),
        detectors=[DetectorInfo(name=model, one_sided=model in sided) for model in models],
        manifests=[
            ManifestInfo(name=name, n_items=c.n, n_real=c.n_real, n_fake=c.n_fake)
            for name, c in sorted(datasets.items())
        ],
        slices=slices,
        table=[table_row(row) for row in rows],
        notes=list(_NOTES),
        provenance=Provenance(
            earwitness=__version__,
            python=platform.python_version(),
            libraries={},
            sources=[
                Source(
                    path=str(path),
                    sha256=digest,
                    detector=row.model,
                    dataset=row.dataset,
                    n_rows=row.counts.n,
                )
                for row in rows
            ],
            settings=Settings(n_resamples=0),
        ),
    )


def _slices(rows: Sequence[ComparisonRow]) -> list[Slice]:
    """Return the datasets of one detector, then its sets of reals with its sets of fakes."""
    by_set = [_slice(row, "dataset", {"dataset": row.dataset}) for row in rows]
    reals = [row for row in rows if row.counts.n_real and not row.counts.n_fake]
    fakes = [row for row in rows if row.counts.n_fake and not row.counts.n_real]
    crossed = [_crossed(real, fake) for real in reals for fake in fakes]
    return by_set + crossed


def _crossed(real: ComparisonRow, fake: ComparisonRow) -> Slice:
    counts = Counts(tp=fake.counts.tp, tn=real.counts.tn, fp=real.counts.fp, fn=fake.counts.fn)
    name = f"{real.dataset} × {fake.dataset}"
    lost = real.n_lost + fake.n_lost, real.n_abstained + fake.n_abstained
    other = dict.fromkeys(("generator", "fake_corpus"), fake.dataset)
    keys = {"real_corpus": real.dataset} | other
    return _slice(ComparisonRow(real.model, name, counts, *lost), "grid", keys)


def _slice(row: ComparisonRow, kind: SliceKind, keys: dict[str, str]) -> Slice:
    counts = row.counts
    return Slice(
        detector=row.model,
        kind=kind,
        name=row.dataset,
        keys=keys,
        coverage=Coverage(
            n_items=counts.n + row.n_lost,
            n_scored=counts.n,
            n_abstained=row.n_abstained,
            n_failed=row.n_lost - row.n_abstained,
            n_missing=0,
            n_real=counts.n_real,
            n_fake=counts.n_fake,
            n_real_lost=0,
            n_fake_lost=0,
            n_groups=0,
            n_groups_real=0,
            n_groups_fake=0,
        ),
        counts=counts,
        estimates={name: _estimate(name, counts) for name in labels()},
        no_curves="curves need scores, which a comparison table lacks",
    )


def _estimate(name: str, counts: Counts) -> Estimate:
    if name not in METRICS or METRICS[name].needs != "decision":
        return Estimate(n_items=counts.n, reason=NO_SCORES)
    parts = {
        "recall": counts.n_fake,
        "specificity": counts.n_real,
        "precision": counts.tp + counts.fp,
    }
    n_items = parts.get(name, counts.n)
    reason = _why_undefined(name, counts)
    if reason is not None:
        return Estimate(n_items=n_items, reason=reason)
    return Estimate(value=measure_counts(name, counts), n_items=n_items, reason=NO_GROUPS)


def _why_undefined(name: str, counts: Counts) -> str | None:
    if counts.n == 0:
        return "no items"
    one_class = not counts.n_real or not counts.n_fake
    needed = {"accuracy": counts.n, "recall": counts.n_fake, "specificity": counts.n_real}
    if one_class and not needed.get(name, 0):
        return f"only {'fakes' if counts.n_fake else 'reals'} in this set"
    return METRICS[name].undefined if math.isnan(measure_counts(name, counts)) else None
