"""Compute metrics of predictions: slices, operating points, checks and provenance.

Conventions: unscored rows are excluded from every metric, and their number is reported. Intervals
are over groups. The same predictions and seed give the same file.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import polars as pl

from earwitness import __version__
from earwitness.audit.schema import AuditReport
from earwitness.core.errors import UsageError
from earwitness.core.estimate import ComparisonRow
from earwitness.core.io import sha256_of
from earwitness.core.manifest import PUBLISHED_COLUMNS, Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.core.remote import shown_name
from earwitness.core.segments import SEGMENTS
from earwitness.evaluation.calibration import Fitting, fit, list_calibrations
from earwitness.evaluation.checks import check_audit, check_rows, is_of, list_baselines
from earwitness.evaluation.estimates import count, estimate_all, labels, make_charts
from earwitness.evaluation.flagged import list_flagged
from earwitness.evaluation.identity import Aggregate, deduplicate, describe_relabelled
from earwitness.evaluation.localisation import has_segments, localise
from earwitness.evaluation.rows import (
    Inputs,
    Opened,
    answers_of,
    find_cards,
    find_manifest,
    find_run,
    is_one_sided,
    items_of,
    load_rows,
    open_sources,
    source_notes,
)
from earwitness.evaluation.schema import (
    CalibrationMethod,
    DetectorInfo,
    ManifestInfo,
    Metrics,
    Mistake,
    Provenance,
    Settings,
    Source,
)
from earwitness.evaluation.slices import RowSlice, Slice, count_rows, slice_rows
from earwitness.evaluation.strata import list_strata
from earwitness.evaluation.summarize import table_row
from earwitness.evaluation.thresholds import (
    FittedThreshold,
    Rule,
    operating_point,
    parse_rule,
    threshold_transfers,
)
from earwitness.metrics.intervals import CONFIDENCE
from earwitness.metrics.resampling import N_RESAMPLES
from earwitness.metrics.sample import ASVSPOOF5, Costs


def evaluate(
    predictions: Sequence[str | Path | Predictions],
    *,
    audit: AuditReport | None = None,
    seed: int = 0,
    by: Sequence[str] | None = None,
    threshold: float | str | None = None,
    within: Sequence[str] | None = None,
    calibration: Sequence[str | Path | Predictions] | None = None,
    calibrate: CalibrationMethod | None = None,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
    confidence: float = CONFIDENCE,
    costs: Costs = ASVSPOOF5,
    n_resamples: int = N_RESAMPLES,
) -> Metrics:
    """Compute metrics with confidence intervals, per slice.

    Args:
        predictions: Prediction files, folders of them, ASVspoof score files, or predictions.
        audit: An audit to include. Its metadata-only baselines are shown if it is of exactly these
            manifests.
        seed: Random seed of resampling and of the calibration half.
        by: Further columns of the manifest to slice by.
        threshold: Least ``pred_prob`` called fake, or a rule: ``eer``, ``fpr=0.01``,
            ``conformal=0.01``, ``cost``, ``cost=10``; ``None`` takes the labels of the files.
        within: Columns of the manifest; a threshold is fitted within each combination of values.
        calibration: Predictions of the same detectors to fit on. Without them, one half of the
            groups is used for the fit and the other half is reported.
        calibrate: Calibration method; metrics are computed after calibration.
        key: Key file with the labels of ASVspoof score files.
        aggregate: How several rows of one file become one item; ``None`` refuses them.
        confidence: Confidence level of the intervals.
        costs: Prior and costs of minDCF, actDCF and the rule ``cost``.
        n_resamples: Number of bootstrap resamples.

    Raises:
        UsageError: No predictions, two of one detector and dataset, an unknown rule or column, or
            no rows to fit on.
        PredictionsError: A file is malformed, has several rows for one item, or has labels alone
            although a threshold is given.
        RunError: The ``run.json`` of a run folder is malformed.
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
        within=list(within or []),
        by=list(dict.fromkeys([*(by or []), *(within or [])])),
        aggregate=aggregate,
        **vars(costs),
    )
    opened = open_sources(predictions, key=key, aggregate=aggregate)
    fitted_on = open_sources(calibration or [], key=key, aggregate=aggregate)
    if settings.within and not rule.is_fitted:
        raise UsageError(f"within {', '.join(settings.within)}, expected a threshold rule to fit")
    if fitted_on and not rule.is_fitted and calibrate is None:
        raise UsageError(
            "calibration predictions, expected a threshold or calibrate to fit on them"
        )
    columns = dict.fromkeys([*settings.by, *([SEGMENTS] if has_segments(opened) else [])])
    sides = [
        Inputs(opened, list(columns), rule.score),
        *([Inputs(fitted_on, settings.within)] if fitted_on else []),
    ]
    frame, *rows_to_fit = load_rows(*sides)
    fitting = fit(frame, rows_to_fit[0] if rows_to_fit else None, rule, settings)
    settings = settings.model_copy(update={"half": fitting.half})
    detectors = fitting.report.partition_by("detector", maintain_order=True)
    slices = _slices(detectors, fitting, rule, settings)
    overall = [part for part in slices if part.kind == "overall"]
    recorded = _read_metadata(opened)
    manifests = list(_manifests(frame, recorded))
    localisation, of_segments = localise(opened, frame, settings, rule.score)
    return Metrics(
        basis="scores" if frame["logit"].count() or frame["pred_prob"].count() else "labels",
        metrics=names,
        detectors=[_detector_info(rows, opened, recorded) for rows in detectors],
        manifests=manifests,
        slices=slices,
        table=[
            table_row(
                ComparisonRow(
                    part.detector,
                    part.name,
                    part.counts,
                    part.coverage.n_lost,
                    part.coverage.n_abstained,
                )
            )
            for part in slices
            if part.kind == "dataset" and part.counts
        ],
        operating_points=[
            operating_point(
                part,
                rule,
                fitting.thresholds.get(part.detector, FittedThreshold()),
                fitting.where,
                settings,
            )
            for part in overall
        ],
        transfers=list(threshold_transfers(fitting.calibrated, rule, settings)),
        localisation=localisation,
        strata=list(list_strata(fitting.report, fitting.thresholds, rule, settings)),
        calibrations=list(list_calibrations(fitting, settings)),
        checks=[
            *([] if audit is None else [check_audit(audit, manifests)]),
            *(
                found
                for rows, part in zip(detectors, overall, strict=True)
                for found in check_rows(part.detector, deduplicate(rows), part.estimates["auroc"])
            ),
        ],
        notes=[
            *source_notes([*opened, *fitted_on]),
            *describe_relabelled(frame),
            *fitting.notes,
            *recorded.notes,
            *_notes(fitting.report),
            *of_segments,
        ],
        audit=None if audit is None else audit.without_rows(),
        baselines=list_baselines(audit, slices) if audit and is_of(audit, manifests) else [],
        provenance=Provenance(
            earwitness=__version__,
            python=platform.python_version(),
            libraries={
                name: version(name) for name in ("numpy", "polars", "scikit-learn", "scipy")
            },
            sources=[*_sources(opened, "evaluation"), *_sources(fitted_on, "calibration")],
            settings=settings,
        ),
    )


