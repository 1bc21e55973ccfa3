"""Manifests on disk: CSV or Parquet by suffix, and ``splits.json``, which records their root.

Conventions: the published columns come first; paths are absolute or relative to the manifest's
root; targets are 0 and 1; empty is unknown.
"""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from earwitness.core.errors import ManifestError
from earwitness.core.io import atomic_write, spelled_on_disk, tidy_path, write_json
from earwitness.core.manifest import KNOWN_COLUMNS, NAME_COLUMNS, PUBLISHED_COLUMNS, Manifest
from earwitness.core.remote import RemotePath, present, redact, to_path
from earwitness.core.text_table import (
    clean_names,
    labels,
    numbers,
    read_table,
    without_missing,
)

SPLITS_JSON = "splits.json"
_UNTIDY = r"(^|[^:])//|(^|/)\.\.?(/|$)|/$|\\|[^\x00-\x7F]"
MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    """Read and validate a manifest.

    Args:
        path: CSV, or Parquet by suffix: a file, or a folder of parts. Columns ``filepath`` and
            ``target`` are required; ``skip_time`` defaults to 0.
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
    names = frame["filepath"]
    is_untidy = names.str.contains(_UNTIDY)
    tidied = names.filter(is_untidy)
    tidy = names.scatter(is_untidy.arg_true(), [tidy_path(name) for name in tidied])
    rows = pl.DataFrame({"key": tidy, "target": frame["target"]})
    hashed = rows["key"].hash()
    rows = rows.filter(hashed.is_duplicated())
    files = rows.group_by("key", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("target").n_unique().alias("n_targets")
    )
    both = files.filter(pl.col("n_targets") > 1)["key"]
    repeated = files.filter(pl.col("n_targets") < pl.col("n"))["key"]
    notes = []
    if len(both):
        notes.append(f"{path}: {len(both)} files are both real and fake ({both[0]!r} first)")
    if len(repeated):
        notes.append(
            f"{path}: {len(repeated)} files are in several rows ({repeated[0]!r} first); metrics "
            "of them need --aggregate mean or max"
        )
    return tuple(notes)


def _relocate(path: Path, manifest: Manifest, root: Path) -> Manifest:
    """Return the manifest with missing files found by the tails of their paths."""
    filepaths = manifest.frame["filepath"].to_list() if manifest.missing else []
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
    lost = manifest.missing
    if not lost:
        return None
    first = redact(lost[0])
    return (
        f"{manifest.name}: {len(lost)} of {len(manifest)} files are missing ({first} first); "
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
    """Return the manifests of a folder: those in its ``splits.json``, else CSVs, TSVs and Parquet.

    Raises:
        ManifestError: There is none.
    """
    named = _read_recorded(folder / SPLITS_JSON).get("manifests", {})
    tables = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in MANIFEST_SUFFIXES)
    paths = [folder / entry["file"] for entry in named.values()] or list(tables)
    if not paths:
        raise ManifestError(f"{folder}: no manifests, expected CSV or Parquet files")
    return paths


def expand_manifests(paths: Iterable[Path]) -> list[Path]:
    """Return paths of manifests, with each folder replaced by the manifests in it."""
    return [p for path in paths for p in (list_manifests(path) if is_folder(path) else [path])]


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, other than one of the parts of a Parquet table."""
    return path.is_dir() and path.suffix.lower() != ".parquet"


def arrange(frame: pl.DataFrame) -> pl.DataFrame:
    """Return published, known, then other columns, without empty optional ones."""
    first = [name for name in PUBLISHED_COLUMNS if name in frame.columns]
    optional = [name for name in KNOWN_COLUMNS if name in frame.columns]
    optional += [name for name in frame.columns if name not in (*first, *optional)]
    filled = [name for name in optional if frame[name].null_count() < frame.height]
    return frame.select(first + filled)


def _convert_types(path: Path, frame: pl.DataFrame, lines: Sequence[int]) -> pl.DataFrame:
    skip_time = frame["skip_time"] if "skip_time" in frame.columns else None
    targets = labels(frame["target"])
    if skip_time is None:
        skips = pl.Series([0.0]).new_from_index(0, frame.height)
    else:
        given = without_missing(skip_time)
        skips = numbers(given).set(given.is_null(), 0.0)
        skips = skips.set(~(skips.is_finite() & (skips >= 0)).fill_null(value=False), None)
    is_named = frame["filepath"].is_not_null() & (frame["filepath"] != "")
    wrong = (~is_named.fill_null(value=False) | targets.is_null() | skips.is_null()).arg_true()
    if len(wrong):
        row = wrong[0]
        problem = "no filepath, expected the path of an audio file"
        if is_named[row] and targets[row] is None:
            problem = f"target {frame['target'][row]!r}, expected 0 (real) or 1 (fake)"
        elif is_named[row] and skip_time is not None:
            problem = f"skip_time {skip_time[row]!r}, expected seconds from 0 up"
        others = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
        raise ManifestError(f"{path}:{lines[row]}: {problem}{others}")
    return arrange(
        frame.with_columns(
            targets.cast(pl.Int8).alias("target"),
            skips.cast(pl.Float64).alias("skip_time"),
            *(
                pl.lit(None, dtype=pl.String).alias(name)
                for name in ("source_dataset", "split_tag")
                if name not in frame.columns
            ),
        )
        .with_columns(clean_names(frame[name]) for name in NAME_COLUMNS if name in frame.columns)
        .with_columns(numbers(frame[n]) for n in ("duration_s",) if n in frame.columns)
    )


def _roots(path: Path, given: str | Path | None) -> tuple[Path, ...]:
    candidates = [to_path(given)] if given is not None else []
    candidates += [*recorded_roots(path.parent / SPLITS_JSON), path.parent]
    return tuple(dict.fromkeys(root.absolute() for root in candidates))


def recorded_roots(path: Path) -> list[Path]:
    """Return the relative and the absolute root of ``splits.json``, none if there is no file."""
    content = _read_recorded(path)
    from_here, root = content.get("root_from_here"), content.get("root")
    roots = [] if from_here is None else [to_path(Path(os.path.normpath(path.parent / from_here)))]
    return [*roots, to_path(root)] if root is not None else []


def _read_recorded(path: Path) -> dict[str, Any]:
    """Return the validated keys of ``splits.json`` that are used, ``{}`` if there is no file."""
    # Web servers are asked by reading; the signature of a manifest opens no other file.
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {"root": str(content["root"])}
        if "root_from_here" in content:
            known["root_from_here"] = str(content["root_from_here"])
        files = {n: {"file": str(e["file"])} for n, e in content.get("manifests", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(path, RemotePath) and isinstance(error, FileNotFoundError | PermissionError):
            return {}
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
            yield _Match(filepath, tuple(parts[:at]), start, os.fspath(root / tail))
