"""Parquet files read as text, without trusting the sizes that they state."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.errors import EarwitnessError

if TYPE_CHECKING:
    import polars as pl

MOST_CELLS = 20_000_000
"""Parquet packs a column of one value into a few bytes: its own size says little."""

_TRIAL = """
import io, sys
import polars as pl
held = pl.scan_parquet(io.BytesIO(sys.stdin.buffer.read()))
n_cells = held.select(pl.len()).collect().item() * held.collect_schema().len()
print(n_cells)
if n_cells <= int(sys.argv[1]):
    held.collect()
"""
_CRASHED = 1 << 30
"""Windows states a crash as a status from here up; elsewhere it is a negative one."""


def read_parquet(path: Path, content: bytes, *, error: type[EarwitnessError]) -> pl.DataFrame:
    """Return a Parquet file's columns, cast to text.

    It is read in a process of its own first: Polars believes a size in the file, and where that
    cannot be had its allocator ends the whole process, which no handler can catch.

    Args:
        path: Named in errors.
        content: The file's bytes.
        error: What is raised.

    Raises:
        EarwitnessError: It is no Parquet, damaged, or holds more than ``MOST_CELLS`` cells.
    """
    import polars as pl

    command = [sys.executable, "-P", "-c", _TRIAL, str(MOST_CELLS)]
    done = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - ours
    if not 0 <= done.returncode < _CRASHED:
        raise error(f"{path}: cannot be read as a table (it crashes the reader of Parquet)")
    n_cells = int(done.stdout or 0)
    if n_cells > MOST_CELLS:
        raise error(f"{path}: {n_cells} cells, expected at most {MOST_CELLS}")
    try:
        return pl.scan_parquet(io.BytesIO(content)).collect().with_columns(pl.all().cast(pl.String))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as reason:
        first = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise error(f"{path}: cannot be read as a table ({first})") from None
