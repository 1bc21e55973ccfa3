"""Manifests on disk: CSV or Parquet by suffix, and the ``splits.json`` that records their root.

Conventions: the five published columns come first; a path is relative to the manifest's root
or absolute; targets are 0 and 1; empty is unknown.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from earwitness.core.errors import ManifestError
from earwitness.core.io import atomic_write, spelled_on_disk, tidy_path, write_json
from earwitness.core.manifest import (
    KNOWN_COLUMNS,
    NAME_COLUMNS,
    PUBLISHED_COLUMNS,
    Manifest,
)
from earwitness.core.spectrogram import parse_target
from earwitness.core.text_table import clean_names, is_missing, numbers, parse_number, read_table

SPLITS_JSON = "splits.json"


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """Read a manifest and check every row.

    Args:
        path: CSV, or Parquet where the suffix says so. ``filepath`` and ``target`` are needed;
            ``skip_time`` is 0 where it is missing.
        root: Folder that relative paths start from. Without it, or where a file is missing,
            the root in the ``splits.json`` beside the manifest is tried, then its own folder.

    Raises:
        ManifestError: The file cannot be read, lacks columns, is empty, or rows are wrong: the
            first is shown with its line and the rest are counted.
    """
    path = Path(path)
    needed, known = ("filepath", "target"), (*PUBLISHED_COLUMNS, *KNOWN_COLUMNS)
    table = read_table(path, error=ManifestError, needed=needed, known=known)
    if table.frame.height == 0:
        raise ManifestError(f"{path}: no rows, expected at least one item")
    frame = _convert_types(path, table.frame, table.lines)
    manifest = Manifest(path.stem, frame, _roots(path, root), notes=_repeats(path, frame))
    return manifest if root is None else _relocate(path, manifest, Path(root))


def _repeats(path: Path, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return notes on files that are in several rows."""
    targets: dict[str, list[int]] = {}
    for filepath, target in frame.select("filepath", "target").iter_rows():
        targets.setdefault(tidy_path(filepath), []).append(target)
    both = [key for key, seen in targets.items() if len(set(seen)) > 1]
    repeated = [key for key, seen in targets.items() if len(set(seen)) < len(seen)]
    notes = []
    if both:
        notes.append(f"{path}: {len(both)} files are both real and fake ({both[0]!r} first)")
    if repeated:
        notes.append(
            f"{path}: {len(repeated)} files are in several rows ({repeated[0]!r} first); metrics "
            "of them need --aggregate mean or max"
        )
    return tuple(notes)


def _relocate(path: Path, manifest: Manifest, root: Path) -> Manifest:
    """Find the files that are not where the manifest says by the tails of their paths."""
    filepaths = manifest.frame["filepath"].to_list()
    lost = [f for f in filepaths if not os.path.exists(manifest.locate(f))]  # noqa: PTH110 - as in spelled_on_disk
    if not lost:
        return manifest
    relocated = find_by_tail(lost, root.absolute())
    notes = list(manifest.notes)
    if relocated.found:
        first, file = next(iter(relocated.found.items()))
        notes.append(
            f"{path}: {len(relocated.found)} files were found below {root} by the tail of their "
            f"paths ({first} is {file})"
        )
    if relocated.ambiguous:
        notes.append(
            f"{path}: {len(relocated.ambiguous)} files could not be found for certain by the tail "
            f"of their paths ({relocated.ambiguous[0]} first): several files, or one for several "
            "paths"
        )
    return replace(manifest, moved=relocated.found, notes=tuple(notes))


def describe_missing(manifest: Manifest) -> str | None:
    """Return a sentence on missing files of a manifest, with a hint."""
    files = manifest.locate_all()
    lost = [str(file) for file in files if not os.path.exists(file)]  # noqa: PTH110 - as in spelled_on_disk
    if not lost:
        return None
    return (
        f"{manifest.name}: {len(lost)} of {len(files)} files are missing ({lost[0]} first); "
        "--root DIR finds them by the tail of their paths"
    )


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest, atomically, as CSV or as Parquet by suffix.

    The published columns come first, then the known ones that hold anything, then any others.
    """
    path = Path(path)
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".parquet":
            arrange(manifest.frame).write_parquet(temporary)
        else:
            arrange(manifest.frame).write_csv(temporary)


def write_root(folder: Path, root: Path, **more: Any) -> None:
    """Record in ``splits.json`` what relative paths in a folder's manifests start from.

    Both the absolute root and the path to it from the folder are written, so that either may
    move; there is no relative path between two Windows drives.

    Args:
        folder: Folder of manifests.
        root: What their paths are relative to.
        **more: Further content of ``splits.json``.
    """
    here = {"root": root.absolute().as_posix()}
    with contextlib.suppress(ValueError):
        from_here = os.path.relpath(root.absolute(), folder.absolute())
        here["root_from_here"] = Path(from_here).as_posix()
    write_json(folder / SPLITS_JSON, here | more)


def shared_root(paths: list[str]) -> Path:
    """Return the working folder if all paths are in it, else the folder that they share."""
    here = Path.cwd()
    if all(Path(path).is_relative_to(here) for path in paths):
        return here
    try:
        return Path(os.path.commonpath(paths))
    except ValueError:  # on several Windows drives nothing is shared
        return here


def list_manifests(folder: Path) -> list[Path]:
    """Return the manifests of a folder: those of its ``splits.json``, else every CSV in it.

    Raises:
        ManifestError: There is none.
    """
    recorded = folder / SPLITS_JSON
    named = _read_recorded(recorded).get("manifests", {}) if recorded.is_file() else {}
    tables = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".csv", ".tsv"))
    paths = [folder / entry["file"] for entry in named.values()] or list(tables)
    if not paths:
        raise ManifestError(f"{folder}: no manifest there, expected CSV files")
    return paths


def arrange(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns in the order of manifest files, without optional ones that are empty."""
    first = [name for name in PUBLISHED_COLUMNS if name in frame.columns]
    optional = [name for name in KNOWN_COLUMNS if name in frame.columns]
    optional += [name for name in frame.columns if name not in (*first, *optional)]
    filled = [name for name in optional if frame[name].null_count() < frame.height]
    return frame.select(first + filled)


