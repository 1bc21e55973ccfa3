"""Predictions as they were opened, and all of them in one table: lost rows among them.

Conventions: one row a detector, dataset and item. ``item`` names the file, however its path is
spelled, or its place in the dataset where there is none; ``group`` holds what it is not independent
of, see ``identity``; ``state`` is ``scored``, ``abstained`` (nothing to analyse), ``failed`` (an
error in place of a score) or ``missing`` (only another detector has the item in this dataset).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from earwitness.core.errors import PredictionsError, RunError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.predictions import Predictions
from earwitness.core.registry import nearest
from earwitness.evaluation.identity import Aggregate, identify, item_keys, list_keys, one_row_each
from earwitness.evaluation.slices import partition_columns
from earwitness.metrics.sample import Items, logits, numbered
from earwitness.scoring.asvspoof import holds_labels, is_score_file, read_scores, write_scores
from earwitness.scoring.prediction_files import find_predictions, read_predictions
from earwitness.scoring.run_folder import RUN_JSON, read_run
from earwitness.splits.grouping import UNKNOWN


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
        model: Name of the detector, in place of the sources' own.
        dataset: Name of the dataset, likewise.
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
    """Return the decisions, ``pred_label``: the file's own, or those at a threshold.

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


def find_roots(opened: Sequence[Opened]) -> list[list[str]]:
    """Return the folders that relative paths of each start from, as run folders say it.

    Raises:
        RunError: A ``run.json`` cannot be read as one.
    """
    known: dict[Path, dict[str, Any] | None] = {}
    found = []
    for one in opened:
        run = find_run(one, known)
        judged = find_manifest(run, one.predictions.dataset) if run else None
        found.append([str(root) for root in (judged or {}).get("roots", [])])
    return found


