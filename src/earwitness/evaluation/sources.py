"""Prediction files as they were opened, and the runs that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import PredictionsError, RunError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.manifest import PUBLISHED_COLUMNS, Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.evaluation.identity import identify, item_keys
from earwitness.evaluation.repeats import Aggregate, one_row_each
from earwitness.scoring.asvspoof import holds_labels, is_score_file, read_scores
from earwitness.scoring.prediction_files import find_predictions, read_predictions
from earwitness.scoring.run_folder import RUN_JSON, read_run

_ORDER = {"scored": 0, "abstained": 1, "failed": 2, "missing": 3}


def deduplicate(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every item once, whatever datasets it stands in: a scored row where there is one."""
    order = pl.col("state").replace_strict(_ORDER)
    first = frame.with_row_index("_row").sort(order, "_row")
    kept = first.unique(["detector", "item", "target"], keep="first", maintain_order=True)
    return kept.sort("_row").drop("_row")


def open_sources(
    sources: Sequence[str | Path | Predictions],
    *,
    model: str | None = None,
    dataset: str | None = None,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
) -> list[Opened]:
    """Open predictions, in the order given.

    Args:
        sources: Prediction files, folders that are searched for them, or predictions.
        model: Name of who judged, in place of those that the sources tell.
        dataset: Name of what was judged, likewise.
        key: The key file of those sources that are ASVspoof score files.
        aggregate: How several rows of one file become one; ``None`` refuses them.

    Raises:
        UsageError: Two would go by the same detector and dataset, or a score file has no key.
        PredictionsError: A file is not what it should be, or has several rows for one item.
    """
    opened: list[Opened] = []
    for source in sources:
        if isinstance(source, Predictions):
            named = replace(
                source, dataset=dataset or source.dataset, detector=model or source.detector
            )
            opened.append(Opened(named, f"{named.detector} on {named.dataset}"))
            continue
        path = Path(source)
        if path.is_file() and is_score_file(path):
            opened.append(_open_scores(path, key, model, dataset))
            continue
        for file in find_predictions(path) if path.is_dir() else [path]:
            found = read_predictions(file, dataset=dataset, detector=model)
            opened += [Opened(predictions, str(file), file) for predictions in found]
    _refuse_twins(opened)
    return _settled(opened, aggregate)


def _settled(opened: Sequence[Opened], aggregate: Aggregate | None) -> list[Opened]:
    """Return sources with one row for each item."""
    try:
        roots = find_roots(opened)
    except RunError:  # it concerns where files are, and is raised where more depends on it
        roots = [[] for _ in opened]
    settled = []
    for one, folders in zip(opened, roots, strict=True):
        items = identify(item_keys(one.predictions, folders))["item"]
        whole = one_row_each(one.predictions, items, source=one.source, aggregate=aggregate)
        settled.append(replace(one, predictions=whole))
    return settled


def source_notes(opened: Iterable[Opened]) -> list[str]:
    """Return what the readers of sources noted, each once."""
    return list(dict.fromkeys(note for one in opened for note in one.predictions.notes))


def _open_scores(
    path: Path, key: str | Path | None, model: str | None, dataset: str | None
) -> Opened:
    if key is None and not holds_labels(path):
        raise UsageError(f"{path}: an ASVspoof score file, expected a key file with it (--key)")
    found = read_scores(path, key, dataset=dataset, detector=model)
    return Opened(found, str(path), path, Path(path if key is None else key))


