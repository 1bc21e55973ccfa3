"""Open predictions and gather them in one table, including rows without a score.

Conventions: one row per detector, dataset and item. ``item`` and ``group`` are those of
``identity``; ``state`` is ``scored``, ``abstained``, ``failed`` (an error) or ``missing`` (only
another detector has the item in this dataset).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import (
    DetectorError,
    PredictionsError,
    RunError,
    UsageError,
    WeightsError,
)
from earwitness.core.io import file_stem
from earwitness.core.predictions import Predictions
from earwitness.core.registry import nearest
from earwitness.detectors.base import OpenOptions
from earwitness.detectors.loading import DETECTORS
from earwitness.evaluation.identity import Aggregate, identify, item_keys, list_keys, one_row_each
from earwitness.evaluation.slices import partition_columns
from earwitness.metrics.sample import ABSTAINED, Floats, Ints, Items, logits, numbered
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
    """Open prediction files, folders of them, or predictions, with one row per item.

    ``model`` and ``dataset`` override the names of the sources.

    Raises:
        UsageError: Two sources have one detector and dataset, or a score file has no key.
        PredictionsError: A file is malformed, or has several rows for one item.
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
            if key is None and not holds_labels(path):
                raise UsageError(
                    f"{path}: an ASVspoof score file, expected a key file with it (--key)"
                )
            scores = read_scores(path, key, dataset=dataset, detector=model)
            opened.append(Opened(scores, str(path), path, Path(path if key is None else key)))
            continue
        for file in find_predictions(path) if path.is_dir() else [path]:
            found = read_predictions(file, dataset=dataset, detector=model)
            opened += [Opened(predictions, str(file), file) for predictions in found]
    _check_unique(opened)
    try:
        roots = _find_roots(opened)
    except RunError:  # raised again by ``gather_sides``; not all callers depend on roots
        roots = [[] for _ in opened]
    return [
        replace(
            one,
            predictions=one_row_each(
                one.predictions,
                identify(item_keys(one.predictions, folders))["item"],
                source=one.source,
                aggregate=aggregate,
            ),
        )
        for one, folders in zip(opened, roots, strict=True)
    ]


def source_notes(opened: Iterable[Opened]) -> list[str]:
    """Return the distinct notes of the readers."""
    return list(dict.fromkeys(note for one in opened for note in one.predictions.notes))


def _check_unique(opened: Iterable[Opened]) -> None:
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
    """Predictions, their source, and the files they and their labels are from, if any."""

    predictions: Predictions
    source: str
    path: Path | None = None
    key: Path | None = None


def check_threshold(threshold: float | None) -> None:
    """Raise ``UsageError`` unless a decision threshold is from 0 to 1."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold:g}, expected a number from 0 to 1")


def is_scored(frame: pl.DataFrame) -> pl.Expr:
    """Return which rows of a prediction table are scored."""
    reasons = [name for name in ("abstained", "error") if name in frame.columns]
    return pl.all_horizontal(pl.col("pred_label").is_not_null(), pl.col(reasons).is_null())


def decide(predictions: Predictions, source: str, threshold: float | None) -> pl.Expr:
    """Return ``pred_label`` of the file or at a threshold; ``PredictionsError`` if labels alone."""
    frame, label = predictions.frame, pl.col("pred_label")
    if threshold is None:
        return label
    if frame["pred_prob"].count() == 0 and frame["pred_label"].count():
        raise PredictionsError(
            f"{source}: labels alone, expected pred_prob or y_pred to decide at {threshold:g}"
        )
    return (pl.col("pred_prob") >= threshold).cast(pl.Int8).alias("pred_label")


def _find_roots(opened: Sequence[Opened]) -> list[list[str]]:
    """Return the roots of relative paths of each source, if recorded in its run folder."""
    known: dict[Path, dict[str, Any] | None] = {}
    found = []
    for one in opened:
        run = find_run(one, known)
        manifest = find_manifest(run, one.predictions.dataset) if run else None
        found.append([str(root) for root in (manifest or {}).get("roots", [])])
    return found


def find_run(one: Opened, known: dict[Path, dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the ``run.json`` of the run folder of predictions; ``known`` is a cache."""
    if one.path is None:
        return None
    folder = one.path.absolute().parent.parent
    if folder.name != "preds":
        return None
    path = folder.parent / RUN_JSON
    if path not in known:
        known[path] = read_run(path)
    return known[path]


def find_cards(run: dict[str, Any] | None, detector: str) -> list[dict[str, Any]]:
    """Return the cards of a detector in ``run.json``."""
    return [card for card in (run or {}).get("detectors", []) if card.get("name") == detector]


def is_one_sided(detector: str, card: dict[str, Any] | None) -> bool:
    """Return whether a detector only finds traces, by its recorded card, else if it is built in."""
    if card is not None:
        return bool(card.get("one_sided"))
    described = built_in_card(detector)
    return described is not None and described.one_sided


def built_in_card(detector: str) -> DetectorCard | None:
    """Return the card of a registered detector without its weights."""
    if detector not in DETECTORS:
        return None
    try:
        card: DetectorCard = DETECTORS.load(detector).describe(None, OpenOptions(detector))
    except (DetectorError, WeightsError):  # a plug-in that does not load
        return None
    return card


def find_manifest(run: dict[str, Any], dataset: str) -> dict[str, Any] | None:
    """Return the entry of a dataset's manifest in ``run.json``."""
    for name, entry in run["manifests"].items():
        if dataset in (name, file_stem(name)) and isinstance(entry, dict):
            return dict(entry)
    return None


