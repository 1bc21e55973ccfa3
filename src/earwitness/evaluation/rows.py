"""All predictions in one table: one row a detector, dataset and item, lost ones among them.

Conventions: ``item`` names the file, however its path is spelled, or its place in the dataset where
there is none; ``group`` is what it is not independent of, see ``identity``; ``state`` is
``scored``, ``abstained`` (nothing to analyse), ``failed`` (an error in place of a score) or
``missing`` (another detector has the item in this dataset, and this one has not).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.registry import nearest
from earwitness.evaluation.identity import identify, list_keys
from earwitness.evaluation.sonics import partition_columns
from earwitness.evaluation.sources import Opened, decide, find_roots, is_scored
from earwitness.metrics.sample import Items, logits, numbered
from earwitness.splits.grouping import UNKNOWN

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
