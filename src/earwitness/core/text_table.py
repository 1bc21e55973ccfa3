"""Tables read as text: CSV of any common dialect, or Parquet by suffix.

Conventions: an empty cell is ``None``. A CSV may be UTF-8, UTF-16 or Latin-1, delimited by ``,``,
``;``, a tab or ``|``. Blank lines and comments (``#``) are skipped. Known column names match in
any case; an exact match wins.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.errors import EarwitnessError
from earwitness.core.io import read_parquet
from earwitness.core.spectrogram import parse_target

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = (",", ";", "\t", "|")
"""Delimiters of CSV fields, in order of preference."""

_MISSING = frozenset(
    {"nan", "-nan", "none", "null", "na", "n/a", "#n/a", "#na", "<na>", "nat", "-", ""}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
_MARK = "\ufeff"


@dataclass(frozen=True)
class TextTable:
    """A table as text, and the line of the file, from 1, on which each row begins."""

    frame: pl.DataFrame
    lines: Sequence[int]


def read_text_table(
    path: Path, *, error: type[EarwitnessError], needed: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the columns of a table as text, see ``read_table``."""
    return read_table(path, error=error, needed=needed).frame


def read_table(
    path: Path,
    *,
    error: type[EarwitnessError],
    needed: Sequence[str] = (),
    known: Collection[str] = (),
) -> TextTable:
    """Return a CSV, or Parquet by suffix, as text, with the line of each row.

    ``needed`` columns are required; they and ``known`` ones match in any case. An ``error`` is
    raised if the file is no table, a column is repeated, a row has more fields than the header, or
    a quote is not closed.
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = _parquet(path, error)
        else:
            table = _csv(path, path.read_bytes(), error, needed)
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    names = in_known_case(table.frame.columns, {*needed, *known})
    if twice := spelled_twice(table.frame.columns, names):
        raise error(f"{path}: {twice}")
    table.frame.columns = names
    missing = [name for name in needed if name not in table.frame.columns]
    if missing:
        found, expected = listed(table.frame.columns), ", ".join(needed)
        raise error(f"{path}: columns {found}; expected {expected} among them")
    return table


def in_known_case(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return column names; those that match a missing known name but for case are replaced."""
    wanted = {name.casefold(): name for name in known if name not in names}
    return [wanted.get(name.casefold(), name) for name in names]


def spelled_twice(names: Sequence[str], found: Sequence[str]) -> str | None:
    """Return an error message if several names of a header match one column, else ``None``."""
    name, n = next(iter(Counter(found).most_common(1)), ("", 0))
    if n < 2:
        return None
    spelled = [repr(old) for old, new in zip(names, found, strict=True) if new == name]
    return f"columns {' and '.join(spelled)}, expected one {name!r}"