def _slices(
    detectors: Sequence[pl.DataFrame], fitting: Fitting, rule: Rule, settings: Settings
) -> list[Slice]:
    """Return the slices of all detectors, computed in parallel threads."""

    def make(part: tuple[str, RowSlice]) -> Slice:
        detector, one = part
        given = fitting.conditions(detector, rule, settings.calibrate)
        return _slice(detector, one, settings, given)

    parts = [(r["detector"][0], one) for r in detectors for one in slice_rows(r, settings.by)]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(make, parts))


def _slice(detector: str, one: RowSlice, settings: Settings, given: Mapping[str, str]) -> Slice:
    items, coverage = items_of(one.rows), count_rows(one.rows)
    return Slice(
        detector=detector,
        kind=one.kind,
        name=one.name,
        keys=one.keys,
        headline=one.headline,
        coverage=coverage,
        counts=count(items),
        estimates=estimate_all(items, settings, given, answers_of(one.rows)),
        **make_charts(items, one.kind, settings, coverage.n_abstained),
    )


def _notes(frame: pl.DataFrame) -> list[str]:
    notes = []
    named = frame.filter(pl.col("group").str.starts_with("track:"))["item"].n_unique()
    if named:
        notes.append(
            f"{named} items have no group_id; their groups are the tracks, songs and captions in "
            "their file names."
        )
    alone = frame.filter(~pl.col("has_group"))["item"].n_unique()
    if alone:
        notes.append(
            f"{alone} items have no group_id and each is its own group: intervals are too narrow "
            "if such items share a track."
        )
    notes.append(
        "Cllr and actDCF take the negative logit as the log-likelihood ratio of real against fake, "
        "which holds only for a detector trained on as many reals as fakes."
    )
    return notes


