"""Datasets of Parquet files whose rows hold encoded audio, as the Hugging Face hub has them.

Conventions: the column ``audio`` has the fields ``bytes`` and ``path``. Bytes are never decoded
here: a row that is drawn is written to ``extracted/<file>/<row>`` with the suffix of the first row.
The key is that name without suffix; rows count from 0. Labels stored as numbers have their names
from the file's own description of the column: 0 is often fake there.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from earwitness.core.errors import DatasetError, first_line
from earwitness.core.io import atomic_write, files_below
from earwitness.core.remote import RemotePath, to_path
from earwitness.core.spectrogram import parse_label
from earwitness.core.text_table import listed
from earwitness.datasets.catalog import AUDIO_SUFFIXES, Catalog, Omission, catalog_frame

ALL_SHARDS = "*.parquet"
"""Glob of all Parquet files, in any folder."""

EXTRACTED = "extracted"
"""Folder of the audio of drawn rows, beside the Parquet files."""

_AUDIO = "audio"
_N_ROWS = 64
_SPLIT = r"(?:.*/)?(?P<split>[\w.]+?)-\d+(?:-of-\d+)?\.parquet|(?:.*/)?(?P<whole>[\w.]+)\.parquet"


@dataclass(frozen=True)
class Rows:
    """How rows are labelled.

    Attributes:
        pattern: Regular expression of the paths of Parquet files, with the groups ``split`` and
            ``generator``, if any.
        label: Column with the class; ``None`` if the files are of one class.
        target: Class of all rows without ``label``.
        real: Values of ``label`` that are real, all others being fake; empty if its values are
            words for real and fake.
        generator: Column with the generator of fakes.
        group: Columns whose values make the group; without them each row is its own.
        must_have: Columns that every file must have, besides ``label``.
    """

    pattern: str = _SPLIT
    label: str | None = None
    target: int = 1
    real: tuple[str, ...] = ()
    generator: str = "generator"
    group: tuple[str, ...] = ("group_id",)
    must_have: tuple[str, ...] = ()


def catalog_parquet(
    source: str,
    root: Path,
    kinds: Sequence[Rows],
    *,
    hybrid: str = "",
    shards: str = ALL_SHARDS,
) -> Catalog:
    """Return the catalog of the rows of Parquet files.

    Args:
        source: Name of the dataset.
        root: Folder of the files.
        kinds: Kinds of files; the first whose pattern matches counts.
        hybrid: Pattern of files whose rows have no label of a whole item; they are left out.
        shards: Glob of the files to read.

    Raises:
        DatasetError: ``root`` is no folder, no file matches, a file is damaged or lacks a column,
            or it is not clear which labels are real.
    """
    if isinstance(to_path(root), RemotePath):
        raise DatasetError(f"{root}: a URL, expected a local folder of Parquet files of {source}")
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder, expected Parquet files of {source}")
    names = {path.relative_to(root).as_posix(): path for path in files_below(root)}
    chosen = {name: path for name, path in names.items() if fnmatch.fnmatchcase(name, shards)}
    parts: list[pl.DataFrame] = []
    places: dict[str, tuple[Path, int]] = {}
    omitted: list[Omission] = []
    looked_at: list[str] = []
    for name, path in chosen.items():
        found = ((kind, re.fullmatch(kind.pattern, name)) for kind in kinds)
        kind, match = next((pair for pair in found if pair[1]), (None, None))
        if kind is not None and match is not None:
            frame = _read_shard(path, kind, match.groupdict())
            base = root.absolute() / EXTRACTED / name.removesuffix(".parquet")
            suffix = _suffix(path)
            files = [f"{base.as_posix()}/{row:06d}{suffix}" for row in range(frame.height)]
            places |= {file: (path, row) for row, file in enumerate(files)}
            keys = [f"{name.removesuffix('.parquet')}/{row:06d}" for row in range(frame.height)]
            group = pl.coalesce("group_id", pl.Series(keys))
            parts.append(
                frame.with_columns(
                    key=pl.Series(keys, dtype=pl.String),
                    filepath=pl.Series(files, dtype=pl.String),
                    group_id=pl.lit(f"{source.lower()}:") + group,
                )
            )
            looked_at.append(f"{path}: {frame.height} rows")
        elif hybrid and re.fullmatch(hybrid, name):
            reason = "a hybrid without a label of its own"
            omitted.append(Omission(1, name, reason))
    if not parts:
        inside = listed(sorted(entry.name for entry in root.iterdir()))
        raise DatasetError(
            f"{root}: no Parquet file in its layout; it contains {inside}, expected the folder of "
            f"{source}"
        )
    whole = pl.concat(parts)
    columns = {name: whole[name].to_list() for name in whole.columns}
    frame = catalog_frame(columns, source=source)
    return Catalog(
        source,
        frame,
        tuple(omitted),
        tuple(looked_at),
        prepare=lambda files: extract({file: places[file] for file in files}),
    )


def extract(places: Mapping[str, tuple[Path, int]]) -> None:
    """Write the audio of rows to files that do not exist yet, atomically.

    Args:
        places: Parquet file and row by path to write.

    Raises:
        DatasetError: A Parquet file is damaged, or a row has no audio.
    """
    missing = {file: place for file, place in places.items() if not Path(file).is_file()}
    by_shard: dict[Path, dict[int, str]] = {}
    for file, (shard, row) in missing.items():
        by_shard.setdefault(shard, {})[row] = file
    with _progress(len(missing)) as advance:
        for shard, files in by_shard.items():
            for start in sorted({row - row % _N_ROWS for row in files}):
                content = _audio_bytes(shard, start)
                for row in range(start, start + len(content)):
                    if row in files:
                        _write(Path(files[row]), content[row - start], f"{shard}: row {row}")
                        advance()


@contextlib.contextmanager
def _progress(n_files: int) -> Iterator[Callable[[], object]]:
    """Show a bar like that of downloads, on a terminal; yield what advances it."""
    if not n_files:
        yield lambda: None
        return
    from huggingface_hub import utils

    client: Any = utils
    with client.tqdm(total=n_files, unit="files", desc="extracting", disable=None) as bar:
        yield bar.update


def _write(file: Path, content: bytes | None, where: str) -> None:
    if content is None:
        raise DatasetError(f"{where}: no audio bytes, expected them in column {_AUDIO!r}")
    with atomic_write(file) as temporary:
        temporary.write_bytes(content)


def _audio_bytes(shard: Path, start: int) -> list[bytes | None]:
    with _reading(shard):
        rows = pl.scan_parquet(shard, glob=False).slice(start, _N_ROWS)
        audio = rows.select(pl.col(_AUDIO).struct.field("bytes")).collect()
    return audio.to_series().to_list()


def _suffix(shard: Path) -> str:
    """Return the suffix of the first row's audio; empty if unknown."""
    with _reading(shard):
        first = pl.scan_parquet(shard, glob=False).head(1).select(_AUDIO).collect()[_AUDIO]
    name = (first[0] or {}).get("path") if first.len() else None
    suffix = PurePosixPath(name or "").suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ""


