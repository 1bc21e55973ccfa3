"""Tables on disk, read as text: CSV of any common kind, or Parquet where the suffix says so.

Conventions: every value comes back as the text it is, so that the reader decides what a number
is and can show what it found; an empty cell is ``None``. A CSV may be UTF-8, UTF-16 or Latin-1,
with or without a byte-order mark, delimited by ``,``, ``;``, a tab or ``|``, with any line ends.
Blank lines, comment lines (``#``) before the header and comments of one cell between rows are
skipped. A name that is in a header twice is an error: it is ambiguous which column is meant.
The names that a reader knows are found in any case (``FilePath``); one spelled exactly wins.
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
from earwitness.core.parquet import read_parquet
from earwitness.core.spectrogram import parse_target

if TYPE_CHECKING:
    import polars as pl

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte-order marks and the encodings that they announce."""

DELIMITERS = (",", ";", "\t", "|")
"""Delimiters of CSV fields, in order of preference."""

MISSING_WORDS = frozenset(
    {"nan", "-nan", "none", "null", "na", "n/a", "#n/a", "#na", "<na>", "nat", "-"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""How other tools write a missing value, in lower case."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)")
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip or Excel file", b"PAR1": "Parquet"}
_MARK = "\ufeff"


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes:
        frame: Every column as text.
        lines: Line of the file on which each row begins; the header is line 1 where nothing is
            above it.
    """

    frame: pl.DataFrame
    lines: list[int]


def read_text_table(
    path: Path, *, error: type[EarwitnessError], needed: Sequence[str] = ()
) -> pl.DataFrame:
    """Read a table with every column as text; see ``read_table``."""
    return read_table(path, error=error, needed=needed).frame


def read_table(
    path: Path,
    *,
    error: type[EarwitnessError],
    needed: Sequence[str] = (),
    known: Collection[str] = (),
) -> TextTable:
    """Read a table with every column as text, and the line of each row.

    Args:
        path: A CSV, or a Parquet file by its suffix.
        error: What is raised.
        needed: Columns that must be there.
        known: Further columns that are found in any case and returned by these names.

    Raises:
        EarwitnessError: The file is missing, empty, no table, lacks a column, has one twice, a
            row has more fields than the header, or a quote is not closed.
    """
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    if path.suffix.lower() == ".parquet":
        table = _parquet(path, content, error)
    else:
        table = _csv(path, content, error, needed)
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
    """Return column names, in which those that differ from a known one in case alone are that one.

    Where a known name is there exactly, others stay as they are.
    """
    wanted = {name.casefold(): name for name in known if name not in names}
    return [wanted.get(name.casefold(), name) for name in names]


def spelled_twice(names: Sequence[str], found: Sequence[str]) -> str | None:
    """Return what is wrong where several names of a header were found to be one column."""
    name, n = next(iter(Counter(found).most_common(1)), ("", 0))
    if n < 2:
        return None
    spelled = [repr(old) for old, new in zip(names, found, strict=True) if new == name]
    return f"columns {' and '.join(spelled)}, expected one {name!r}"


def read_columns(path: Path, known: Collection[str] = ()) -> list[str] | None:
    """Return a table's column names, or ``None`` where the file is no table; an empty one has none.

    Args:
        path: As for ``read_table``; only the beginning of a CSV is read.
        known: Columns that are found in any case.
    """
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
    """Return byte-order mark, encoding and text of a file; nothing is lost on the way back.

    UTF-16 without its mark is known by its zero bytes; what is no UTF-8 is Latin-1.
    """
    for mark, encoding in MARKS.items():
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
    """Return column names as one printable line that is not too long."""
    text = "".join(c if c.isprintable() else "?" for c in ", ".join(names))
    return text if len(text) <= n_characters else text[:n_characters] + "…"


def is_missing(text: str | None) -> bool:
    """Whether a cell says that there is no value: empty, or as pandas and others write it."""
    return text is None or text.strip().lower() in MISSING_WORDS or not text.strip()


def without_missing(column: pl.Series) -> pl.Series:
    """Return a text column without outer blanks, null where a cell says that there is no value."""
    stripped = column.str.strip_chars()
    missing = stripped.str.to_lowercase().is_in([*MISSING_WORDS, ""])
    return stripped.set(missing.fill_null(value=False), None)


def clean_names(column: pl.Series) -> pl.Series:
    """Return a column of names as ``without_missing``, each in its composed form (Unicode NFC).

    What looks the same is the same name: ``é`` may be one character or two.
    """
    return without_missing(column).str.normalize("NFC")


def labels(column: pl.Series) -> pl.Series:
    """Return a text column of labels as 0, 1 and, where a cell is neither, null."""
    import polars as pl

    known = {text: parse_target(text) for text in column.drop_nulls().unique()}
    return column.replace_strict(known, default=None, return_dtype=pl.Int8)


def numbers(column: pl.Series) -> pl.Series:
    """Return a text column as numbers, null where a cell is none; ``0,5`` is a half."""
    import polars as pl

    values = {text: parse_number(text) for text in column.drop_nulls().unique()}
    return column.replace_strict(values, default=None, return_dtype=pl.Float64)


def parse_number(text: str) -> float | None:
    """Return the number that a text is, with a decimal point or comma; else ``None``."""
    text = text.strip()
    comma = _DECIMAL_COMMA.fullmatch(text)
    try:
        return float(f"{comma[1]}.{comma[2]}" if comma else text)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Header:
    """The header of a CSV.

    Attributes:
        names: Names of the columns.
        delimiter: Between fields.
        n_lines: Lines above the header's.
        rest: The text from the header's line on.
        spaced: Whether a blank follows each delimiter.
    """

    names: list[str]
    delimiter: str
    n_lines: int
    rest: str
    spaced: bool


def _parquet(path: Path, content: bytes, error: type[EarwitnessError]) -> TextTable:
    import polars as pl

    frame = read_parquet(path, content, error=error)
    if frame.width == 0:
        raise error(f"{path}: no columns, expected a table")
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return TextTable(frame.filter(filled), (filled.arg_true() + 2).to_list())


def _csv(
    path: Path, content: bytes, error: type[EarwitnessError], needed: Sequence[str]
) -> TextTable:
    packed = next((what for mark, what in _PACKED.items() if content.startswith(mark)), None)
    if packed:
        raise error(f"{path}: is {packed}, expected a CSV by this name")
    text = decode(content)[2]
    if not text.strip():
        raise error(f"{path}: empty, expected a header line and rows")
    header = _header(text, needed)
    if header is None:
        raise error(f"{path}: comments alone, expected a header line and rows")
    if "\0" in text:
        raise error(f"{path}: holds zero bytes, expected a table of text")
    lines, rows = _rows(path, header, error)
    return TextTable(_frame(path, header.names, rows, error), lines)


def _header(text: str, needed: Sequence[str] = ()) -> _Header | None:
    """Find the header line: the first that is neither blank nor a comment."""
    at, above, given, comment = 0, 0, None, ""
    while at < len(text):
        end = _LINE_END.search(text, at)
        stop = end.end() if end else len(text)
        line = text[at : end.start() if end else stop].lstrip(_MARK)
        separator = _SEPARATOR_LINE.fullmatch(line)
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
        rest = _LINE_END.sub("\n", comment.lstrip("#")) + "\n" + text[at:]
        return _Header(commented, delimiter, above - 1, rest, spaced=_is_spaced(line, delimiter))
    return _Header(names, delimiter, above, text[at:], spaced=_is_spaced(line, delimiter))


def _has_columns(names: Sequence[str], needed: Collection[str] = ("filepath",)) -> bool:
    return set(needed) <= set(in_known_case(names, needed))


def _delimiter(line: str, needed: Sequence[str]) -> str:
    """Return the delimiter that finds the columns that are needed, else the most columns."""
    found = {d: _cells(line, d) for d in DELIMITERS}
    whole = (d for d, names in found.items() if needed and _has_columns(names, needed))
    return next(whole, None) or max(found, key=lambda d: len(found[d]))


def _cells(line: str, delimiter: str) -> list[str]:
    spaced = _is_spaced(line, delimiter)
    cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=spaced), [])
    return [cell.strip(_MARK + " \t\r\n") for cell in cells]


def _is_spaced(line: str, delimiter: str) -> bool:
    """Whether a blank follows every delimiter, as in ``a, "b", c``."""
    return delimiter != "\t" and line.count(delimiter) == line.count(delimiter + " ") > 0


def _rows(
    path: Path, header: _Header, error: type[EarwitnessError]
) -> tuple[list[int], list[list[str]]]:
    """Return the line and the fields of every row that holds anything."""
    n = len(header.names)
    lines, rows = [], []
    for line, row in _read(path, header, error):
        if not any(cell.strip() for cell in row) or (row[0].startswith("#") and len(row) < n):
            continue
        if len(row) > n and any(cell.strip() for cell in row[n:]):
            raise error(f"{path}:{line}: {len(row)} fields, expected {n} as in the header")
        lines.append(line)
        rows.append(row[:n] + [""] * (n - len(row)))
    return lines, rows


def _read(
    path: Path, header: _Header, error: type[EarwitnessError]
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(header.rest, newline=""),
        delimiter=header.delimiter,
        skipinitialspace=header.spaced,
        strict=True,
    )
    line = 0
    try:
        next(reader)
        line = reader.line_num
        for row in reader:
            if row:
                row[0] = row[0].lstrip(_MARK)
            yield header.n_lines + line + 1, row
            line = reader.line_num
    except csv.Error as reason:
        what = "a quote that is not closed" if "unexpected end" in str(reason) else str(reason)
        raise error(f"{path}:{header.n_lines + line + 1}: {what}") from None


def _frame(
    path: Path, names: list[str], rows: list[list[str]], error: type[EarwitnessError]
) -> pl.DataFrame:
    """Return rows as columns of text, without nameless columns that hold nothing."""
    import polars as pl

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kept = [i for i, name in enumerate(names) if name or any(columns[i])]
    found = [names[i] for i in kept]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        shown = f"column {twice!r}" if twice else "a column without a name"
        raise error(
            f"{path}: {shown} is there {found.count(twice)} times, expected every name once"
        )
    series = [pl.Series(names[i], [c or None for c in columns[i]], dtype=pl.String) for i in kept]
    return pl.DataFrame(series)
