"""Divide manifests into shards, each scored into a run folder of its own; see ``merge``.

Conventions: shards are numbered from 1. A row's shard depends only on its path as written in the
manifest, relative to a root that contains it, and on the number of shards: adding rows moves none,
and rows of one path are in one shard, in whichever manifest.

The folder of a shard also has ``shard/<manifest>.parquet``: its rows as read, their positions in
the whole manifest (from 0), and the absolute paths of their files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import atomic_write, file_stem, tidy_path
from earwitness.core.manifest import Manifest
from earwitness.core.remote import redact, shown_name, to_path

ROWS_FOLDER = "shard"
FROM_SLURM = "slurm"
"""Value of ``--shard`` that asks for the shard of this task of a SLURM array."""

N_SHOWN = 3
"""Incomplete shards that an error names."""

_POSITION, _FILE, _COLUMN = "position", "file", "column:"


class Shard(NamedTuple):
    """Shard ``number`` (from 1) of ``of``."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """Name of its run folder: ``shard-03-of-64``."""
        return f"shard-{self.number:0{len(str(self.of))}d}-of-{self.of}"


class Lack(NamedTuple):
    """What a shard lacks of its rows or files, and the command that makes it, if known."""

    shard: Shard
    n_missing: int
    n_rows: int
    command: Sequence[str]
    unit: str = "rows"

    def __str__(self) -> str:
        words = [word.replace("{shard}", str(self.shard)) for word in self.command]
        made_by = f": {shlex.join(['earwitness', *words])}" if words else ""
        return f"shard {self.shard} lacks {self.n_missing} of {self.n_rows} {self.unit}{made_by}"


def name_first(lacks: Sequence[Lack]) -> str:
    """Return the first shards that lack rows, in one line, and how many others do."""
    shown = "; ".join(map(str, lacks[:N_SHOWN]))
    return f"{shown}; and {len(lacks) - N_SHOWN} more shards" if len(lacks) > N_SHOWN else shown


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that ``K/N`` or ``slurm`` names; ``UsageError`` if it names none."""
    if text == FROM_SLURM:
        return _slurm_shard(environment)
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    shard = Shard(*map(int, found.groups())) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.of:
        raise UsageError(f"--shard {text}: expected K/N with K from 1 to N, or {FROM_SLURM}")
    return shard


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    """Return the shard of a task of an array, whatever number the array begins with."""
    names = [f"SLURM_ARRAY_TASK_{part}" for part in ("ID", "COUNT", "MIN", "MAX")]
    try:
        task, count, first, last = (int(environment[name]) for name in names)
        step = int(environment.get("SLURM_ARRAY_TASK_STEP") or 1)
    except (KeyError, ValueError):
        raise UsageError(
            f"--shard {FROM_SLURM}: expected whole numbers in {', '.join(names)}; "
            "run it as a task of sbatch --array"
        ) from None
    is_regular = step >= 1 and (last - first) // step + 1 == count and (task - first) % step == 0
    # An array of one is usually a part of an array that is repeated, not the whole.
    if count < 2 or not is_regular or not first <= task <= last:
        raise UsageError(
            f"--shard {FROM_SLURM}: task {task} of {count} from {first} to {last}, expected an "
            "array of two or more tasks without gaps; --shard K/N repeats a single shard"
        )
    return Shard((task - first) // step + 1, count)


def check_division(out: Path, of: int) -> None:
    """Raise ``UsageError`` if a folder has shards of another number of them than ``of``."""
    for path in sorted(out.glob("shard-*-of-*")):
        if path.name.rpartition("-")[2] != str(of):
            raise UsageError(f"{out}: has {path.name}, expected shards of {of} or another folder")


def shard_numbers(manifest: Manifest, of: int) -> list[int]:
    """Return the number of the shard of every row."""
    roots = [f"{tidy_path(str(root))}/" for root in manifest.roots]
    return [_number(path, roots, of) for path in manifest.frame["filepath"]]


def _number(filepath: str, roots: Sequence[str], of: int) -> int:
    path = tidy_path(filepath)
    below = next((path[len(root) :] for root in roots if path.startswith(root)), path)
    digest = hashlib.blake2b(below.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % of + 1


class Part(NamedTuple):
    """Rows of a manifest: ``table`` has positions, files and ``column:`` columns, in order."""

    name: str
    table: pl.DataFrame

    def manifest(self, roots: Sequence[str]) -> Manifest:
        """Return the manifest of the rows, whose files are not looked for again."""
        columns = [name for name in self.table.columns if name.startswith(_COLUMN)]
        frame = self.table.select(pl.col(columns).name.map(lambda n: n.removeprefix(_COLUMN)))
        manifest = Manifest(self.name, frame, tuple(map(to_path, roots)))
        return manifest.with_files(self.table[_FILE].to_list())

    @property
    def positions(self) -> pl.Series:
        """Positions of the rows in the whole manifest."""
        return self.table[_POSITION]

    def write(self, out: Path) -> None:
        """Write the rows into the folder of a shard."""
        with atomic_write(rows_path(out, self.name)) as temporary:
            files = pl.Series(_FILE, map(shown_name, self.table[_FILE]), pl.String)
            self.table.with_columns(files).write_parquet(temporary)


def rows_path(folder: Path, name: str) -> Path:
    """Return the path of a manifest's rows in the folder of a shard."""
    return folder / ROWS_FOLDER / f"{file_stem(name)}.parquet"


def read_part(folder: Path, name: str) -> Part:
    """Read the rows of a manifest from the folder of a shard."""
    path = rows_path(folder, name)
    try:
        table = pl.read_parquet(path)
        if table.columns[:2] != [_POSITION, _FILE] or f"{_COLUMN}filepath" not in table.columns:
            raise ValueError("other columns")
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path}: cannot be read as rows of a shard ({error})") from None
    return Part(name, table)


def join_parts(parts: Sequence[Part]) -> Part:
    """Return the rows of several parts of one manifest, in the manifest's order."""
    tables = [part.table for part in parts]
    return Part(parts[0].name, pl.concat(tables, how="vertical").sort(_POSITION))


def cut_shard(
    manifests: Sequence[Manifest], shard: Shard
) -> tuple[list[Part], dict[str, list[int]]]:
    """Return a shard's rows of each manifest, and the number of rows of every shard by manifest."""
    parts, counts = [], {}
    for manifest in manifests:
        numbers = shard_numbers(manifest, shard.of)
        n_rows = Counter(numbers)
        counts[manifest.name] = [n_rows[number] for number in range(1, shard.of + 1)]
        at = pl.Series(_POSITION, [n for n, own in enumerate(numbers) if own == shard.number])
        own = replace(manifest, frame=manifest.frame[at.cast(pl.UInt32)])
        files = [os.fspath(path.absolute()) for path in own.locate_all()]
        added = [at.cast(pl.UInt32), pl.Series(_FILE, files, pl.String)]
        renamed = own.frame.select(pl.all().name.prefix(_COLUMN))
        parts.append(Part(manifest.name, pl.DataFrame(added).hstack(renamed)))
    return parts, counts


def describe_shard(
    shard: Shard, counts: Mapping[str, list[int]], command: Sequence[str]
) -> dict[str, Any]:
    """Return the entry of ``run.json`` about a shard.

    Args:
        shard: The shard.
        counts: Number of rows of every shard, by manifest.
        command: Arguments of ``earwitness`` with ``{shard}`` in place of the shard; may be empty.
    """
    return {
        "of": shard.of,
        "numbers": [shard.number],
        "rows": counts,
        "command": [*map(redact, command)],
    }