def _read_shard(path: Path, kind: Rows, named: Mapping[str, str | None]) -> pl.DataFrame:
    """Return ``target, generator, group_id, split_tag`` of the rows of a file."""
    with _reading(path):
        schema = pl.read_parquet_schema(path)
        _check_columns(path, schema, kind)
        wanted = [kind.label, kind.generator, *kind.group]
        present = [n for n in dict.fromkeys(wanted) if n is not None and n in schema]
        n_rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        frame = pl.scan_parquet(path, glob=False).select(present).collect()
    texts = _texts(frame[kind.label], class_names(path, kind.label)) if kind.label else None
    targets = [kind.target] * n_rows if texts is None else _targets(path, kind, texts)
    return pl.DataFrame(
        {
            "target": targets,
            "generator": _generators(kind, frame, texts, targets, named),
            "group_id": _groups(kind, frame, n_rows),
            "split_tag": [named.get("split") or named.get("whole")] * n_rows,
        },
        schema_overrides={
            "target": pl.Int8,
            "generator": pl.String,
            "group_id": pl.String,
            "split_tag": pl.String,
        },
    )


def _check_columns(path: Path, schema: Mapping[str, Any], kind: Rows) -> None:
    audio = schema.get(_AUDIO)
    fields = {field.name for field in audio.fields} if isinstance(audio, pl.Struct) else set()
    if "bytes" not in fields:
        found = listed(list(schema))
        raise DatasetError(f"{path}: columns {found}; expected {_AUDIO} with bytes among them")
    for name in filter(None, (kind.label, *kind.must_have)):
        if name not in schema:
            raise DatasetError(f"{path}: columns {listed(list(schema))}; expected {name!r}")


def class_names(path: Path, column: str) -> list[str] | None:
    """Return the names of the numbers of a label column, from the file's own description."""
    text = pl.read_parquet_metadata(path).get("huggingface", "")
    try:
        feature = json.loads(text)["info"]["features"][column]
        names = feature["names"] if feature.get("_type") == "ClassLabel" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _texts(column: pl.Series, names: list[str] | None) -> list[str | None]:
    """Return labels as text, numbers by their names."""
    if names is not None and column.dtype.is_integer():
        known = dict(enumerate(names))
        return [None if value is None else known.get(value, str(value)) for value in column]
    return column.cast(pl.String).to_list()


def _targets(path: Path, kind: Rows, texts: Sequence[str | None]) -> list[int]:
    values = sorted({text or "" for text in texts})
    if kind.real:
        classes = {value: int(value not in kind.real) for value in values}
    else:
        # A bare 0 or 1 may be either: hubs have both.
        named = {v: None if v in ("0", "1") else parse_label(v) for v in values}
        classes = {value: target for value, target in named.items() if target is not None}
    unclear = [value for value in values if value not in classes or not value]
    if unclear:
        raise DatasetError(
            f"{path}: {kind.label} {listed([repr(v) for v in unclear])}, expected words for real "
            "and fake, or --real-label VALUE for each that is real"
        )
    return [classes[text or ""] for text in texts]


def _generators(
    kind: Rows,
    frame: pl.DataFrame,
    texts: Sequence[str | None] | None,
    targets: Sequence[int],
    named: Mapping[str, str | None],
) -> list[str | None]:
    """Return the generator of fakes: of its column, the file's name, or the label."""
    if kind.generator in frame.columns:
        found = frame[kind.generator].cast(pl.String).to_list()
    elif kind.real and texts is not None:
        found = list(texts)
    else:
        found = [named.get("generator")] * len(targets)
    pairs = zip(found, targets, strict=True)
    return [(text or "unknown") if target else None for text, target in pairs]


def _groups(kind: Rows, frame: pl.DataFrame, n_rows: int) -> list[str | None]:
    columns = [frame[name] for name in kind.group if name in frame.columns]
    if not columns:
        return [None] * n_rows
    texts = (
        c.cast(pl.List(pl.String)).list.join(", ") if c.dtype == pl.List else c.cast(pl.String)
        for c in columns
    )
    return pl.select(pl.concat_str(list(texts), separator=" ")).to_series().to_list()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors of the reader of Parquet into a ``DatasetError``."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = f"cannot be read as Parquet ({first_line(error)})"
        raise DatasetError(f"{path}: {reason}") from error