def find_run(one: Opened, known: dict[Path, dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the ``run.json`` of the run that predictions are of; ``known`` caches files."""
    if one.path is None:
        return None
    folder = one.path.absolute().parent.parent
    if folder.name != "preds":
        return None
    path = folder.parent / RUN_JSON
    if path not in known:
        known[path] = read_run(path)
    return known[path]


def find_manifest(run: dict[str, Any], dataset: str) -> dict[str, Any] | None:
    """Return what ``run.json`` says of the manifest of a dataset."""
    for name, told in run["manifests"].items():
        if dataset in (name, file_stem(name)) and isinstance(told, dict):
            return dict(told)
    return None


_TEXTS = {"source_dataset": "corpus", "generator": "generator"}
_SAID = ("logit", "pred_prob", "pred_label", "abstained", "error", "preprocessing", "windows")
_TYPES: dict[str, type[pl.DataType]] = {
    "target": pl.Int64,
    "logit": pl.Float64,
    "pred_prob": pl.Float64,
    "pred_label": pl.Int64,
}


def load_rows(
    opened: Sequence[Opened], *, by: Sequence[str], threshold: float | None
) -> pl.DataFrame:
    """Return the rows of all predictions, and those that are missing.

    Args:
        opened: Predictions.
        by: Further columns to keep; a file without one has ``UNKNOWN`` there.
        threshold: Scores from here up are called fake; ``None`` takes the labels as they are.

    Returns:
        ``detector, dataset, item, filepath, target, corpus, generator, group, has_group, state``,
        ``logit, pred_prob, pred_label, abstained, error, preprocessing, windows``,
        ``sonics:<partition>`` and ``by:<column>``.

    Raises:
        UsageError: No predictions, or no file has a column that was asked for.
        PredictionsError: A threshold, and labels alone.
    """
    return gather_sides(Inputs(opened, by, threshold))[0]


class Inputs(NamedTuple):
    """Predictions that are evaluated together, see ``load_rows``."""

    opened: Sequence[Opened]
    by: Sequence[str] = ()
    threshold: float | None = None


def gather_sides(*sides: Inputs) -> list[pl.DataFrame]:
    """Return the rows of several sides, see ``load_rows``; one item has one name and group in all.

    Raises:
        UsageError: A side without predictions, or a column that no file of a side has.
        PredictionsError: A threshold, and labels alone.
        RunError: A ``run.json`` cannot be read as one.
    """
    for side in sides:
        if not side.opened:
            raise UsageError("no predictions, expected a prediction file or more")
        _check_columns(side.opened, side.by)
    opened = [one for side in sides for one in side.opened]
    roots = find_roots(opened)
    keys = list_keys([one.predictions for one in opened], roots)
    identities = identify(pl.concat(keys))
    frames, start = [], 0
    for side in sides:
        parts = []
        for one in side.opened:
            own = identities.slice(start, one.predictions.frame.height)
            start += own.height
            parts.append(_normalised(one, own, side.by, side.threshold))
        frame = pl.concat(parts)
        frames.append(pl.concat([frame, _missing(frame)]))
    return frames


def items_of(frame: pl.DataFrame) -> Items:
    """Return the scored rows as arrays.

    Items are ordered by logit, or by ``pred_prob`` where a row has no logit; logits that are not
    there follow from probabilities.
    """
    scored = frame.filter(pl.col("state") == "scored")
    logit, prob = (_complete(scored[name]) for name in ("logit", "pred_prob"))
    return Items(
        target=scored["target"].to_numpy().astype(np.int64),
        group=numbered(scored["group"].to_numpy()),
        decision=scored["pred_label"].to_numpy().astype(np.int64)
        if scored["pred_label"].null_count() == 0
        else None,
        score=prob if logit is None else logit,
        logit=logits(prob) if logit is None and prob is not None else logit,
        prob=prob,
    )


def _complete(values: pl.Series) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    return None if values.null_count() or not len(values) else values.to_numpy()


def _normalised(
    one: Opened, identity: pl.DataFrame, by: Sequence[str], threshold: float | None
) -> pl.DataFrame:
    predictions = one.predictions
    frame = predictions.frame.with_columns(decide(predictions, one.source, threshold))
    silent = pl.when(_text(frame, "abstained").is_not_null()).then(pl.lit("abstained"))
    state = pl.when(is_scored(frame)).then(pl.lit("scored")).otherwise(silent)
    return frame.with_columns(
        pl.lit(None).alias(n) for n in _SAID if n not in frame.columns
    ).select(
        pl.lit(predictions.detector).alias("detector"),
        pl.lit(predictions.dataset).alias("dataset"),
        identity["item"],
        _text(frame, "filepath").alias("filepath"),
        pl.col("target").cast(pl.Int64),
        *(
            _text(frame, n).fill_null(UNKNOWN).alias(_TEXTS[n])
            for n in ("source_dataset", "generator")
        ),
        identity["group"],
        identity["has_group"],
        state.fill_null("failed").alias("state"),
        *(pl.col(name).cast(_TYPES.get(name, pl.String)) for name in _SAID),
        *partition_columns(frame),
        *(_text(frame, name).fill_null(UNKNOWN).alias(f"by:{name}") for name in by),
    )


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String) if name in frame.columns else pl.lit(None, dtype=pl.String)


def _missing(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each item of a dataset that a detector of the dataset has none of."""
    key = ["dataset", "item", "target"]
    known = frame.unique(key, keep="first", maintain_order=True)
    pairs = frame.select("detector", "dataset").unique(maintain_order=True)
    wanted = pairs.join(known.drop("detector"), on="dataset", maintain_order="left")
    lost = wanted.join(frame, on=["detector", *key], how="anti", maintain_order="left")
    emptied = [pl.lit(None, dtype=frame.schema[name]).alias(name) for name in _SAID]
    return lost.with_columns(*emptied, pl.lit("missing").alias("state")).select(frame.columns)


def _check_columns(opened: Sequence[Opened], by: Sequence[str]) -> None:
    known = sorted({name for one in opened for name in one.predictions.frame.columns})
    for name in by:
        if name not in known:
            hint = nearest(name, known) or f"; columns: {', '.join(known)}"
            raise UsageError(f"--by {name}: no such column{hint}")


def export_asvspoof(
    predictions: Sequence[str | Path | Predictions],
    folder: Path,
    *,
    key: Path | None = None,
    aggregate: Aggregate | None = None,
) -> dict[Path, int]:
    """Write a score file for each detector and dataset, and a key for each dataset.

    Args:
        predictions: See ``evaluate``.
        folder: Where the files go.
        key: The key file with the labels of ASVspoof score files.
        aggregate: How several rows of one file become one item: ``mean`` or ``max``; ``None``
            refuses them.

    Returns:
        Score file → number of files without a score, in the key alone; key files with 0.

    Raises:
        PredictionsError: A file is not what it should be, or a path does not fit the format.
    """
    written: dict[Path, int] = {}
    for one in open_sources(predictions, key=key, aggregate=aggregate):
        dataset, detector = map(file_stem, (one.predictions.dataset, one.predictions.detector))
        scores, keys = folder / f"{detector}__{dataset}.tsv", folder / f"{dataset}.key.tsv"
        written[scores] = write_scores(one.predictions, scores, keys)
        written[keys] = 0
    return written
