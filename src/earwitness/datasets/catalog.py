"""Catalogs of dataset files, and the registry of folder layouts that make them.

Conventions: one row a file; ``filepath`` is absolute and POSIX; ``target`` is 0 for real and
1 for fake; ``key`` does not depend on where the dataset is, so a draw is the same after a move.
Folders are walked in the order of names; linked ones are followed, each real folder once and by its
own name where it has one below the root.
"""

from __future__ import annotations

import heapq
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earwitness.core.errors import DatasetError
from earwitness.core.manifest import NAME_COLUMNS
from earwitness.core.registry import Registry
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


class Item(NamedTuple):
    """One file of a catalog, as the columns of the same names."""

    key: str
    filepath: str
    target: int
    split_tag: str
    generator: str | None
    group_id: str


class Omission(NamedTuple):
    """A file that is not in the catalog, and why.

    Attributes:
        target: 0 or 1; the class it would have had.
        name: Its name in the split file, CSV or folder.
        reason: Why it was left out ("no such file").
    """

    target: int
    name: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Files of one dataset.

    Attributes:
        source: Name of the dataset in ``source_dataset`` ("FMA").
        frame: One row a file, ``CATALOG_COLUMNS`` first, sorted by ``key``.
        omitted: Files that were listed or found but left out.
        looked_at: What was read and what was found there, one sentence each.
        split: Published split that the files are of; empty without one.
    """

    source: str
    frame: pl.DataFrame
    omitted: tuple[Omission, ...] = ()
    looked_at: tuple[str, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class CatalogRequest:
    """What a layout is asked for.

    Attributes:
        folder: The dataset's folder.
        n_wanted: Items wanted of each class (0 real, 1 fake).
        train_check: What items must not share with the train split (``path, name, song``).
        options: The layout's own options by name; ``None`` where one is not set.
    """

    folder: Path
    n_wanted: Mapping[int, int]
    train_check: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A dataset's folder layout.

    Attributes:
        source: Name of the dataset in ``source_dataset`` ("FMA").
        list_files: Returns the catalog for a request.
        place: Where the dataset's folder is below the workspace root.
        classes: Classes that the dataset has.
        options: Options of ``SplitOptions`` that the layout reads.
        is_stratified: Whether fakes are drawn equally from each generator.
        track_of: Returns the track, song or caption that a file is of, given its stem and target;
            ``None`` where file names do not say.
    """

    source: str
    list_files: Callable[[CatalogRequest], Catalog]
    place: Path
    classes: tuple[int, ...] = (0, 1)
    options: tuple[str, ...] = ()
    is_stratified: bool = True
    track_of: Callable[[str, int], str] | None = None


LAYOUTS = Registry(
    "dataset",
    DatasetError,
    group="earwitness.datasets",
    accepts=lambda value: isinstance(value, Layout),
    expected="an earwitness.datasets.catalog.Layout",
)
LAYOUTS.add("fma", "earwitness.datasets.fma:LAYOUT")
LAYOUTS.add("sonics", "earwitness.datasets.sonics:LAYOUT")
LAYOUTS.add("fakemusiccaps", "earwitness.datasets.fakemusiccaps:LAYOUT")

PUBLISHED = ("fma", "sonics", "fakemusiccaps")
"""Datasets of the published benchmark, in the order they are drawn from."""


def layouts_by_source() -> dict[str, Layout]:
    """Return every layout that can be used by its ``source``; the first of a name wins."""
    return _layouts_by_source(tuple(sys.path))


@lru_cache(maxsize=4)
def _layouts_by_source(search_path: tuple[str, ...]) -> dict[str, Layout]:  # noqa: ARG001 - a key
    found: dict[str, Layout] = {}
    for _, layout in LAYOUTS.items():  # noqa: PERF102 - a registry, which lacks values()
        found.setdefault(layout.source, layout)
    return found


def items_frame(items: Iterable[Item], *, source: str) -> pl.DataFrame:
    """Return the frame of a catalog of ``items``; see ``catalog_frame``."""
    columns = zip(*items, strict=True)
    named = dict(zip(Item._fields, columns, strict=False)) or dict.fromkeys(Item._fields, ())
    return catalog_frame(named, source=source)


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


@dataclass(frozen=True)
class AudioFolder:
    """Audio files of a folder.

    Attributes:
        root: The folder.
        files: Paths of audio files relative to it, sorted.
        n_other: Files of other kinds.
        unreadable: Names that are no valid Unicode, shown as the system escapes them.
        aliases: Linked folders that lead to a folder seen already.
    """

    root: Path
    files: tuple[str, ...]
    n_other: int
    unreadable: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    def list_unreadable(self, *, target: int, prefix: str = "") -> list[Omission]:
        """Return ``unreadable`` as omissions of a class."""
        reason = "file name is not valid Unicode"
        return [Omission(target, prefix + name, reason) for name in self.unreadable]

    def describe(self) -> str:
        """Say in one sentence what the folder held."""
        aliases = f", not followed twice: {', '.join(self.aliases)}" if self.aliases else ""
        return f"{self.root}: {len(self.files)} audio files, {self.n_other} others{aliases}"


def scan_audio(root: Path) -> AudioFolder:
    """Find every audio file below ``root``.

    macOS companion files (``._name.mp3``) are no audio and count as others.

    Raises:
        DatasetError: ``root`` is no folder, or one below it cannot be listed.
    """
    files: list[str] = []
    unreadable: list[str] = []
    n_other = 0
    aliases: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(False, "", _existing_folder(root))]
    while pending:
        _, prefix, folder = heapq.heappop(pending)
        identity = folder.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            aliases.append(prefix.rstrip("/"))
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for entry in _entries(folder):
            name = prefix + entry.name
            if _is_folder(entry):
                heapq.heappush(pending, (entry.is_symlink(), name + "/", Path(entry.path)))
            elif not _is_audio(entry.name):
                n_other += 1
            elif not _is_unicode(name):
                unreadable.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
            else:
                files.append(name)
    names = (tuple(sorted(found)) for found in (unreadable, aliases))
    return AudioFolder(root, tuple(sorted(files)), n_other, *names)


def _existing_folder(root: Path) -> Path:
    if root.is_dir():
        return root
    found = "a file" if root.exists() else "nothing"
    nearest = next((p for p in root.parents if p.is_dir()), Path())
    raise DatasetError(f"{root}: found {found}, expected a folder (nearest that exists: {nearest})")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that runs in a circle leads to no folder


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")  # noqa: PTH122 - a quarter of a million names, and Path is ten times slower


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
