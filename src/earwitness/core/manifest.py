"""The manifest: which items are judged.

Conventions: one row an item (a file); ``target`` is 0 for real and 1 for fake; paths are data,
POSIX, relative to one of the manifest's roots or absolute.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

PUBLISHED_COLUMNS = ("filepath", "target", "skip_time", "source_dataset", "split_tag")
"""The five columns of the published manifests, first and in this order."""

KNOWN_COLUMNS = ("generator", "group_id", "artist", "duration_s", "sha256")
"""Columns written after them where they are known; any further column is kept."""


@dataclass(frozen=True)
class Manifest:
    """An immutable table of items.

    Attributes:
        name: Short name, the stem of its file ("fma_real_valid_2000").
        frame: ``PUBLISHED_COLUMNS``, ``KNOWN_COLUMNS`` where known, then any others.
        roots: Folders that relative paths are looked for under, in this order.
    """

    name: str
    frame: pl.DataFrame
    roots: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows and their order; where the files lie (the roots) is left out."""
        return hashlib.sha256(self.frame.write_csv().encode()).hexdigest()

    def where(self, *conditions: pl.Expr) -> Manifest:
        """Return the items that meet every Polars condition, in the same order."""
        return Manifest(self.name, self.frame.filter(*conditions), self.roots)

    def locate(self, filepath: str) -> Path:
        """Return where an item's file lies: under the first root that holds it.

        A file that no root holds is given under the first root, so that the error of the one
        who opens it says where it was expected.
        """
        path = Path(filepath)
        if path.is_absolute() or not self.roots:
            return path
        candidates = [root / path for root in self.roots]
        return next((c for c in candidates if os.path.exists(c)), candidates[0])  # noqa: PTH110 - unlike Path.exists it takes names that no disk can hold

    def locate_all(self) -> list[Path]:
        """Return ``locate`` of every row, in order."""
        return [self.locate(filepath) for filepath in self.frame["filepath"].to_list()]
