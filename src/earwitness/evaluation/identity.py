"""Items and groups of prediction rows, and aggregation to one row per item.

Conventions: an item is a file with a label, identified by its path and by the file on disk (through
links). It has one group in all datasets: its ``group_id``, else the track in its file name (known
corpora), else itself; items with one ``sha256`` share a group. Metrics count items: several rows of
one item are refused unless an aggregate is given.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl
from scipy.special import expit

from earwitness.core.errors import PredictionsError
from earwitness.core.io import compose, tidy_path
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.core.remote import to_path
from earwitness.splits.grouping import link_rows, track_keys

Aggregate = Literal["mean", "max"]
"""How the scores of several rows become one."""


def item_keys(predictions: Predictions, roots: Sequence[str]) -> pl.DataFrame:
    """Return ``dataset, place, disk, group_id, sha256, track`` of each row, null if unknown.

    ``place`` is the normalised path, or dataset and row number without one; relative paths start
    from ``roots``, or the working directory.
    """
    frame, dataset = predictions.frame, predictions.dataset
    paths = _texts(frame, "filepath")
    spelled = [None if path is None else tidy_path(path) for path in paths]
    located = Manifest(dataset, frame, tuple(map(to_path, roots)))
    named = pl.DataFrame(
        {
            "filepath": spelled,
            "source_dataset": _texts(frame, "source_dataset"),
            "target": frame["target"],
        },
        schema_overrides={"filepath": pl.String, "source_dataset": pl.String},
    )
    columns = {
        "dataset": [dataset] * frame.height,
        "place": [f"{dataset}#{n}" if name is None else name for n, name in enumerate(spelled)],
        "disk": [None if path is None else _on_disk(located, path) for path in paths],
        "group_id": [compose(g) if g else None for g in _texts(frame, "group_id")],
        "sha256": [sha.lower() if sha else None for sha in _texts(frame, "sha256")],
        "track": track_keys(named),
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def list_keys(
    predictions: Sequence[Predictions], roots: Sequence[Sequence[str]]
) -> list[pl.DataFrame]:
    """Return ``item_keys`` of each, computed once for detectors that scored the same rows."""
    names = ("filepath", "target", "source_dataset", "group_id", "sha256")
    known: dict[tuple[str, tuple[str, ...]], tuple[pl.DataFrame, pl.DataFrame]] = {}
    found = []
    for one, folders in zip(predictions, roots, strict=True):
        columns = one.frame.select(name for name in names if name in one.frame.columns)
        place = (one.dataset, tuple(folders))
        if place not in known or not known[place][0].equals(columns):
            known[place] = (columns, item_keys(one, folders))
        found.append(known[place][1])
    return found


def identify(keys: pl.DataFrame) -> pl.DataFrame:
    """Return ``item``, ``group`` and ``has_group`` (false if its own group) of ``item_keys``.

    One path in two datasets is one item, unless both files exist and differ.
    """
    n_files = pl.col("disk").n_unique() - pl.col("disk").is_null().any().cast(pl.UInt32)
    is_one = n_files.over("place") <= 1
    item = link_rows(
        keys.select(
            "disk",
            own=pl.concat_str("dataset", "place", separator="\0"),
            spelled=pl.when(is_one).then("place"),
        ).to_dict()
    )
    rows = keys.with_columns(pl.Series("_item", item))
    rows = rows.with_columns(item=pl.col("place").min().over("_item"))
    is_ambiguous = pl.col("_item").n_unique().over("item") > 1
    rows = rows.with_columns(
        item=pl.when(is_ambiguous).then(pl.format("{} ({})", "item", "_item")).otherwise("item")
    )
    by = rows.select("item", "group_id", "sha256", "track").to_dict()
    rows = rows.with_columns(pl.Series("_group", link_rows(by)))
    group = pl.coalesce(
        "group:" + pl.col("group_id").min().over("_group"),
        "track:" + pl.col("track").min().over("_group"),
        "item:" + pl.col("item").min().over("_group"),
    )
    return rows.select("item", group=group, has_group=~group.str.starts_with("item:"))


def _texts(frame: pl.DataFrame, name: str) -> list[str | None]:
    if name not in frame.columns:
        return [None] * frame.height
    return frame[name].cast(pl.String).to_list()


def _on_disk(located: Manifest, path: str) -> str | None:
    """Return device and inode of a file; ``None`` if there is no such file."""
    try:
        found = os.stat(located.locate(path))  # noqa: PTH116 - a name may be no valid Path
    except (OSError, ValueError):
        return None
    return f"{found.st_dev}:{found.st_ino}" if stat.S_ISREG(found.st_mode) else None


def deduplicate(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one row per item over all datasets, preferring scored rows."""
    states = pl.Enum(["scored", "abstained", "failed", "missing"])
    order = pl.col("state").cast(states)
    first = frame.with_row_index("_row").sort(order, "_row")
    kept = first.unique(["detector", "item", "target"], keep="first", maintain_order=True)
    return kept.sort("_row").drop("_row")