def _detector_info(
    rows: pl.DataFrame, opened: Sequence[Opened], recorded: RunMetadata
) -> DetectorInfo:
    items = deduplicate(rows).filter(pl.col("state") == "scored")
    score = pl.coalesce("logit", "pred_prob")
    alarms = items.filter(target=0, pred_label=1).sort(score, descending=True).head(10)
    misses = items.filter(target=1, pred_label=0).sort(score).head(10)
    name = rows["detector"][0]
    card = recorded.cards.get(name)
    return DetectorInfo(
        name=name,
        preprocessing=_only(rows["preprocessing"]),
        windows=_only(rows["windows"]),
        weights_sha256=(card or {}).get("weights_sha256"),
        card=card,
        one_sided=is_one_sided(name, card),
        worst_false_alarms=[_mistake(row) for row in alarms.iter_rows(named=True)],
        worst_misses=[_mistake(row) for row in misses.iter_rows(named=True)],
        flagged=list_flagged(items, opened),
    )


def _only(values: pl.Series) -> str | None:
    """Return the only value besides nulls; ``None`` if values differ."""
    found = values.drop_nulls().unique()
    return str(found[0]) if len(found) == 1 else None


def _mistake(row: dict[str, Any]) -> Mistake:
    names = ("dataset", "target", "pred_prob", "logit", "corpus")
    return Mistake(
        filepath=shown_name(row["filepath"] or ""),
        generator=row["generator"] if row["target"] == 1 else None,
        **{name: row[name] for name in names},
    )


def _manifests(frame: pl.DataFrame, recorded: RunMetadata) -> Iterator[ManifestInfo]:
    for rows in frame.unique(["dataset", "item"], maintain_order=True).partition_by(
        "dataset", maintain_order=True
    ):
        name, n_fake = rows["dataset"][0], int(rows["target"].sum())
        yield ManifestInfo(
            name=name,
            digest=recorded.digests.get(name),
            n_items=rows.height,
            n_real=rows.height - n_fake,
            n_fake=n_fake,
            roots=recorded.roots.get(name, []),
        )


def _sources(
    opened: Sequence[Opened], role: Literal["evaluation", "calibration"]
) -> Iterator[Source]:
    paths = {path for one in opened for path in (one.path, one.key) if path is not None}
    hashes = {path: sha256_of(path) for path in paths}
    for one in opened:
        yield Source(
            path=one.source,
            sha256=hashes[one.path] if one.path is not None else None,
            detector=one.predictions.detector,
            dataset=one.predictions.dataset,
            n_rows=one.predictions.frame.height,
            role=role,
            key_sha256=hashes[one.key] if one.key is not None else None,
        )


@dataclass(frozen=True)
class RunMetadata:
    """Metadata in run folders, by dataset or detector, and notes on contradictions between runs."""

    digests: dict[str, str] = field(default_factory=dict)
    roots: dict[str, list[str]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _read_metadata(opened: Sequence[Opened]) -> RunMetadata:
    """Return the metadata recorded in run folders; digests also follow from predictions."""
    digests: dict[str, list[str]] = {}
    cards: dict[str, list[dict[str, Any]]] = {}
    recorded = RunMetadata()
    runs: dict[Path, dict[str, Any] | None] = {}
    for one in opened:
        dataset, detector = one.predictions.dataset, one.predictions.detector
        run = find_run(one, runs)
        manifest = find_manifest(run, dataset) if run else None
        digest = manifest.get("digest") if manifest else _digest_of(one.predictions)
        digests.setdefault(dataset, []).extend([digest] if digest else [])
        if manifest:
            seen = recorded.roots.setdefault(dataset, [])
            seen += [root for root in manifest.get("roots", []) if root not in seen]
        cards.setdefault(detector, []).extend(find_cards(run, detector))
    _keep_agreed("manifest", digests, recorded.digests, recorded.notes)
    _keep_agreed("card", cards, recorded.cards, recorded.notes)
    return recorded


def _digest_of(predictions: Predictions) -> str | None:
    """Return the digest of the manifest columns of predictions; ``None`` if any is missing."""
    frame = predictions.frame
    if not set(PUBLISHED_COLUMNS) <= set(frame.columns):
        return None
    added = {*PREDICTION_COLUMNS, *encoder_columns(frame.columns)}
    own = [name for name in frame.columns if name not in added]
    return Manifest(predictions.dataset, frame.select(own)).digest


def _keep_agreed(
    what: str, found: dict[str, list[Any]], agreed: dict[str, Any], notes: list[str]
) -> None:
    for name, values in found.items():
        if values and all(value == values[0] for value in values):
            agreed[name] = values[0]
        elif values:
            notes.append(f"{name}: the sources have different {what}s of this name.")
