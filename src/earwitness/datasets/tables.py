"""Catalog frames, built one way by every layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from earwitness.core.catalog import CATALOG_COLUMNS
from earwitness.core.manifest import NAME_COLUMNS
from earwitness.core.tables import clean_names

if TYPE_CHECKING:
    import polars as pl


def catalog_frame(columns: Mapping[str, Sequence[Any]], *, source: str) -> pl.DataFrame:
    """Return a frame with ``CATALOG_COLUMNS`` first, sorted by key; unknown columns are empty.

    Names are in their composed form (Unicode NFC), and null where they say that there is none.

    Args:
        columns: Equally long columns, ``key``, ``filepath`` and ``target`` among them.
        source: The value of ``source_dataset``.
    """
    import polars as pl

    types = _types()
    known = {name: columns[name] for name in types if name in columns}
    frame = pl.DataFrame(known, schema={name: types[name] for name in known})
    empty = {"skip_time": pl.lit(0.0), "source_dataset": pl.lit(source)}
    if "skip_time" in known:
        frame = frame.with_columns(pl.col("skip_time").fill_null(0.0))
    frame = frame.with_columns(
        empty.get(name, pl.lit(None, dtype=dtype)).alias(name)
        for name, dtype in types.items()
        if name not in known
    ).select(CATALOG_COLUMNS)
    names = [name for name in NAME_COLUMNS if name in frame.columns]
    frame = frame.with_columns(clean_names(frame[name]) for name in names)
    extra = [pl.Series(name, v, strict=False) for name, v in columns.items() if name not in types]
    return frame.with_columns(extra).sort("key")


def _types() -> dict[str, Any]:
    """Return the type of every column of a catalog."""
    import polars as pl

    others = {"target": pl.Int8, "skip_time": pl.Float64, "duration_s": pl.Float64}
    return {name: others.get(name, pl.String) for name in CATALOG_COLUMNS}
