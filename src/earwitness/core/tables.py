"""Tables on disk, read as text: CSV, or Parquet where the suffix says so.

Conventions: every value comes back as the text it is, so that the reader decides what a number
is and can show what it found; empty is ``None``. Byte-order marks and Windows line ends are
taken as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.errors import EarwitnessError

if TYPE_CHECKING:
    import polars as pl


ZERO_ONE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
"""How labels stand in tables, those of pandas among them."""


def drop_blank_lines(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
    """Return the rows that hold anything, and the line of each: the header is line 1."""
    import polars as pl

    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame.filter(filled), (filled.arg_true() + 2).to_list()


def read_text_table(
    path: Path, *, error: type[EarwitnessError], needed: Sequence[str] = ()
) -> pl.DataFrame:
    """Read a table with every column as text.

    Args:
        path: A CSV, or a Parquet file by its suffix.
        error: What is raised.
        needed: Columns that must be there.

    Raises:
        EarwitnessError: The file is not there, empty, no table, or lacks a column.
    """
    import polars as pl

    try:
        with path.open("rb") as file:  # a stream, for Polars takes brackets in a path for a glob
            if path.suffix.lower() == ".parquet":
                frame = pl.read_parquet(file).with_columns(pl.all().cast(pl.String))
            else:
                frame = pl.read_csv(file, infer_schema=False)
    except pl.exceptions.NoDataError:
        raise error(f"{path}: empty, expected a header line and rows") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except (pl.exceptions.PolarsError, UnicodeError) as reason:
        first = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise error(f"{path}: cannot be read as a table ({first})") from None
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        found, expected = ", ".join(frame.columns), ", ".join(needed)
        raise error(f"{path}: columns {found}; expected {expected} among them")
    return frame
