"""Manifests: tables of the items to score.

Conventions: one row an item (a file); ``target`` is 0 for real and 1 for fake; paths are data,
POSIX, relative to one of the manifest's roots or absolute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.io import spelled_on_disk

if TYPE_CHECKING:
    import polars as pl

PUBLISHED_COLUMNS = ("filepath", "target", "skip_time", "source_dataset", "split_tag")
"""The five columns of the published manifests, first and in this order."""

KNOWN_COLUMNS = ("generator", "group_id", "artist", "duration_s", "sha256")
"""Columns written after them where they are known; any further column is kept."""

NAME_COLUMNS = ("source_dataset", "split_tag", "generator", "group_id", "artist")
"""Columns whose values are names, which are compared."""


@dataclass(frozen=True)
class Manifest:
    """An immutable table of items.

    Attributes:
        name: Short name, the stem of its file ("fma_real_valid_2000").
        frame: ``PUBLISHED_COLUMNS``, ``KNOWN_COLUMNS`` where known, then any others.
        roots: Folders that relative paths are looked for under, in this order.
        moved: Path in the manifest → where its file was found, for files that are not where the
            manifest says.
        notes: What the reader of the file should know about it, one sentence each.
    """

    name: str
    frame: pl.DataFrame
    roots: tuple[Path, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows and their order; the roots do not count."""
        return hashlib.sha256(self.frame.write_csv().encode()).hexdigest()

    def where(self, *conditions: pl.Expr) -> Manifest:
        """Return the items that meet every Polars condition, in the same order."""
        return replace(self, frame=self.frame.filter(*conditions))

    def locate(self, filepath: str) -> Path:
        """Return the path of an item's file: below the first root that has it, else the first.

        Its spelling on disk may differ, see ``spelled_on_disk``.
        """
        if filepath in self.moved:
            return Path(self.moved[filepath])
        path = Path(filepath)
        roots = () if path.is_absolute() else self.roots
        there = ((root, spelled_on_disk(root, filepath)) for root in roots or (Path(),))
        found = next((root / spelling for root, spelling in there if spelling is not None), None)
        return found or (roots[0] / path if roots else path)

    def locate_all(self) -> list[Path]:
        """Return ``locate`` of every row, in order."""
        return [self.locate(filepath) for filepath in self.frame["filepath"].to_list()]
