"""Catalogs of dataset files, and the registry of dataset layouts.

Conventions: one row per file; ``filepath`` is absolute and POSIX; ``key`` is relative to the
dataset, so a sample does not depend on its location. Folders are walked by name; linked folders are
followed, each real folder once.
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
from earwitness.core.remote import RemotePath, to_path
from earwitness.core.text_table import clean_names

if TYPE_CHECKING:
    import polars as pl

AUDIO_SUFFIXES = frozenset(
    {".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".au"}
)
"""Suffixes of audio files, in lower case."""

CATALOG_COLUMNS = (
    *("key", "filepath", "target", "skip_time", "source_dataset", "split_tag"),
    *("generator", "group_id", "artist", "duration_s"),
)
"""Columns of every catalog; a layout may add others after them."""


class Item(NamedTuple):
    """One file of a catalog."""

    key: str
    filepath: str
    target: int
    split_tag: str
    generator: str | None
    group_id: str


class Omission(NamedTuple):
    """A file left out of the catalog.

    Attributes:
        target: Its class, 0 or 1.
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
        frame: One row per file, ``CATALOG_COLUMNS`` first, sorted by ``key``.
        omitted: Files that were listed or found but left out.
        looked_at: Descriptions of the folders and files that were read.
        split: Published split of the files; may be empty.
        unlisted: Audio below the folder that the layout does not name.
        prepare: Writes files of ``frame``, given their paths, that do not exist before; ``None`` if
            all do.
    """

    source: str
    frame: pl.DataFrame
    omitted: tuple[Omission, ...] = ()
    looked_at: tuple[str, ...] = ()
    split: str = ""
    unlisted: tuple[str, ...] = ()
    prepare: Callable[[Sequence[str]], None] | None = None


@dataclass(frozen=True)
class CatalogRequest:
    """Request for a catalog.

    Attributes:
        folder: The dataset's folder.
        n_wanted: Number of items requested of each class (0 real, 1 fake).
        train_check: Keys that items must not share with the train split (``path, name, song``).
        options: The layout's own options by name; ``None`` if not set.
        allow_missing: Describe missing parts in ``looked_at`` (``…: no such file``) instead of
            raising an error, where the others can be read.
    """

    folder: Path
    n_wanted: Mapping[int, int]
    train_check: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    allow_missing: bool = False


@dataclass(frozen=True)
class DatasetCard:
    """Description of a dataset, from its documentation.

    Attributes:
        summary: Content, in a phrase.
        layout: Files that are read of an unpacked copy, in a phrase.
        licence: Licence of the data.
        size: Number of items, hours or bytes, as published.
        get: How to get it.
        leaks: Known overlaps with other datasets, duplicates and shortcuts.
        docs: Addresses of its documentation.
    """

    summary: str
    layout: str
    licence: str
    size: str
    get: str
    leaks: str
    docs: str


@dataclass(frozen=True)
class Layout:
    """A dataset's folder layout.

    Attributes:
        source: Name of the dataset in ``source_dataset`` ("FMA").
        list_files: Returns the catalog for a request.
        place: The dataset's folder, relative to the workspace root.
        classes: Classes of the dataset.
        options: Options of ``SplitOptions`` that the layout reads.
        is_stratified: Whether fakes are drawn equally from each generator.
        track_of: Returns the track, song or caption of a file, given its stem and target; ``None``
            if file names do not contain it.
        card: Description of the dataset; ``None`` if there is none.
    """

    source: str
    list_files: Callable[[CatalogRequest], Catalog]
    place: Path
    classes: tuple[int, ...] = (0, 1)
    options: tuple[str, ...] = ()
    is_stratified: bool = True
    track_of: Callable[[str, int], str] | None = None
    card: DatasetCard | None = None


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
for _name in (
    *("echoes", "mom", "ai_openbmat", "mtg_jamendo", "musdb", "gtzan", "wavefake"),
    *("aime", "haim"),
    *("asvspoof_5", "asvspoof_2019", "asvspoof_2021_df", "in_the_wild", "ctrsvdd", "singfake"),
):
    LAYOUTS.add(_name, f"earwitness.datasets.declarations:{_name.upper()}")

PUBLISHED = ("fma", "sonics", "fakemusiccaps")
"""Datasets of the published benchmark, in order of sampling."""


def layouts_by_source() -> dict[str, Layout]:
    """Return all usable layouts by ``source``; the first of a name wins."""
    return _layouts_by_source(tuple(sys.path))


@lru_cache(maxsize=4)
def _layouts_by_source(search_path: tuple[str, ...]) -> dict[str, Layout]:  # noqa: ARG001 - a key
    found: dict[str, Layout] = {}
    for _, layout in LAYOUTS.items():  # noqa: PERF102 - a registry, which lacks values()
        found.setdefault(layout.source, layout)
    return found


def items_frame(items: Iterable[Item], *, source: str) -> pl.DataFrame:
    """Return the frame of a catalog, see ``catalog_frame``."""
    columns = zip(*items, strict=True)
    named = dict(zip(Item._fields, columns, strict=False)) or dict.fromkeys(Item._fields, ())
    return catalog_frame(named, source=source)


def catalog_frame(columns: Mapping[str, Sequence[Any]], *, source: str) -> pl.DataFrame:
    """Return a frame with ``CATALOG_COLUMNS`` first, sorted by key, with names in Unicode NFC.

    Args:
        columns: Columns of equal length, ``key``, ``filepath`` and ``target`` among them.
        source: Value of ``source_dataset``.
    """
    import polars as pl

    others = {"target": pl.Int8, "skip_time": pl.Float64, "duration_s": pl.Float64}
    types: dict[str, Any] = {name: others.get(name, pl.String) for name in CATALOG_COLUMNS}
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


@dataclass(frozen=True)
class AudioFolder:
    """Audio files of a folder.

    Attributes:
        root: The folder.
        files: Relative paths of audio files, sorted.
        n_other: Number of other files.
        unreadable: Names that are not valid Unicode, escaped.
        aliases: Linked folders that were found before under another name.
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
        """Return a sentence on the content of the folder."""
        aliases = f", not followed twice: {', '.join(self.aliases)}" if self.aliases else ""
        return f"{self.root}: {len(self.files)} audio files, {self.n_other} others{aliases}"


def scan_audio(root: Path) -> AudioFolder:
    """Return all audio files below ``root``, except companion files of macOS (``._name.mp3``).

    Raises:
        DatasetError: ``root`` is no folder, or one below it cannot be listed.
    """
    if isinstance(root := to_path(root), RemotePath):
        return _list_remote(root)
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


def _list_remote(root: RemotePath) -> AudioFolder:
    try:
        names = root.walk_files()
    except OSError as error:
        raise DatasetError(f"{root}: cannot be listed ({error.strerror})") from error
    if not names:
        raise DatasetError(f"{root}: found nothing, expected a folder")
    files = tuple(name for name in names if _is_audio(name.rpartition("/")[2]))
    return AudioFolder(root, files, len(names) - len(files), ())


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
        return False  # a circular link


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")  # noqa: PTH122 - a quarter of a million names, and Path is ten times slower


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
