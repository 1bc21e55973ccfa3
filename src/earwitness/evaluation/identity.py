"""Which rows of predictions are one item, and which items are one group.

Conventions: an item is a file. Its rows are recognised by the spelling of their path, and by the
file on disk where it can be found (a symbolic or hard link is the file that it points to). An item
has one group, whatever data sets it is in: its ``group_id``, else what its name gives in a known
corpus, else itself. Items with the same bytes (``sha256``) are of one group.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.core.io import compose, tidy_path
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.splits.grouping import link_rows, track_keys

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


FITTING_HALF = "the calibration half"


def for_fitting(frame: pl.DataFrame, seed: int) -> pl.Series:
    """Return which rows are for fitting.

    Args:
        frame: As ``gather`` gives it.
        seed: Another seed gives other halves.
    """
    groups = frame.group_by("group").agg(
        pl.col("corpus").min(), pl.col("target").min().alias("low"), pl.col("target").max()
    )
    places = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in groups["group"]]
    ordered = groups.with_columns(pl.Series("_place", places)).sort(
        "corpus", "low", "target", "_place"
    )
    chosen = ordered.gather_every(2)["group"]
    return frame["group"].is_in(chosen.implode())
