"""Comparison tables: made from predictions, evaluated on their own, and SONICS's published ones.

Conventions: fake is the positive class; rows without a score are not counted, and their number is
reported; an undefined rate is ``None``. Counts alone give no curves, and no intervals, since these
are over groups. Sets of reals alone are crossed with sets of fakes alone, for metrics of both.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness import __version__
from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts, Estimate
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.predictions import Predictions
from earwitness.evaluation.estimates import labels
from earwitness.evaluation.identity import Aggregate
from earwitness.evaluation.rows import (
    check_threshold,
    decide,
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

SUMMARY_CSV = "test_summary.csv"
PARTITIONS_CSV = "test_partition_results.csv"
_SONICS = "sonics-"

NEED_BOTH_CLASSES = ("precision_fake", "f1_fake")
"""Columns that the published table fills for one class, too, where that alone decides them."""

_RATES = ("accuracy", "precision", "recall", "specificity", "f1", "balanced_accuracy")

Cell = str | int | float | None
"""A cell of the comparison table; ``None`` is undefined."""


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


def table_row(row: ComparisonRow, *, n_lost: int) -> TableRow:
    """Return a row of the comparison table, with what one class alone decides named."""
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
        n_lost=n_lost,
    )


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
    counts = count_decisions(rows["target"], rows["pred_label"])
    return {
        "model": model,
        "loss": _loss(rows),
        "acc": _defined(measure_counts("accuracy", counts)),
        "f1": _defined(measure_counts("f1", counts)),
        "sens": _defined(measure_counts("recall", counts)),
        "spec": _defined(measure_counts("specificity", counts)),
    }


def _partitions(rows: pl.DataFrame) -> list[dict[str, str | float | int | None]]:
    found: list[dict[str, str | float | int | None]] = []
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
                    "result": _defined(measure_counts(metric, counts)),
                    "n": part.height,
                }
            )
    return found


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
    with atomic_write(path) as temporary:
        pl.DataFrame(rows, infer_schema_length=None).write_csv(temporary)
    return path


NO_GROUPS = "no interval: counts do not tell which files share a track"
NO_SCORES = "takes scores, and a comparison table has counts alone"
NO_CURVES = "curves take scores, and a comparison table has counts alone"
_NOTES = (
    "These figures are made from the counts of a comparison table. Without scores there are no "
    "curves, no AUROC and no calibration; without the rows no file can be named.",
    "There are no intervals: they are over tracks, and counts do not tell which files share one. "
    "Intervals that take every file for independent would be too narrow, so none are given.",
    "Figures that take reals and fakes are crossed: a set of reals alone against a set of fakes "
    "alone. Precision, F1 and accuracy there depend on how large the two sets happen to be.",
)


def evaluate_counts(rows: Sequence[ComparisonRow], *, source: str | Path) -> Metrics:
    """Compute metrics from the counts of a comparison table.

    Args:
        rows: Rows of the table, no two of the same model and data set.
        source: The file they come from.

    Returns:
        Metrics of each detector by data set, and of each set of reals against each set of fakes.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    slices = [part for model in models for part in _slices([r for r in rows if r.model == model])]
    datasets = {row.dataset: row.counts for row in reversed(rows)}
    return Metrics(
        basis="counts",
        metrics=labels(),
        detectors=[DetectorInfo(name=model) for model in models],
        manifests=[
            ManifestInfo(name=name, n_items=c.n, n_real=c.n_real, n_fake=c.n_fake)
            for name, c in sorted(datasets.items())
        ],
        slices=slices,
        table=[table_row(row, n_lost=0) for row in rows],
        notes=list(_NOTES),
        provenance=_provenance(rows, Path(source)),
    )


def _slices(rows: Sequence[ComparisonRow]) -> list[Slice]:
    """Return the data sets of one detector, then its sets of reals against its sets of fakes."""
    by_set = [_slice(row, "dataset", {"dataset": row.dataset}) for row in rows]
    reals = [row for row in rows if row.counts.n_real and not row.counts.n_fake]
    fakes = [row for row in rows if row.counts.n_fake and not row.counts.n_real]
    crossed = [_crossed(real, fake) for real in reals for fake in fakes]
    return by_set + crossed


def _crossed(real: ComparisonRow, fake: ComparisonRow) -> Slice:
    counts = Counts(tp=fake.counts.tp, tn=real.counts.tn, fp=real.counts.fp, fn=fake.counts.fn)
    name = f"{real.dataset} × {fake.dataset}"
    keys = {
        "real_corpus": real.dataset,
        "generator": fake.dataset,
        "fake_corpus": fake.dataset,
    }
    return _slice(ComparisonRow(real.model, name, counts), "grid", keys)


def _slice(row: ComparisonRow, kind: SliceKind, keys: dict[str, str]) -> Slice:
    counts = row.counts
    return Slice(
        detector=row.model,
        kind=kind,
        name=row.dataset,
        keys=keys,
        coverage=Coverage(
            n_items=counts.n,
            n_scored=counts.n,
            n_failed=0,
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
        no_curves=NO_CURVES,
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


def _provenance(rows: Sequence[ComparisonRow], path: Path) -> Provenance:
    digest = sha256_of(path) if path.is_file() else None
    return Provenance(
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
    )
