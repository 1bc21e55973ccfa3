"""A catalog: what one folder layout holds, before anything is drawn from it.

Conventions: one row a file; ``filepath`` is absolute and POSIX; ``target`` is 0 for real and
1 for fake; ``key`` names a file wherever its dataset lies, so that a draw does not change when
a dataset is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
