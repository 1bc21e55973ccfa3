"""Which rows of predictions are one item, how they become one row, and which items are one group.

Conventions: an item is a file with a label. Its rows are recognised by the spelling of their path,
and by the file on disk where it can be found (through links). An item has one group, whatever
datasets it is in: its ``group_id``, else the one its name gives in a known corpus, else itself;
items with the same bytes (``sha256``) share a group. Metrics count items: several rows of one are
refused unless an aggregate is given. A path with both labels is two items, and a note names it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from scipy.special import expit

from earwitness.core.errors import PredictionsError
from earwitness.core.io import compose, tidy_path
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.splits.grouping import link_rows, track_keys

_ORDER = {"scored": 0, "abstained": 1, "failed": 2, "missing": 3}

KEYS = ("dataset", "place", "disk", "group_id", "sha256", "track")
"""Columns that ``item_keys`` gives."""

_READ = ("filepath", "target", "source_dataset", "group_id", "sha256")


def item_keys(predictions: Predictions, roots: Sequence[str]) -> pl.DataFrame:
    """Return what each row can be recognised by.

    Args:
        predictions: Rows of one detector on one data set.
        roots: Folders that relative paths start from; without any, the working directory.

    Returns:
        ``KEYS``, all text, null where not known; ``place`` is the spelling of the path, or data
        set and row number where there is none.
    """
    frame, dataset = predictions.frame, predictions.dataset
    paths = _texts(frame, "filepath")
    spelled = [None if path is None else tidy_path(path) for path in paths]
    located = Manifest(dataset, frame, tuple(map(Path, roots)))
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
    return pl.DataFrame(columns, schema=dict.fromkeys(KEYS, pl.String))


def list_keys(
    predictions: Sequence[Predictions], roots: Sequence[Sequence[str]]
) -> list[pl.DataFrame]:
    """Return ``item_keys`` of each; detectors that scored the same rows share theirs."""
    known: dict[tuple[str, tuple[str, ...]], tuple[pl.DataFrame, pl.DataFrame]] = {}
    found = []
    for one, folders in zip(predictions, roots, strict=True):
        told = one.frame.select(name for name in _READ if name in one.frame.columns)
        place = (one.dataset, tuple(folders))
        if place not in known or not known[place][0].equals(told):
            known[place] = (told, item_keys(one, folders))
        found.append(known[place][1])
    return found


def identify(keys: pl.DataFrame) -> pl.DataFrame:
    """Return the item and the group of each row.

    One spelling in two data sets is one item, unless both files are found and differ.

    Args:
        keys: ``KEYS`` of all rows that are evaluated together, as ``item_keys`` gives them.

    Returns:
        ``item``, ``group`` and ``has_group``: whether the group is more than the item's own name.
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
    twins = pl.col("_item").n_unique().over("item") > 1
    rows = rows.with_columns(
        item=pl.when(twins).then(pl.format("{} ({})", "item", "_item")).otherwise("item")
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
    """Return device and number of the file that a path leads to; ``None`` where there is none."""
    try:
        found = os.stat(located.locate(path))  # noqa: PTH116 - a name may be no valid Path
    except (OSError, ValueError):
        return None
    return f"{found.st_dev}:{found.st_ino}" if stat.S_ISREG(found.st_mode) else None


def deduplicate(frame: pl.DataFrame) -> pl.DataFrame:
    """Return one row an item, whatever datasets it is in: a scored one if there is any."""
    order = pl.col("state").replace_strict(_ORDER)
    first = frame.with_row_index("_row").sort(order, "_row")
    kept = first.unique(["detector", "item", "target"], keep="first", maintain_order=True)
    return kept.sort("_row").drop("_row")


Aggregate = Literal["mean", "max"]
"""How scores of several rows become one."""


_ITEM, _SCORED = "_item", "_scored"
_THRESHOLD = 0.5
_SCORES = ("logit", "pred_prob", "pred_label")


def one_row_each(
    predictions: Predictions,
    items: pl.Series,
    *,
    source: str,
    aggregate: Aggregate | None = None,
) -> Predictions:
    """Return predictions with one row an item, and notes on what was aggregated.

    Logits are averaged, or the highest counts, and ``pred_prob`` follows where it is the logistic
    function of the logit; else ``pred_prob`` itself is. Rows without a score count only where an
    item has no other. Labels follow from the threshold of the rows' own labels, 0.5 where that
    fits; of labels without scores the majority counts (``mean``), or any fake (``max``).

    Args:
        predictions: Rows of one detector on one data set.
        items: The item of each row, see ``identity``.
        source: The file, for messages.
        aggregate: How rows of one item become one; ``None`` refuses them.

    Raises:
        PredictionsError: Several rows for one item, and ``aggregate`` is ``None``.
    """
    frame = predictions.frame.with_columns(items.alias(_ITEM))
    notes = [*predictions.notes, *describe_conflicts(frame, source)]
    repeated = frame.filter(pl.len().over(_ITEM, "target") > 1)
    if repeated.height == 0:
        return replace(predictions, notes=tuple(notes))
    n_items = repeated.select(_ITEM, "target").n_unique()
    first = repeated[_ITEM][0]
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


def describe_conflicts(frame: pl.DataFrame, source: str) -> list[str]:
    """Return a sentence where a path is both real and fake.

    Args:
        frame: Rows with ``target`` and their item as ``_item``.
        source: Where they come from.
    """
    both = (
        frame.group_by(_ITEM, maintain_order=True)
        .agg(pl.col("target").n_unique())
        .filter(pl.col("target") > 1)[_ITEM]
    )
    if both.is_empty():
        return []
    more = f" and {len(both) - 1} more" if len(both) > 1 else ""
    return [
        f"{source}: {both[0]} is both real and fake{more}; each label counts as an item, and one "
        "of them is wrong"
    ]


def describe_relabelled(frame: pl.DataFrame) -> list[str]:
    """Return a sentence where an item is real in one file and fake in another.

    Args:
        frame: Rows as ``load_rows`` returns them.
    """
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
    """Return one row an item, in the order of first rows."""
    columns = [name for name in frame.columns if name != _ITEM]
    scored = pl.col("pred_label").is_not_null() & pl.all_horizontal(
        pl.col(n).is_null() for n in ("abstained", "error") if n in frame.columns
    )
    keyed = frame.with_columns(scored.alias(_SCORED))
    any_scored = pl.col(_SCORED).any().over(_ITEM, "target")
    counted = keyed.filter(pl.col(_SCORED) | ~any_scored)
    heads = encoder_columns(columns)
    numbers = [name for name in ("logit", "pred_prob", *heads) if name in columns]
    others = [n for n in columns if n not in (*numbers, "pred_label", "target", "filepath")]
    by = counted.group_by(_ITEM, "target", maintain_order=True).agg(
        *(pl.col(name).first() for name in ("filepath",) if name in columns),
        *(_combined(name, aggregate) for name in numbers),
        pl.col("pred_label").mean() if aggregate == "mean" else pl.col("pred_label").max(),
        *(_common(name) for name in others),
    )
    if {"abstained", "error"} <= set(columns):  # rows of both kinds: never two reasons in one
        by = by.with_columns(pl.when(pl.col("error").is_null()).then("abstained"))
    return _decided(by, frame).select(columns)


def _combined(name: str, aggregate: Aggregate) -> pl.Expr:
    return pl.col(name).mean() if aggregate == "mean" else pl.col(name).max()


def _common(name: str) -> pl.Expr:
    """Return what all rows of an item say; of reasons and settings, what the first says."""
    first = pl.col(name).drop_nulls().first()
    if name in PREDICTION_COLUMNS:
        return first.alias(name)
    return pl.when(pl.col(name).drop_nulls().n_unique() <= 1).then(first).alias(name)


def _decided(items: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Make scores and labels of aggregated items agree."""
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
        return items.with_columns((pl.col("pred_label") >= _THRESHOLD).cast(pl.Int8))
    cut = _threshold(rows, name)
    return items.with_columns(
        pl.when(scored).then((pl.col(name) >= cut).cast(pl.Int8)).alias("pred_label")
    )


def _is_logistic(rows: pl.DataFrame) -> bool:
    """Whether ``pred_prob`` is the logistic function of ``logit``, or is not there at all."""
    if not {"logit", "pred_prob"} <= set(rows.columns):
        return False
    both = rows.select("logit", "pred_prob").drop_nulls()
    expected = expit(both["logit"].to_numpy())
    return both.height > 0 and bool(np.allclose(expected, both["pred_prob"].to_numpy(), atol=1e-4))


def _threshold(rows: pl.DataFrame, name: str) -> float:
    """Return the score from which on rows are called fake: 0.5 (logit 0) where it fits."""
    usual = _THRESHOLD if name == "pred_prob" else 0.0
    fake = _numbers(rows.filter(pl.col("pred_label") == 1), name)
    real = _numbers(rows.filter(pl.col("pred_label") == 0), name)
    fits = all(score >= usual for score in fake) and all(score < usual for score in real)
    return usual if fits or not fake else min(fake)


def _numbers(rows: pl.DataFrame, name: str) -> Sequence[float]:
    return rows[name].drop_nulls().to_list()
