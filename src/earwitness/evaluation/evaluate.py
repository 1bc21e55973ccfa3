"""From predictions to ``Metrics``: figures with intervals, slice by slice, and remarks.

Conventions: rows without a score are in no figure and are counted beside each; intervals are over
groups; the same predictions and seed give the same file.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from earwitness import __version__
from earwitness.core.files import sha256_of
from earwitness.core.metrics import (
    Check,
    DetectorInfo,
    ManifestInfo,
    Metrics,
    Mistake,
    Provenance,
    Settings,
    Slice,
    Source,
    TableRow,
)
from earwitness.core.predictions import Predictions
from earwitness.core.results import ComparisonRow
from earwitness.evaluation.checks import check
from earwitness.evaluation.coverage import cover
from earwitness.evaluation.curves import draw_curves
from earwitness.evaluation.cuts import Cut, cut
from earwitness.evaluation.figures import METRICS, count, estimate_all
from earwitness.evaluation.rows import gather, items_of, once
from earwitness.evaluation.sources import Opened, open_sources
from earwitness.evaluation.summarize import (
    NEED_BOTH_CLASSES,
    check_threshold,
    comparison_record,
    is_one_class,
)
from earwitness.metrics.bootstrap import N_RESAMPLES

LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy")
N_WORST = 10

BALANCED_PRIOR = (
    "Cllr and actDCF take the negative logit for the log-likelihood ratio of real against fake, "
    "which holds only for a detector trained on as many reals as fakes."
)


def evaluate(
    predictions: Sequence[str | Path | Predictions],
    *,
    audit: dict[str, Any] | None = None,
    seed: int = 0,
    by: Sequence[str] | None = None,
    threshold: float | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Metrics:
    """Say what predictions are worth.

    Args:
        predictions: Prediction files, folders that are searched for them, or predictions.
        audit: An audit of what was judged, kept word for word.
        seed: Where resampling and shuffles start.
        by: Columns of the manifest to cut slices by, beside those that are always made.
        threshold: ``pred_prob`` from which on an item is called fake; ``None`` takes the labels
            as they stand in the predictions.
        n_resamples: Resamples of the group bootstrap.

    Returns:
        Figures of each detector overall, by dataset, corpus and generator, for each real corpus
        against each generator, and by the columns asked for.

    Raises:
        UsageError: No predictions, two of the same detector and dataset, a threshold that is not
            from 0 to 1, or a column that no file has.
        PredictionsError: A file is not what it should be, or has labels alone and a threshold was
            given.
    """
    check_threshold(threshold)
    rule = "file" if threshold is None else f"{threshold:g}"
    settings = Settings(seed=seed, n_resamples=n_resamples, threshold=rule, by=list(by or []))
    opened = open_sources(predictions)
    frame = gather(opened, by=settings.by, threshold=threshold)
    detectors = frame.partition_by("detector", maintain_order=True)
    slices = [_slice(rows, one, settings) for rows in detectors for one in cut(rows, settings.by)]
    overall = {part.detector: part for part in slices if part.kind == "overall"}
    checks = [
        found
        for rows in detectors
        for found in _checks(rows, overall[rows["detector"][0]], settings)
    ]
    return Metrics(
        basis="scores" if frame["logit"].count() or frame["pred_prob"].count() else "labels",
        metrics=METRICS,
        detectors=[_describe(rows) for rows in detectors],
        manifests=list(_manifests(frame)),
        slices=slices,
        table=_table(slices),
        checks=checks,
        notes=_notes(frame),
        audit=audit,
        provenance=_provenance(opened, settings),
    )


def _slice(rows: pl.DataFrame, one: Cut, settings: Settings) -> Slice:
    items = items_of(one.rows)
    drawn = draw_curves(items, one.kind, settings)
    return Slice(
        detector=rows["detector"][0],
        kind=one.kind,
        name=one.name,
        keys=one.keys,
        coverage=cover(one.rows),
        counts=count(items),
        estimates=estimate_all(items, settings),
        curves=drawn.curves,
        no_curves=drawn.no_curves,
        histograms=drawn.histograms,
        reliability=drawn.reliability,
    )


def _checks(rows: pl.DataFrame, overall: Slice, settings: Settings) -> Iterator[Check]:
    auroc = overall.estimates["auroc"]
    yield from check(overall.detector, once(rows), auroc, seed=settings.seed)


def _describe(rows: pl.DataFrame) -> DetectorInfo:
    items = once(rows).filter(pl.col("state") == "scored")
    prob = pl.coalesce("logit", "pred_prob")
    alarms = items.filter(target=0, pred_label=1).sort(prob, descending=True).head(N_WORST)
    misses = items.filter(target=1, pred_label=0).sort(prob).head(N_WORST)
    return DetectorInfo(
        name=rows["detector"][0],
        preprocessing=_only(rows["preprocessing"]),
        windows=_only(rows["windows"]),
        worst_false_alarms=[_mistake(row) for row in alarms.iter_rows(named=True)],
        worst_misses=[_mistake(row) for row in misses.iter_rows(named=True)],
    )


def _mistake(row: dict[str, Any]) -> Mistake:
    told = {name: row[name] for name in ("dataset", "target", "pred_prob", "logit", "corpus")}
    generator = row["generator"] if row["target"] == 1 else None
    return Mistake(filepath=row["filepath"] or "", generator=generator, **told)


def _only(values: pl.Series) -> str | None:
    """Return what all rows say that say anything; ``None`` where they differ."""
    found = values.drop_nulls().unique()
    return str(found[0]) if len(found) == 1 else None


def _manifests(frame: pl.DataFrame) -> Iterator[ManifestInfo]:
    for rows in frame.unique(["dataset", "item"], maintain_order=True).partition_by(
        "dataset", maintain_order=True
    ):
        n_fake = int(rows["target"].sum())
        n_real = rows.height - n_fake
        yield ManifestInfo(
            name=rows["dataset"][0], n_items=rows.height, n_real=n_real, n_fake=n_fake
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


def _table(slices: Sequence[Slice]) -> list[TableRow]:
    return [
        table_row(
            ComparisonRow(part.detector, part.name, part.counts),
            n_lost=part.coverage.n_failed + part.coverage.n_missing,
        )
        for part in slices
        if part.kind == "dataset" and part.counts
    ]


def _notes(frame: pl.DataFrame) -> list[str]:
    notes = [BALANCED_PRIOR]
    alone = frame.filter(~pl.col("has_group"))["item"].n_unique()
    if alone:
        notes.insert(
            0,
            f"{alone} items have no group_id and were taken for groups of their own: intervals "
            "are too narrow where such items share a track.",
        )
    return notes


def _provenance(opened: Sequence[Opened], settings: Settings) -> Provenance:
    hashes = {one.path: sha256_of(one.path) for one in opened if one.path is not None}
    sources = [
        Source(
            path=one.source,
            sha256=hashes[one.path] if one.path is not None else None,
            detector=one.predictions.detector,
            dataset=one.predictions.dataset,
            n_rows=one.predictions.frame.height,
        )
        for one in opened
    ]
    return Provenance(
        earwitness=__version__,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        sources=sources,
        settings=settings,
    )
