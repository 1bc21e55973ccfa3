"""From predictions to ``Metrics``: metrics with intervals, slice by slice, and notes.

Conventions: rows without a score are in no metric, and their number is reported; intervals are over
groups; nothing is fitted on rows that are reported on; the same predictions and seed give the same
file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from earwitness.audit.schema import AuditReport
from earwitness.core.errors import UsageError
from earwitness.core.estimate import ComparisonRow
from earwitness.core.predictions import Predictions
from earwitness.evaluation.calibration import Fitted, Fitting, Method, calibrations, fit
from earwitness.evaluation.checks import check, check_audit, is_of, list_baselines
from earwitness.evaluation.estimates import count, draw_curves, estimate_all, labels
from earwitness.evaluation.identity import Aggregate, deduplicate, describe_relabelled
from earwitness.evaluation.operating import operating_point
from earwitness.evaluation.provenance import describe, manifest_infos, provenance, trace
from earwitness.evaluation.rows import Inputs, gather_sides, items_of, open_sources, source_notes
from earwitness.evaluation.schema import Check, Metrics, OperatingPoint, Settings
from earwitness.evaluation.slice_schema import Slice, TableRow
from earwitness.evaluation.slices import Cut, cover, cut
from earwitness.evaluation.summarize import (
    table_row,
)
from earwitness.evaluation.thresholds import Rule, parse_rule, transfers
from earwitness.metrics.bootstrap import N_RESAMPLES
from earwitness.metrics.intervals import CONFIDENCE
from earwitness.metrics.sample import ASVSPOOF5, Costs

BALANCED_PRIOR = (
    "Cllr and actDCF take the negative logit for the log-likelihood ratio of real against fake, "
    "which holds only for a detector trained on as many reals as fakes."
)


def evaluate(
    predictions: Sequence[str | Path | Predictions],
    *,
    audit: AuditReport | None = None,
    seed: int = 0,
    by: Sequence[str] | None = None,
    threshold: float | str | None = None,
    calibration: Sequence[str | Path | Predictions] | None = None,
    calibrate: Method | None = None,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
    confidence: float = CONFIDENCE,
    costs: Costs = ASVSPOOF5,
    n_resamples: int = N_RESAMPLES,
) -> Metrics:
    """Compute metrics with confidence intervals, per slice.

    Args:
        predictions: Prediction files, folders that are searched for them, ASVspoof score files, or
            predictions.
        audit: An audit to be included; a check says whether it is of these manifests, and its
            metadata-only baselines are shown where it is.
        seed: Seed of resampling and of the halves.
        by: Columns of the manifest to cut slices by, beside those that are always made.
        threshold: ``pred_prob`` from which on an item is called fake, or how to choose it:
            ``eer``, ``fpr=0.01``, ``cost``, ``cost=10``; ``None`` takes the labels of the files.
        calibration: Predictions of the same detectors to choose the threshold and to calibrate
            on; without them one half of the groups serves and the other half is reported on.
        calibrate: Fit probabilities to the calibration rows; metrics are after it.
        key: The key file with the labels of ASVspoof score files.
        aggregate: How several rows of one file become one item: ``mean`` or ``max``; ``None``
            refuses them.
        confidence: Level of the intervals.
        costs: Prior and costs of minDCF, actDCF and the rule ``cost``.
        n_resamples: Resamples of the group bootstrap.

    Returns:
        Metrics of each detector overall, by dataset, corpus and generator, for each real corpus
        against each generator, by the partitions of SONICS, and by the columns asked for;
        operating points and what thresholds do on other corpora.

    Raises:
        UsageError: No predictions, two of the same detector and dataset, an unknown rule, a
            column that no file has, or nothing to fit on.
        PredictionsError: A file is not what it should be, has several rows for one item, or labels
            alone and a threshold was given.
        RunError: A run folder's ``run.json`` cannot be read.
    """
    rule, names = parse_rule(threshold), labels()
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence}, expected a number between 0 and 1")
    settings = Settings(
        confidence=confidence,
        seed=seed,
        n_resamples=n_resamples,
        threshold=str(rule),
        calibrate=calibrate,
        by=list(by or []),
        aggregate=aggregate,
        **vars(costs),
    )
    opened = open_sources(predictions, key=key, aggregate=aggregate)
    fitted_on = open_sources(calibration or [], key=key, aggregate=aggregate)
    if fitted_on and not rule.is_fitted and calibrate is None:
        raise UsageError(
            "calibration predictions, expected a threshold or calibrate to fit on them"
        )
    sides = [Inputs(opened, settings.by, rule.score), *([Inputs(fitted_on)] if fitted_on else [])]
    frame, *rows_to_fit = gather_sides(*sides)
    fitting = fit(frame, rows_to_fit[0] if rows_to_fit else None, rule, settings)
    settings = settings.model_copy(update={"half": fitting.half})
    detectors = fitting.report.partition_by("detector", maintain_order=True)
    slices = _slices(detectors, fitting, rule, settings)
    overall = {part.detector: part for part in slices if part.kind == "overall"}
    origins = trace(opened)
    manifests = manifest_infos(frame, origins)
    return Metrics(
        basis="scores" if frame["logit"].count() or frame["pred_prob"].count() else "labels",
        metrics=names,
        detectors=[describe(rows, origins) for rows in detectors],
        manifests=manifests,
        slices=slices,
        table=_table(slices),
        operating_points=[_point(part, fitting, rule, settings) for part in overall.values()],
        transfers=list(transfers(fitting.calibrated, rule, settings)),
        calibrations=list(calibrations(fitting, settings)),
        checks=[
            *([] if audit is None else [check_audit(audit, manifests)]),
            *(found for rows in detectors for found in _checks(rows, overall)),
        ],
        notes=[
            *source_notes([*opened, *fitted_on]),
            *describe_relabelled(frame),
            *fitting.notes,
            *origins.notes,
            *_notes(fitting.report),
        ],
        audit=None if audit is None else audit.without_rows(),
        baselines=list_baselines(audit, slices) if audit and is_of(audit, manifests) else [],
        provenance=provenance(opened, fitted_on, settings),
    )


def _slices(
    detectors: Sequence[pl.DataFrame], fitting: Fitting, rule: Rule, settings: Settings
) -> list[Slice]:
    """Return the slices of all detectors, several at a time: each has a seed of its own."""
    given = {
        rows["detector"][0]: fitting.conditions(rows["detector"][0], rule, settings.calibrate)
        for rows in detectors
    }
    cuts = [(rows["detector"][0], one) for rows in detectors for one in cut(rows, settings.by)]
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda of: _slice(of[0], of[1], settings, given[of[0]]), cuts)
        return list(made)


def _slice(detector: str, one: Cut, settings: Settings, given: Mapping[str, str]) -> Slice:
    items = items_of(one.rows)
    drawn = draw_curves(items, one.kind, settings)
    return Slice(
        detector=detector,
        kind=one.kind,
        name=one.name,
        keys=one.keys,
        headline=one.headline,
        coverage=cover(one.rows),
        counts=count(items),
        estimates=estimate_all(items, settings, given),
        curves=drawn.curves,
        no_curves=drawn.no_curves,
        histograms=drawn.histograms,
        reliability=drawn.reliability,
    )


def _point(overall: Slice, fitting: Fitting, rule: Rule, settings: Settings) -> OperatingPoint:
    found = fitting.found.get(overall.detector, Fitted())
    return operating_point(overall, rule, found, fitting.where, settings)


def _checks(rows: pl.DataFrame, overall: Mapping[str, Slice]) -> Iterator[Check]:
    detector = rows["detector"][0]
    auroc = overall[detector].estimates["auroc"]
    yield from check(detector, deduplicate(rows), auroc)


def _table(slices: Sequence[Slice]) -> list[TableRow]:
    return [
        table_row(
            ComparisonRow(part.detector, part.name, part.counts),
            n_lost=part.coverage.n_lost,
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
    named = frame.filter(pl.col("group").str.starts_with("track:"))["item"].n_unique()
    if named:
        notes.insert(
            0,
            f"{named} items have no group_id; their groups are the tracks, songs and captions that "
            "their file names give.",
        )
    return notes
