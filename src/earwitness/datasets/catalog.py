"""A catalog: what one folder layout holds, before anything is drawn from it.

Conventions: one row a file; ``filepath`` is absolute and POSIX; ``target`` is 0 for real and
1 for fake; ``key`` names a file wherever its dataset lies, so that a draw does not change when
a dataset is moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from earwitness.core.manifest import NAME_COLUMNS
from earwitness.core.text_table import clean_names

if TYPE_CHECKING:
    import polars as pl

AUDIO_SUFFIXES = frozenset({".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma"})
"""Suffixes taken for audio, compared in lower case."""

CATALOG_COLUMNS = (
    "key",
    "filepath",
    "target",
    "skip_time",
    "source_dataset",
    "split_tag",
    "generator",
    "group_id",
    "artist",
    "duration_s",
)
"""Columns every catalog has, in this order; a layout may add its own after them."""


class Omission(NamedTuple):
    """A file that is not in the catalog, and why.

    Attributes:
        target: 0 or 1; the class it would have had.
        name: The name it goes by in the split file, CSV or folder.
        reason: Why it was left out, in words that stand alone ("no such file").
    """

    target: int
    name: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Files of one dataset.

    Attributes:
        source: Name of the dataset as it stands in ``source_dataset`` ("FMA").
        frame: One row a file, ``CATALOG_COLUMNS`` first, sorted by ``key``.
        omitted: Files that were listed or found but left out.
        looked_at: What was read to make it and what was found there, one sentence each.
    """

    source: str
    frame: pl.DataFrame
    omitted: tuple[Omission, ...] = ()
    looked_at: tuple[str, ...] = ()


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
