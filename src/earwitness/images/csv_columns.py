"""CSVs that are edited in place: all other bytes are preserved.

Conventions: byte-order mark, encoding, delimiter, line ends and quotes stay. New fields are quoted
if needed, or if all fields of the header are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earwitness.core.errors import DatasetError
from earwitness.core.io import atomic_write, missing
from earwitness.core.spectrogram import PUBLISHED_NAMES, parse_label
from earwitness.core.text_table import DELIMITERS, decode, in_known_case, spelled_twice

PATH = "img_path"
TRUTH = "actual_output"
GROUP = "group_id"
_KNOWN = (PATH, TRUTH, GROUP, "split_tag", "split", "generator")

_LINE_END = re.compile(r"\r\n|\n|\r")
_QUOTED = re.compile(r'"((?:[^"]|"")*+)"')


@dataclass
class RawRow:
    """One row: its first line in the file (from 1), its raw fields, and its line end."""

    line: int
    fields: list[str]
    end: str

    @property
    def is_blank(self) -> bool:
        """Whether the line is empty."""
        return not any(self.fields)


@dataclass
class RawCsv:
    """A CSV: its bytes, its format, and its rows, blank ones included."""

    path: Path
    content: bytes
    mark: bytes
    encoding: str
    delimiter: str
    header: RawRow
    rows: list[RawRow]
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [_value(text) for text in self.header.fields]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def values(self, name: str) -> list[str]:
        """Return a column's values, without quotes; empty where a row is too short."""
        at = self.names.index(name)
        return [_value(row.fields[at]) if at < len(row.fields) else "" for row in self.rows]

    def set_column(self, name: str, values: Sequence[str]) -> None:
        """Replace a column, or append it; blank rows stay blank."""
        all_quoted = all(text.startswith('"') for text in self.header.fields)
        if name not in self.names:
            self._set(self.header, len(self.names), self._quoted(name, all_quoted))
            self.names.append(name)
        at = self.names.index(name)
        for row, value in zip(self.rows, values, strict=True):
            if not row.is_blank:
                self._set(row, at, self._quoted(value, all_quoted))

    def _set(self, row: RawRow, at: int, text: str) -> None:
        row.fields += [""] * (at + 1 - len(row.fields))
        row.fields[at] = text

    def _quoted(self, value: str, always: bool) -> str:
        if always or any(sign in value for sign in (self.delimiter, '"', "\r", "\n")):
            return '"' + value.replace('"', '""') + '"'
        return value

    def write(self) -> None:
        """Write the file and, unless ``<name>.bak`` exists, its old content there."""
        if self.path.read_bytes() != self.content:
            raise DatasetError(f"{self.path}: changed since it was read; nothing was written to it")
        text = "".join(
            self.delimiter.join(row.fields) + row.end for row in (self.header, *self.rows)
        )
        files = {self.path: self.mark + text.encode(self.encoding, "replace")}
        backup = self.path.with_name(self.path.name + ".bak")
        if not backup.exists():
            files = {backup: self.content} | files
        for path, data in files.items():
            with atomic_write(path) as temporary:
                temporary.write_bytes(data)


def read_image_csv(path: Path) -> RawCsv:
    """Read a CSV with ``img_path`` in UTF-8, UTF-16 with a byte-order mark, or else Latin-1.

    ``DatasetError`` if it cannot be read, is empty, has no such column, a known column twice, a
    quote that is not closed, or a row with more fields than the header.
    """
    if not path.is_file():
        raise DatasetError(f"{missing(path)}; expected a CSV with {PATH}")
    try:
        path = path.resolve(strict=True)
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    mark, encoding, text = decode(content)
    if not text.strip():
        raise DatasetError(f"{path}: empty, expected a header line and rows")
    first = _LINE_END.split(text, maxsplit=1)[0]
    headers = {d: in_known_case(list(map(_value, first.split(d))), _KNOWN) for d in DELIMITERS}
    delimiter = next((d for d, names in headers.items() if PATH in names), ",")
    header, *rows = _rows(text, delimiter, path)
    table = RawCsv(path, content, mark, encoding, delimiter, header, rows)
    own, table.names = table.names, in_known_case(table.names, _KNOWN)
    meant = [(old, name) for old, name in zip(own, table.names, strict=True) if name in _KNOWN]
    if meant and (twice := spelled_twice(*zip(*meant, strict=True))):
        raise DatasetError(f"{path}: {twice}")
    if PATH not in table:
        found = ", ".join(table.names)
        raise DatasetError(f"{path}: columns {found}; expected {PATH} among them")
    for row in rows:
        if len(row.fields) > len(header.fields):
            raise DatasetError(
                f"{path}:{row.line}: {len(row.fields)} fields, expected {len(header.fields)}"
            )
    return table


def _rows(text: str, delimiter: str, path: Path) -> Iterator[RawRow]:
    d = re.escape(delimiter)
    one = re.compile(rf'((?:"(?:[^"]|"")*+")?[^{d}\r\n]*)({d}|\r\n|\n|\r|\Z)')
    line, at = 1, 0
    row = RawRow(line, [], "")
    while at < len(text):
        found = one.match(text, at)
        assert found is not None  # noqa: S101 - the pattern matches the empty string
        raw, end = found.groups()
        if raw.startswith('"') and not _QUOTED.match(raw):
            raise DatasetError(f"{path}:{line}: a quote that is not closed")
        row.fields.append(raw)
        at = found.end()
        line += len(_LINE_END.findall(raw)) if "\n" in raw or "\r" in raw else 0
        if end == delimiter and at < len(text):
            continue
        if end == delimiter:
            row.fields.append("")
        row.end = "" if end == delimiter else end
        yield row
        line += 1
        row = RawRow(line, [], "")


def _value(raw: str) -> str:
    """Return a field without its quotes."""
    quoted = _QUOTED.match(raw)
    return quoted[1].replace('""', '"') + raw[quoted.end() :] if quoted else raw


def locate_image(base: Path, text: str) -> Path | str:
    """Return the path of a row's image, or the error of the row."""
    if not text.strip():
        return f"no {PATH}"
    top = os.path.abspath(base)  # noqa: PTH100 - links are followed where they lead
    there = os.path.normpath(os.path.join(top, text))  # noqa: PTH118 - a name may be no valid Path
    if "\\" in text and not os.path.lexists(there):
        there = os.path.normpath(os.path.join(top, text.replace("\\", "/")))  # noqa: PTH118
    if os.path.commonpath([top, there]) != top:
        return "outside of the base folder"
    return Path(there)


def read_targets(csv: RawCsv) -> list[int | None]:
    """Return the label of each row, ``None`` without one; ``DatasetError`` if one is unknown."""
    if TRUTH not in csv:
        return [None] * len(csv.rows)
    targets = [parse_label(text) if text.strip() else None for text in csv.values(TRUTH)]
    unknown = [
        (row.line, text)
        for row, text, target in zip(csv.rows, csv.values(TRUTH), targets, strict=True)
        if text.strip() and target is None
    ]
    if unknown:
        line, text = unknown[0]
        others = f" (and {len(unknown) - 1} more rows)" if unknown[1:] else ""
        raise DatasetError(
            f"{csv.path}:{line}: {TRUTH} {text!r}, expected {' or '.join(PUBLISHED_NAMES)} or the "
            f"like{others}"
        )
    return targets