_OUTPUTS: dict[str, type[pl.DataType]] = {
    "logit": pl.Float64,
    "pred_prob": pl.Float64,
    "pred_label": pl.Int64,
    "abstained": pl.String,
    "error": pl.String,
    "preprocessing": pl.String,
    "windows": pl.String,
}


class Inputs(NamedTuple):
    """Predictions evaluated together, further columns to keep, and the threshold, if any."""

    opened: Sequence[Opened]
    by: Sequence[str] = ()
    threshold: float | None = None


def load_rows(*sides: Inputs) -> list[pl.DataFrame]:
    """Return the rows of each side, missing ones included, with items and groups in common.

    Columns are ``detector, dataset, item, filepath, target, corpus, generator, group, has_group,
    state, logit, pred_prob, pred_label, abstained, error, preprocessing, windows``,
    ``sonics:<partition>`` and ``by:<column>``.

    Raises:
        UsageError: No predictions, or a column that no file has.
        PredictionsError: A threshold is given and there are labels alone.
        RunError: A ``run.json`` is malformed.
    """
    for side in sides:
        if not side.opened:
            raise UsageError("no predictions, expected a prediction file or more")
        _check_columns(side.opened, side.by)
    opened = [one for side in sides for one in side.opened]
    keys = list_keys([one.predictions for one in opened], _find_roots(opened))
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


def answers_of(frame: pl.DataFrame) -> Items:
    """Return the rows scored or abstained from as arrays, with answers alone."""
    asked = frame.filter(pl.col("state").is_in(["scored", "abstained"]))
    unknown = asked.filter(pl.col("state") == "scored")["pred_label"].null_count()
    given = pl.when(pl.col("state") == "scored").then("pred_label").otherwise(ABSTAINED)
    return Items(
        target=asked["target"].to_numpy().astype(np.int64),
        group=numbered(asked["group"].to_numpy()),
        answer=None if unknown else asked.select(given).to_series().to_numpy().astype(np.int64),
    )


def items_of(frame: pl.DataFrame) -> Items:
    """Return the scored rows as arrays, ranked by logit, or ``pred_prob`` if a logit is missing."""
    scored = frame.filter(pl.col("state") == "scored")
    logit, prob = (_complete(scored[name]) for name in ("logit", "pred_prob"))
    label = scored["pred_label"]
    decision = None if label.null_count() else label.to_numpy().astype(np.int64)
    at = logits(prob) if logit is None and prob is not None else logit
    return Items(
        target=scored["target"].to_numpy().astype(np.int64),
        group=numbered(scored["group"].to_numpy()),
        decision=decision,
        score=prob if logit is None else logit,
        logit=at,
        prob=prob,
        margin=_margin(at, decision),
    )


def _margin(logit: Floats | None, decision: Ints | None) -> Floats | None:
    """Return logits minus that of the threshold; ``None`` unless decisions follow from it.

    The threshold is 0 where it gives the decisions, else midway between the highest logit called
    real and the lowest called fake.
    """
    if logit is None or decision is None or not np.isfinite(logit).all():
        return None
    called = decision == 1
    if ((logit >= 0) == called).all():
        return logit
    if called.all() or not called.any():
        return None
    below, above = float(logit[~called].max()), float(logit[called].min())
    return None if below >= above else logit - (below + above) / 2


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
        pl.lit(None).alias(name) for name in _OUTPUTS if name not in frame.columns
    ).select(
        pl.lit(predictions.detector).alias("detector"),
        pl.lit(predictions.dataset).alias("dataset"),
        identity["item"],
        _text(frame, "filepath").alias("filepath"),
        pl.col("target").cast(pl.Int64),
        _text(frame, "source_dataset").fill_null(UNKNOWN).alias("corpus"),
        _text(frame, "generator").fill_null(UNKNOWN).alias("generator"),
        identity["group"],
        identity["has_group"],
        state.fill_null("failed").alias("state"),
        *(pl.col(name).cast(dtype) for name, dtype in _OUTPUTS.items()),
        *partition_columns(frame),
        *(_text(frame, name).fill_null(UNKNOWN).alias(f"by:{name}") for name in by),
    )


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String) if name in frame.columns else pl.lit(None, dtype=pl.String)


def _missing(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each item of a dataset that one of its detectors has no row for."""
    key = ["dataset", "item", "target"]
    known = frame.unique(key, keep="first", maintain_order=True)
    pairs = frame.select("detector", "dataset").unique(maintain_order=True)
    wanted = pairs.join(known.drop("detector"), on="dataset", maintain_order="left")
    lost = wanted.join(frame, on=["detector", *key], how="anti", maintain_order="left")
    emptied = [pl.lit(None, dtype=frame.schema[name]).alias(name) for name in _OUTPUTS]
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

    Returns the number of files without a score (in the key only) by score file; 0 by key file.
    ``PredictionsError`` if a file is malformed or a path does not fit the format.
    """
    written: dict[Path, int] = {}
    for one in open_sources(predictions, key=key, aggregate=aggregate):
        dataset, detector = map(file_stem, (one.predictions.dataset, one.predictions.detector))
        scores, keys = folder / f"{detector}__{dataset}.tsv", folder / f"{dataset}.key.tsv"
        written[scores] = write_scores(one.predictions, scores, keys)
        written[keys] = 0
    return written