def _refuse_twins(opened: Iterable[Opened]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for one in opened:
        key = (one.predictions.detector, one.predictions.dataset)
        if key in seen:
            raise UsageError(
                f"{one.source}: model {key[0]!r} on dataset {key[1]!r} again, after "
                f"{seen[key]}; expected one file for each, or names given one file at a time"
            )
        seen[key] = one.source


@dataclass(frozen=True)
class Opened:
    """Predictions and where they came from.

    Attributes:
        predictions: Rows of one detector on one dataset.
        source: The prediction file, or names where the predictions came from memory.
        path: The file; ``None`` for predictions from memory.
        key: The key file that tells the truth of an ASVspoof score file.
    """

    predictions: Predictions
    source: str
    path: Path | None = None
    key: Path | None = None


def check_threshold(threshold: float | None) -> None:
    """Check a decision threshold.

    Raises:
        UsageError: It is not from 0 to 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold:g}, expected a number from 0 to 1")


def is_scored(frame: pl.DataFrame) -> pl.Expr:
    """Return which rows of a prediction table have a score that counts."""
    reasons = [name for name in ("abstained", "error") if name in frame.columns]
    return pl.all_horizontal(pl.col("pred_label").is_not_null(), pl.col(reasons).is_null())


def decide(predictions: Predictions, source: str, threshold: float | None) -> pl.Expr:
    """Return the decisions, ``pred_label``: the file's own, or anew from a threshold up.

    Raises:
        PredictionsError: A threshold, and labels alone.
    """
    frame, label = predictions.frame, pl.col("pred_label")
    if threshold is None:
        return label
    if frame["pred_prob"].count() == 0 and frame["pred_label"].count():
        raise PredictionsError(
            f"{source}: labels alone, expected pred_prob or y_pred to decide at {threshold:g}"
        )
    return (pl.col("pred_prob") >= threshold).cast(pl.Int8).alias("pred_label")


@dataclass(frozen=True)
class Origins:
    """What is known of where predictions come from.

    Attributes:
        digests: Dataset → digest of its manifest.
        roots: Dataset → folders that its relative paths start from.
        cards: Detector → its card.
        notes: What runs contradict each other in.
    """

    digests: dict[str, str] = field(default_factory=dict)
    roots: dict[str, list[str]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def trace(opened: Sequence[Opened]) -> Origins:
    """Return what run folders, or the predictions themselves, tell.

    Raises:
        RunError: A ``run.json`` cannot be read as one.
    """
    digests: dict[str, list[str]] = {}
    cards: dict[str, list[dict[str, Any]]] = {}
    origins = Origins()
    known: dict[Path, dict[str, Any] | None] = {}
    for one in opened:
        dataset, detector = one.predictions.dataset, one.predictions.detector
        run = _run_of(one, known)
        judged = _manifest_of(run, dataset) if run else None
        digest = judged.get("digest") if judged else digest_of(one.predictions)
        digests.setdefault(dataset, []).extend([digest] if digest else [])
        if judged:
            seen = origins.roots.setdefault(dataset, [])
            seen += [root for root in judged.get("roots", []) if root not in seen]
        told = (card for card in (run or {}).get("detectors", []) if card.get("name") == detector)
        cards.setdefault(detector, []).extend(told)
    _keep_agreed("manifest", digests, origins.digests, origins.notes)
    _keep_agreed("card", cards, origins.cards, origins.notes)
    return origins


def find_roots(opened: Sequence[Opened]) -> list[list[str]]:
    """Return the folders that relative paths of each start from, as run folders say it.

    Raises:
        RunError: A ``run.json`` cannot be read as one.
    """
    known: dict[Path, dict[str, Any] | None] = {}
    found = []
    for one in opened:
        run = _run_of(one, known)
        judged = _manifest_of(run, one.predictions.dataset) if run else None
        found.append([str(root) for root in (judged or {}).get("roots", [])])
    return found


def digest_of(predictions: Predictions) -> str | None:
    """Return the digest of the manifest whose columns predictions hold; ``None`` if they do not."""
    frame = predictions.frame
    if not set(PUBLISHED_COLUMNS) <= set(frame.columns):
        return None
    added = {*PREDICTION_COLUMNS, *encoder_columns(frame.columns)}
    own = [name for name in frame.columns if name not in added]
    return Manifest(predictions.dataset, frame.select(own)).digest


def _run_of(one: Opened, known: dict[Path, dict[str, Any] | None]) -> dict[str, Any] | None:
    if one.path is None:
        return None
    folder = one.path.absolute().parent.parent
    if folder.name != "preds":
        return None
    path = folder.parent / RUN_JSON
    if path not in known:
        known[path] = read_run(path)
    return known[path]


def _manifest_of(run: dict[str, Any], dataset: str) -> dict[str, Any] | None:
    for name, told in run["manifests"].items():
        if dataset in (name, file_stem(name)) and isinstance(told, dict):
            return dict(told)
    return None


def _keep_agreed(
    what: str, told: dict[str, list[Any]], agreed: dict[str, Any], notes: list[str]
) -> None:
    for name, values in told.items():
        if _all_alike(values):
            agreed[name] = values[0]
        elif values:
            notes.append(f"{name}: the sources tell of different {what}s by this name.")


def _all_alike(values: Iterable[Any]) -> bool:
    values = list(values)
    return bool(values) and all(value == values[0] for value in values)