def _convert_types(path: Path, frame: pl.DataFrame, lines: list[int]) -> pl.DataFrame:
    problems: list[str] = []
    skip_time = pl.col("skip_time") if "skip_time" in frame.columns else pl.lit(None)
    rows = frame.select("filepath", "target", skip_time).rows()
    typed_targets: list[int] = []
    typed_skips: list[float] = []
    for line, (filepath, target, skip) in zip(lines, rows, strict=True):
        value, skip_s = parse_target(target or ""), _seconds(skip)
        if not filepath:
            problems.append(f"{path}:{line}: no filepath, expected the path of an audio file")
        elif value is None:
            problems.append(f"{path}:{line}: target {target!r}, expected 0 (real) or 1 (fake)")
        elif skip_s is None:
            problems.append(f"{path}:{line}: skip_time {skip!r}, expected seconds from 0 up")
        typed_targets.append(value or 0)
        typed_skips.append(skip_s or 0.0)
    if problems:
        others = f" (and {len(problems) - 1} more rows)" if len(problems) > 1 else ""
        raise ManifestError(problems[0] + others)
    return arrange(
        frame.with_columns(
            pl.Series("target", typed_targets, dtype=pl.Int8),
            pl.Series("skip_time", typed_skips, dtype=pl.Float64),
            *(_text_or_nothing(frame, name) for name in ("source_dataset", "split_tag")),
        )
        .with_columns(clean_names(frame[name]) for name in NAME_COLUMNS if name in frame.columns)
        .with_columns(numbers(frame[n]) for n in ("duration_s",) if n in frame.columns)
    )


def _seconds(text: str | None) -> float | None:
    """Read a time in seconds: empty is 0, nonsense is ``None``."""
    value = 0.0 if is_missing(text) else parse_number(text or "")
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _text_or_nothing(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name) if name in frame.columns else pl.lit(None, dtype=pl.String).alias(name)


def _roots(path: Path, given: str | Path | None) -> tuple[Path, ...]:
    candidates = [Path(given)] if given is not None else []
    recorded = path.parent / SPLITS_JSON
    if recorded.is_file():
        candidates += recorded_roots(recorded)
    candidates.append(path.parent)
    return tuple(dict.fromkeys(root.absolute() for root in candidates))


def recorded_roots(path: Path) -> list[Path]:
    """Return both roots of ``splits.json``: relative to its folder, and absolute."""
    content = _read_recorded(path)
    from_here = content.get("root_from_here")
    roots = [Path(os.path.normpath(path.parent / from_here))] if from_here else []
    return [*roots, Path(content["root"])]


def _read_recorded(path: Path) -> dict[str, Any]:
    """Read ``splits.json`` and check the keys that are used."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {"root": str(content["root"])}
        if "root_from_here" in content:
            known["root_from_here"] = str(content["root_from_here"])
        files = {n: {"file": str(e["file"])} for n, e in content.get("manifests", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path}: is not what `earwitness splits` writes: {error!r}") from error
    return known | {"manifests": files}


@dataclass(frozen=True)
class Relocated:
    """What was found below a folder.

    Attributes:
        found: Path in the manifest → where its file is.
        ambiguous: Paths that could be several files, or whose file could be that of another.
    """

    found: dict[str, str] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Match:
    """One tail of a path that is there."""

    filepath: str
    head: tuple[str, ...]
    start: str
    file: str


def find_by_tail(filepaths: Iterable[str], root: Path) -> Relocated:
    """Find files below a folder by the tails of their paths.

    Args:
        filepaths: Paths of files that are not where they say, relative or absolute, of any system.
        root: The folder.
    """
    try:
        tops = {unicodedata.normalize("NFC", name) for name in os.listdir(root)}  # noqa: PTH208 - names alone
    except OSError:
        return Relocated()
    matches, ambiguous = [], []
    for filepath in dict.fromkeys(filepaths):
        there = list(_matches(filepath, root, tops))
        if len(there) == 1:
            matches.append(there[0])
        elif there:
            ambiguous.append(filepath)
    owners = Counter(match.file for match in {tidy_path(m.filepath): m for m in matches}.values())
    heads: dict[str, set[tuple[str, ...]]] = {}
    for match in matches:
        heads.setdefault(match.start, set()).add(match.head)
    found = {}
    for match in matches:
        if owners[match.file] > 1 or len(heads[match.start]) > 1:
            ambiguous.append(match.filepath)
        else:
            found[match.filepath] = match.file
    return Relocated(found, ambiguous)


def _matches(filepath: str, root: Path, tops: set[str]) -> Iterable[_Match]:
    parts = tidy_path(filepath).strip("/").split("/")
    if ".." in parts:
        return
    for at, part in enumerate(parts):
        if part not in tops:
            continue
        tail = spelled_on_disk(root, "/".join(parts[at:]))
        if tail is not None and (root / tail).is_file():
            start = part if at + 1 < len(parts) else ""  # names alone share one head
            yield _Match(filepath, tuple(parts[:at]), start, (root / tail).as_posix())
