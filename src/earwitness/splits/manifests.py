"""Manifests on disk: CSV or Parquet by suffix, and ``splits.json``, which records their root.

Conventions: the published columns come first; paths are absolute or relative to the manifest's
root; targets are 0 and 1; empty is unknown.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from earwitness.core.errors import ManifestError
from earwitness.core.io import atomic_write, spelled_on_disk, tidy_path, write_json
from earwitness.core.manifest import KNOWN_COLUMNS, NAME_COLUMNS, PUBLISHED_COLUMNS, Manifest
from earwitness.core.remote import RemotePath, present, to_path
from earwitness.core.spectrogram import parse_target
from earwitness.core.text_table import clean_names, is_missing, numbers, parse_number, read_table

SPLITS_JSON = "splits.json"


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """Read and validate a manifest.

    Args:
        path: CSV, or Parquet by suffix. Columns ``filepath`` and ``target`` are required;
            ``skip_time`` defaults to 0.
        root: Base folder of relative paths. Without it, or for missing files, the root in the
            ``splits.json`` of the manifest's folder is tried, then that folder itself.

    Raises:
        ManifestError: The file cannot be read, lacks columns, is empty, or has invalid rows; the
            message contains the first and the number of others.
    """
    path = to_path(path)
    needed, known = ("filepath", "target"), (*PUBLISHED_COLUMNS, *KNOWN_COLUMNS)
    table = read_table(path, error=ManifestError, needed=needed, known=known)
    if table.frame.height == 0:
        raise ManifestError(f"{path}: no rows, expected at least one item")
    frame = _convert_types(path, table.frame, table.lines)
    manifest = Manifest(path.stem, frame, _roots(path, root), notes=_repeats(path, frame))
    return manifest if root is None else _relocate(path, manifest, to_path(root))


def _repeats(path: Path, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return notes on files in several rows."""
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
    """Return the manifest with missing files found by the tails of their paths."""
    filepaths = manifest.frame["filepath"].to_list()
    lost = [f for f in filepaths if not present(os.fspath(manifest.locate(f)))]
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
    """Return a note on missing files of a manifest; ``None`` if there are none."""
    files = manifest.locate_all()
    lost = [str(file) for file in files if not present(os.fspath(file))]
    if not lost:
        return None
    return (
        f"{manifest.name}: {len(lost)} of {len(files)} files are missing ({lost[0]} first); "
        "--root DIR finds them by the tail of their paths"
    )


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest atomically, as CSV or Parquet by suffix; see ``arrange``."""
    path = Path(path)
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".parquet":
            arrange(manifest.frame).write_parquet(temporary)
        else:
            arrange(manifest.frame).write_csv(temporary)


def write_root(folder: Path, root: Path, **more: Any) -> None:
    """Write ``splits.json`` of a folder of manifests.

    Args:
        folder: Folder of manifests.
        root: Base folder of their paths, recorded as absolute and as relative to ``folder``.
        **more: Further content of ``splits.json``.
    """
    here = {"root": root.absolute().as_posix()}
    if not isinstance(root, RemotePath):
        with contextlib.suppress(ValueError):  # no relative path between two Windows drives
            from_here = os.path.relpath(root.absolute(), folder.absolute())
            here["root_from_here"] = Path(from_here).as_posix()
    write_json(folder / SPLITS_JSON, here | more)


def shared_root(paths: list[str]) -> Path:
    """Return the working folder if it contains all paths, else their common folder."""
    here = Path.cwd()
    if all(Path(path).is_relative_to(here) for path in paths):
        return here
    try:
        return to_path(Path(os.path.commonpath(paths)))
    except ValueError:  # on several Windows drives
        return here


def list_manifests(folder: Path) -> list[Path]:
    """Return the manifests of a folder: those in its ``splits.json``, else every CSV or TSV.

    Raises:
        ManifestError: There is none.
    """
    recorded = folder / SPLITS_JSON
    named = _read_recorded(recorded).get("manifests", {}) if recorded.is_file() else {}
    tables = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".csv", ".tsv"))
    paths = [folder / entry["file"] for entry in named.values()] or list(tables)
    if not paths:
        raise ManifestError(f"{folder}: no manifests, expected CSV files")
    return paths


def expand_manifests(paths: Iterable[Path]) -> list[Path]:
    """Return paths of manifests, with each folder replaced by the manifests in it."""
    return [p for path in paths for p in (list_manifests(path) if path.is_dir() else [path])]


def arrange(frame: pl.DataFrame) -> pl.DataFrame:
    """Return published, known, then other columns, without empty optional ones."""
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
            *(
                pl.lit(None, dtype=pl.String).alias(name)
                for name in ("source_dataset", "split_tag")
                if name not in frame.columns
            ),
        )
        .with_columns(clean_names(frame[name]) for name in NAME_COLUMNS if name in frame.columns)
        .with_columns(numbers(frame[n]) for n in ("duration_s",) if n in frame.columns)
    )


def _seconds(text: str | None) -> float | None:
    """Return a time in seconds: 0 for an empty cell, ``None`` if invalid."""
    value = 0.0 if is_missing(text) else parse_number(text or "")
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _roots(path: Path, given: str | Path | None) -> tuple[Path, ...]:
    candidates = [to_path(given)] if given is not None else []
    recorded = path.parent / SPLITS_JSON
    if recorded.is_file():
        candidates += recorded_roots(recorded)
    candidates.append(path.parent)
    return tuple(dict.fromkeys(root.absolute() for root in candidates))


def recorded_roots(path: Path) -> list[Path]:
    """Return the relative and the absolute root of ``splits.json``."""
    content = _read_recorded(path)
    from_here = content.get("root_from_here")
    roots = [Path(os.path.normpath(path.parent / from_here))] if from_here else []
    return [*roots, to_path(content["root"])]


def _read_recorded(path: Path) -> dict[str, Any]:
    """Return the validated keys of ``splits.json`` that are used."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {"root": str(content["root"])}
        if "root_from_here" in content:
            known["root_from_here"] = str(content["root_from_here"])
        files = {n: {"file": str(e["file"])} for n, e in content.get("manifests", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path}: not a file of `earwitness splits`: {error!r}") from error
    return known | {"manifests": files}


class Relocated(NamedTuple):
    """Files found below a folder.

    Attributes:
        found: Location of each file, by path in the manifest.
        ambiguous: Paths that match several files, or share a file with another path.
    """

    found: dict[str, str]
    ambiguous: list[str]


class _Match(NamedTuple):
    """An existing file that matches the tail of a path."""

    filepath: str
    head: tuple[str, ...]
    start: str
    file: str


def find_by_tail(filepaths: Iterable[str], root: Path) -> Relocated:
    """Return the files below ``root`` that match the tails of missing paths, of any system."""
    try:
        tops = {unicodedata.normalize("NFC", entry.name) for entry in root.iterdir()}
    except OSError:
        return Relocated({}, [])
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