def read_columns(path: Path, known: Collection[str] = ()) -> list[str] | None:
    """Return a table's column names; ``[]`` for an empty file, ``None`` if it is no table."""
    import polars as pl

    try:
        with path.open("rb") as file:  # a stream, for Polars takes brackets in a path for a glob
            if path.suffix.lower() == ".parquet":
                return in_known_case(list(pl.read_parquet_schema(file)), known)
            content = file.read(1 << 20)
        text = decode(content)[2]
        header = _header(text) if text.strip() else None
    except (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return [] if header is None else in_known_case(header.names, known)


def decode(content: bytes) -> tuple[bytes, str, str]:
    """Return byte-order mark, encoding and text of a file.

    UTF-16 without a mark is detected by its zero bytes; what is no UTF-8 is read as Latin-1.
    """
    marks = {
        codecs.BOM_UTF8: "utf-8",
        codecs.BOM_UTF16_LE: "utf-16-le",
        codecs.BOM_UTF16_BE: "utf-16-be",
    }
    for mark, encoding in marks.items():
        if content.startswith(mark):
            try:
                return mark, encoding, content[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                break
    zeros = {"utf-16-be": content[:1000:2].count(0), "utf-16-le": content[1:1000:2].count(0)}
    wide = [name for name, n in zeros.items() if n * 5 > len(content[:1000])]
    for encoding in (*wide, "utf-8", "latin-1"):
        try:
            return b"", encoding, content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 decodes anything")


def listed(names: Sequence[str], n_characters: int = 200) -> str:
    """Return column names as one printable line of limited length."""
    text = "".join(c if c.isprintable() else "?" for c in ", ".join(names))
    return text if len(text) <= n_characters else text[:n_characters] + "…"


def is_missing(text: str | None) -> bool:
    """Return whether a cell is empty or a missing value as pandas and others write it."""
    return text is None or text.strip().lower() in _MISSING


def without_missing(column: pl.Series) -> pl.Series:
    """Return a text column, stripped, with null for missing values."""
    stripped = column.str.strip_chars()
    missing = stripped.str.to_lowercase().is_in([*_MISSING])
    return stripped.set(missing.fill_null(value=False), None)


def clean_names(column: pl.Series) -> pl.Series:
    """Return a text column as ``without_missing``, in Unicode NFC."""
    return without_missing(column).str.normalize("NFC")


def labels(column: pl.Series) -> pl.Series:
    """Return a text column of labels as 0, 1, or null for other text."""
    import polars as pl

    known = {text: parse_target(text) for text in column.drop_nulls().unique()}
    return column.replace_strict(known, default=None, return_dtype=pl.Int8)


def numbers(column: pl.Series) -> pl.Series:
    """Return a text column as numbers, or null for other text; ``0,5`` is 0.5."""
    import polars as pl

    found = column.cast(pl.Float64, strict=False)
    others = column.filter(found.is_null() & column.is_not_null())
    values = {text: parse_number(text) for text in others.unique()}
    is_other = column.is_in([*values])
    rest = column.replace_strict(values, default=None, return_dtype=pl.Float64)
    return found.zip_with(~is_other.fill_null(value=False), rest) if values else found


def parse_number(text: str) -> float | None:
    """Return a number with a decimal point or comma; ``None`` for other text."""
    text = text.strip()
    comma = re.fullmatch(r"([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)", text)
    try:
        return float(f"{comma[1]}.{comma[2]}" if comma else text)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Header:
    """The header of a CSV."""

    names: list[str]
    delimiter: str
    n_lines_above: int
    rest: str  # the text from the header's line on
    is_spaced: bool  # whether a blank follows each delimiter


def _parquet(path: Path, error: type[EarwitnessError]) -> TextTable:
    import polars as pl

    frame = read_parquet(path, error=error)
    if frame.width == 0:
        raise error(f"{path}: no columns, expected a table")
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    if filled.all():
        return TextTable(frame, range(2, frame.height + 2))
    return TextTable(frame.filter(filled), (filled.arg_true() + 2).to_list())


def _csv(
    path: Path, content: bytes, error: type[EarwitnessError], needed: Sequence[str]
) -> TextTable:
    formats = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip or Excel file", b"PAR1": "Parquet"}
    packed = next((what for mark, what in formats.items() if content.startswith(mark)), None)
    if packed:
        raise error(f"{path}: is {packed}, expected a CSV by this name")
    text = decode(content)[2]
    if not text.strip():
        raise error(f"{path}: empty, expected a header line and rows")
    header = _header(text, needed)
    if header is None:
        raise error(f"{path}: comments alone, expected a header line and rows")
    if "\0" in text:
        raise error(f"{path}: contains zero bytes, expected a table of text")
    lines, rows = _rows(path, header, error)
    return TextTable(_frame(path, header.names, rows, error), lines)


def _header(text: str, needed: Sequence[str] = ()) -> _Header | None:
    """Find the header line: the first that is neither blank nor a comment."""
    line_end = re.compile(r"\r\n|\n|\r")
    at, above, given, comment = 0, 0, None, ""
    while at < len(text):
        end = line_end.search(text, at)
        stop = end.end() if end else len(text)
        line = text[at : end.start() if end else stop].lstrip(_MARK)
        separator = re.fullmatch(r'"?sep=(.)"?\s*', line)
        if separator and above == 0:
            given = separator[1]
        elif line.startswith("#"):
            comment = line
        elif line.strip():
            break
        at, above = stop, above + 1
    else:
        return None
    delimiter = given or _delimiter(line, needed)
    names = _cells(line, delimiter)
    commented = _cells(comment.lstrip("#"), delimiter)
    if len(commented) == len(names) > 1 and _has_columns(commented) and not _has_columns(names):
        rest = line_end.sub("\n", comment.lstrip("#")) + "\n" + text[at:]
        return _Header(commented, delimiter, above - 1, rest, _is_spaced(line, delimiter))
    return _Header(names, delimiter, above, text[at:], _is_spaced(line, delimiter))


def _has_columns(names: Sequence[str], needed: Collection[str] = ("filepath",)) -> bool:
    return set(needed) <= set(in_known_case(names, needed))


def _delimiter(line: str, needed: Sequence[str]) -> str:
    """Return the delimiter that gives all needed columns, else the most columns."""
    found = {d: _cells(line, d) for d in DELIMITERS}
    whole = (d for d, names in found.items() if needed and _has_columns(names, needed))
    return next(whole, None) or max(found, key=lambda d: len(found[d]))


def _cells(line: str, delimiter: str) -> list[str]:
    spaced = _is_spaced(line, delimiter)
    cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=spaced), [])
    return [cell.strip(_MARK + " \t\r\n") for cell in cells]