def one_row_each(
    predictions: Predictions,
    items: pl.Series,
    *,
    source: str,
    aggregate: Aggregate | None = None,
) -> Predictions:
    """Return predictions with one row per item of ``identify``, with notes on the aggregation.

    Logits are aggregated if ``pred_prob`` is their logistic function, which it then stays; else
    ``pred_prob`` is aggregated. Rows without a score are ignored if the item has others. Labels
    follow from the threshold of the rows' own labels (0.5 if consistent); labels without scores
    are aggregated by majority (``mean``) or any fake (``max``). ``PredictionsError`` if an item has
    several rows and ``aggregate`` is ``None``.
    """
    frame = predictions.frame.with_columns(items.alias("_item"))
    notes = [*predictions.notes, *_describe_conflicts(frame, source)]
    repeated = frame.filter(pl.len().over("_item", "target") > 1)
    if repeated.height == 0:
        return replace(predictions, notes=tuple(notes))
    n_items = repeated.select("_item", "target").n_unique()
    first = repeated["_item"][0]
    if aggregate is None:
        raise PredictionsError(
            f"{source}: {repeated.height} rows are of {n_items} files ({first!r} first), expected "
            "one row a file; --aggregate mean or max makes one of them"
        )
    whole = _aggregated(frame, aggregate)
    notes.append(
        f"{source}: {repeated.height} rows of {n_items} files were aggregated by {aggregate}: "
        f"{frame.height} rows, {whole.height} items"
    )
    return replace(predictions, frame=whole, notes=tuple(notes))


def _describe_conflicts(frame: pl.DataFrame, source: str) -> list[str]:
    """Return a note if paths are both real and fake."""
    both = (
        frame.group_by("_item", maintain_order=True)
        .agg(pl.col("target").n_unique())
        .filter(pl.col("target") > 1)["_item"]
    )
    if both.is_empty():
        return []
    more = f" and {len(both) - 1} more" if len(both) > 1 else ""
    return [
        f"{source}: {both[0]} is both real and fake{more}; each label counts as an item, and one "
        "of them is wrong"
    ]


def describe_relabelled(frame: pl.DataFrame) -> list[str]:
    """Return a note if items are real in one dataset and fake in another."""
    known = frame.group_by("item", maintain_order=True).agg(
        pl.col("target").n_unique().alias("n"),
        real=pl.col("dataset").filter(pl.col("target") == 0).first(),
        fake=pl.col("dataset").filter(pl.col("target") == 1).first(),
    )
    both = known.filter((pl.col("n") > 1) & (pl.col("real") != pl.col("fake")))
    if both.is_empty():
        return []
    item, _, real, fake = both.row(0)
    more = f"; {both.height - 1} more items" if both.height > 1 else ""
    return [f"{item} is real in {real} and fake in {fake}{more}: one of the labels is wrong"]


def _aggregated(frame: pl.DataFrame, aggregate: Aggregate) -> pl.DataFrame:
    """Return one row per item, in the order of first rows."""
    columns = [name for name in frame.columns if name != "_item"]
    scored = pl.col("pred_label").is_not_null() & pl.all_horizontal(
        pl.col(n).is_null() for n in ("abstained", "error") if n in frame.columns
    )
    counted = frame.filter(scored | ~scored.any().over("_item", "target"))
    heads = encoder_columns(columns)
    numbers = [name for name in ("logit", "pred_prob", *heads) if name in columns]
    others = [n for n in columns if n not in (*numbers, "pred_label", "target", "filepath")]
    by = counted.group_by("_item", "target", maintain_order=True).agg(
        *(pl.col(name).first() for name in ("filepath",) if name in columns),
        *(
            pl.col(name).mean() if aggregate == "mean" else pl.col(name).max()
            for name in (*numbers, "pred_label")
        ),
        *(_common(name) for name in others),
    )
    if {"abstained", "error"} <= set(columns):  # a row must not have two reasons
        by = by.with_columns(pl.when(pl.col("error").is_null()).then("abstained"))
    return _decided(by, frame).select(columns)


def _common(name: str) -> pl.Expr:
    """Return the common value of an item's rows; the first value of prediction columns."""
    first = pl.col(name).drop_nulls().first()
    if name in PREDICTION_COLUMNS:
        return first.alias(name)
    return pl.when(pl.col(name).drop_nulls().n_unique() <= 1).then(first).alias(name)


def _decided(items: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Make scores and labels of aggregated items consistent."""
    is_logistic = _is_logistic(rows)
    if "logit" in items.columns and items["logit"].count():
        if is_logistic:
            prob = expit(items["logit"].to_numpy().astype(np.float64))
            known = items["logit"].is_not_null()
            items = items.with_columns(pl.Series("pred_prob", prob).set(~known, None))
        elif "pred_prob" in items.columns and items["pred_prob"].count():
            items = items.with_columns(pl.lit(None, dtype=pl.Float64).alias("logit"))
    name = next(
        (n for n in ("pred_prob", "logit") if n in items.columns and items[n].count()), None
    )
    scored = pl.col("pred_label").is_not_null()
    if name is None:
        return items.with_columns((pl.col("pred_label") >= 0.5).cast(pl.Int8))
    cut = _threshold(rows, name)
    return items.with_columns(
        pl.when(scored).then((pl.col(name) >= cut).cast(pl.Int8)).alias("pred_label")
    )


def _is_logistic(rows: pl.DataFrame) -> bool:
    """Return whether ``pred_prob`` is the logistic function of ``logit``."""
    if not {"logit", "pred_prob"} <= set(rows.columns):
        return False
    both = rows.select("logit", "pred_prob").drop_nulls()
    expected = expit(both["logit"].to_numpy())
    return both.height > 0 and bool(np.allclose(expected, both["pred_prob"].to_numpy(), atol=1e-4))


def _threshold(rows: pl.DataFrame, name: str) -> float:
    """Return the threshold of the rows' labels: probability 0.5 (logit 0) if consistent."""
    usual = 0.5 if name == "pred_prob" else 0.0
    fake, real = (rows.filter(pred_label=label)[name].drop_nulls() for label in (1, 0))
    fits = bool((fake >= usual).all()) and bool((real < usual).all())
    return usual if fits or fake.is_empty() else min(fake.to_list())
