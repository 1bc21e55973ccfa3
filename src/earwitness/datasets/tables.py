"""Catalog frames, built one way by every layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from earwitness.core.catalog import CATALOG_COLUMNS

_SCHEMA: dict[str, Any] = {
    "key": pl.String,
    "filepath": pl.String,
    "target": pl.Int8,
    "skip_time": pl.Float64,
    "source_dataset": pl.String,
    "split_tag": pl.String,
    "generator": pl.String,
    "group_id": pl.String,
    "artist": pl.String,
    "duration_s": pl.Float64,
}


def catalog_frame(columns: Mapping[str, Sequence[Any]], *, source: str) -> pl.DataFrame:
    """Return a frame with ``CATALOG_COLUMNS`` first, sorted by key; unknown columns are empty.

    Args:
        columns: Equally long columns, ``key``, ``filepath`` and ``target`` among them.
        source: The value of ``source_dataset``.
    """
    known = {name: columns[name] for name in _SCHEMA if name in columns}
    frame = pl.DataFrame(known, schema={name: _SCHEMA[name] for name in known})
    empty = {"skip_time": pl.lit(0.0), "source_dataset": pl.lit(source)}
    if "skip_time" in known:
        frame = frame.with_columns(pl.col("skip_time").fill_null(0.0))
    frame = frame.with_columns(
        empty.get(name, pl.lit(None, dtype=dtype)).alias(name)
        for name, dtype in _SCHEMA.items()
        if name not in known
    ).select(CATALOG_COLUMNS)
    extra = [pl.Series(name, v, strict=False) for name, v in columns.items() if name not in _SCHEMA]
    return frame.with_columns(extra).sort("key")
