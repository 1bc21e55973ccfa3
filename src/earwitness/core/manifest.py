"""Manifests: tables of the items to score.

Conventions: one row per item (a file); ``target`` is 0 for real and 1 for fake; paths are POSIX,
absolute, URLs, or relative to one of the manifest's roots.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.core.errors import ManifestError
from earwitness.core.io import spelled_on_disk
from earwitness.core.remote import is_url, join, to_path

if TYPE_CHECKING:
    import polars as pl

PUBLISHED_COLUMNS = ("filepath", "target", "skip_time", "source_dataset", "split_tag")
"""Columns of the published manifests; they come first, in this order."""

KNOWN_COLUMNS = ("generator", "group_id", "artist", "duration_s", "sha256")
"""Optional columns, written after the published ones; others are kept."""

NAME_COLUMNS = ("source_dataset", "split_tag", "generator", "group_id", "artist")
"""Columns of names, read in Unicode NFC."""


@dataclass(frozen=True)
class Manifest:
    """An immutable table of items.

    Attributes:
        name: Short name, the stem of its file ("fma_real_valid_2000").
        frame: ``PUBLISHED_COLUMNS``, then those of ``KNOWN_COLUMNS`` that it has, then others.
        roots: Base folders of relative paths, in order of precedence.
        moved: New location of files that are not where the manifest says, by path.
        notes: Notes from reading the file.
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
        """SHA-256 of the rows in order, independent of the roots."""
        digest = hashlib.sha256()
        for number, part in enumerate(self.frame.iter_slices(1 << 20)):
            digest.update(part.write_csv(include_header=number == 0).encode())
        return digest.hexdigest()

    def where(self, *conditions: pl.Expr) -> Manifest:
        """Return the manifest of the items that meet all Polars conditions."""
        return replace(self, frame=self.frame.filter(*conditions))

    def locate(self, filepath: str) -> Path:
        """Return the path, as spelled on disk, below the first root that has it, else the first."""
        return to_path(self._located(filepath)[0])

    def locate_all(self) -> list[Path]:
        """Return the path of every item's file."""
        return [to_path(name) for name in self.files]

    @property
    def files(self) -> list[str]:
        """Paths of all items' files as text, URLs as they are."""
        return self._found[0]

    @property
    def missing(self) -> list[str]:
        """Those of ``files`` that are missing."""
        return self._found[1]

    def with_files(self, files: Sequence[str]) -> Manifest:
        """Return the manifest with the paths of all items' files, which are not looked for."""
        located = replace(self)
        located.__dict__["_found"] = ([*files], [])
        return located

    @cached_property
    def _found(self) -> tuple[list[str], list[str]]:
        located = [self._located(filepath) for filepath in self.frame["filepath"]]
        return [name for name, _ in located], [name for name, is_there in located if not is_there]

    def _located(self, filepath: str) -> tuple[str, bool]:
        """Return the path of an item's file as text, and whether it is there."""
        if (moved := self.moved.get(filepath)) is not None:
            return moved, True
        if is_url(filepath) or os.path.isabs(filepath):  # noqa: PTH117 - any text is a path
            name = os.fspath(to_path(filepath)) if is_url(filepath) else filepath
            spelled = spelled_on_disk("", name)
            return (name, False) if spelled is None else (spelled, True)
        for root in self.roots or (Path(),):
            if (spelled := spelled_on_disk(root, filepath)) is not None:
                return join(root, spelled), True
        return join(self.roots[0], filepath) if self.roots else filepath, False


def distinct_rows(manifests: Iterable[Manifest]) -> dict[Path, dict[str, Any]]:
    """Return the first row of each file; ``ManifestError`` if a file has both labels."""
    first: dict[Path, dict[str, Any]] = {}
    for manifest in manifests:
        rows = manifest.frame.iter_rows(named=True)
        for path, row in zip(manifest.locate_all(), rows, strict=True):
            if first.setdefault(path, row)["target"] != row["target"]:
                raise ManifestError(f"{path}: real in one manifest and fake in another")
    return first