def _is_spaced(line: str, delimiter: str) -> bool:
    """Return whether a blank follows every delimiter, as in ``a, "b", c``."""
    return delimiter != "\t" and line.count(delimiter) == line.count(delimiter + " ") > 0


def _rows(
    path: Path, header: _Header, error: type[EarwitnessError]
) -> tuple[list[int], list[list[str]]]:
    """Return the lines and the fields of all non-empty rows."""
    n = len(header.names)
    lines, rows = [], []
    for line, row in _read_rows(path, header, error):
        if not any(cell.strip() for cell in row) or (row[0].startswith("#") and len(row) < n):
            continue
        if len(row) > n and any(cell.strip() for cell in row[n:]):
            raise error(f"{path}:{line}: {len(row)} fields, expected {n} as in the header")
        lines.append(line)
        rows.append(row[:n] + [""] * (n - len(row)))
    return lines, rows


def _read_rows(
    path: Path, header: _Header, error: type[EarwitnessError]
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(header.rest, newline=""),
        delimiter=header.delimiter,
        skipinitialspace=header.is_spaced,
        strict=True,
    )
    line = 0
    try:
        next(reader)
        line = reader.line_num
        for row in reader:
            if row:
                row[0] = row[0].lstrip(_MARK)
            yield header.n_lines_above + line + 1, row
            line = reader.line_num
    except csv.Error as reason:
        what = "a quote that is not closed" if "unexpected end" in str(reason) else str(reason)
        raise error(f"{path}:{header.n_lines_above + line + 1}: {what}") from None


def _frame(
    path: Path, names: list[str], rows: list[list[str]], error: type[EarwitnessError]
) -> pl.DataFrame:
    """Return rows as text columns, without empty columns that have no name."""
    import polars as pl

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kept = [i for i, name in enumerate(names) if name or any(columns[i])]
    found = [names[i] for i in kept]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        shown = f"column {twice!r}" if twice else "a column without a name"
        raise error(f"{path}: {shown} appears {found.count(twice)} times, expected once")
    series = [pl.Series(names[i], [c or None for c in columns[i]], dtype=pl.String) for i in kept]
    return pl.DataFrame(series)
