"""Tables as values, rendered on the terminal, in HTML, as CSV and in LaTeX.

An undefined cell is ``–`` with the reason as its note. ``templates/macros.html`` renders HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from earwitness.core.estimate import Estimate
from earwitness.core.io import atomic_write
from earwitness.report import formatting

Tone = Literal["", "ok", "note", "warning"]
Look = Literal["", "name", "hash"]

BY_CONSTRUCTION = "by construction: this set holds one class only"
_TYPES = {"text": pl.String, "count": pl.Int64, "number": pl.Float64}


@dataclass(frozen=True)
class Column:
    """A column of a table, with its heading in a CSV and on the terminal if they differ."""

    label: str
    kind: Literal["text", "count", "number"] = "number"
    name: str = ""
    short: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: Text of the cell.
        value: Value in a CSV and sort key; ``None`` comes last.
        note: Text in small type after it: an interval, or why the value is undefined.
        short: Text on the terminal if it differs; an interval follows a line feed.
        by_construction: Whether the lack of one class alone decides the value.
        tone: Whether it is good or bad news; the text says so as well.
        look: ``name`` for names and paths, ``hash`` for long ones.
    """

    text: str
    value: float | str | None = None
    note: str = ""
    short: str = ""
    by_construction: bool = False
    tone: Tone = ""
    look: Look = ""

    @property
    def is_undefined(self) -> bool:
        """Whether there is no value."""
        return self.text == formatting.UNDEFINED

    @property
    def sort(self) -> float | str | None:
        """Sort key: numbers by size, text without regard to case."""
        return self.value.casefold() if isinstance(self.value, str) else self.value


EMPTY = Cell("")
Value = Cell | Estimate | str | int | float | None


@dataclass(frozen=True)
class Row:
    """A row of a table; its first cell is its heading. The page filters by ``detector``."""

    cells: Sequence[Cell]
    detector: str | None = None


@dataclass(frozen=True)
class Table:
    """A table, which a rich console prints.

    Attributes:
        notes: Sentences below the table.
        has_filter: Whether the page offers a filter over its rows.
        foot: Rows below the others, which are not sorted.
        is_grouped: Whether the first column is a group heading, on the terminal and in LaTeX.
    """

    kind: ClassVar[str] = "table"

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    has_filter: bool = False
    foot: Sequence[Row] = ()
    is_grouped: bool = False

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[rich.table.Table]:
        """Yield the table for the terminal."""
        wide = _rich_table(self, is_wide=True)
        is_wide = options.max_width >= max(105, _least_width(wide))  # intervals beside values
        yield wide if is_wide else _rich_table(self, is_wide=False)

    @property
    def groups(self) -> Iterator[tuple[str, list[Sequence[Cell]]]]:
        """Group headings, each with the other cells of its rows."""
        for heading, rows in groupby(self.rows, key=lambda row: row.cells[0].text):
            yield heading, [row.cells[1:] for row in rows]

    def to_csv(self, path: Path, names: Sequence[str]) -> None:
        """Write the named columns as a CSV, atomically; undefined cells are empty."""
        schema = {column.name or column.label: _TYPES[column.kind] for column in self.columns}
        values = [[cell.value for cell in row.cells] for row in self.rows]
        frame = pl.DataFrame(values, schema=schema, orient="row").select(names)
        with atomic_write(path) as temporary:
            frame.write_csv(temporary)


def text_columns(*labels: str) -> list[Column]:
    """Return columns of text."""
    return [Column(label, "text") for label in labels]


def number_columns(*labels: str) -> list[Column]:
    """Return columns of numbers."""
    return [Column(label) for label in labels]


def make_row(*values: Value, detector: str | None = None) -> Row:
    """Return a row; texts, counts (``int``), numbers and estimates become cells."""
    return Row([_make_cell(value) for value in values], detector)


def _make_cell(value: Value) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, str):
        return text_cell(value)
    if isinstance(value, int):
        return count_cell(value)
    return estimate_cell(value) if isinstance(value, Estimate) else number_cell(value)


def text_cell(text: str, *, look: Look = "", tone: Tone = "") -> Cell:
    """Return text."""
    return Cell(text, text, look=look, tone=tone)


def name_cell(name: str) -> Cell:
    """Return the name of a file, detector or data set."""
    return Cell(name, name, look="name")


def count_cell(n: int) -> Cell:
    """Return a count."""
    return Cell(formatting.count(n), n, short=str(n))


def number_cell(value: float | None, *, by_construction: bool = False, reason: str = "") -> Cell:
    """Return a number, or a dash with the reason why it is undefined."""
    if value is None:
        return Cell(formatting.UNDEFINED, note=reason)
    return Cell(formatting.number(value), value, by_construction=by_construction)


def threshold_cell(value: float | None) -> Cell:
    """Return a threshold with four significant digits."""
    return number_cell(None) if value is None else Cell(f"{value:.4g}", value)


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Return an estimate with its interval, or a dash with the reason."""
    if estimate is None or estimate.value is None:
        return number_cell(None, reason=estimate.reason or "" if estimate else "not in the file")
    text = formatting.number(estimate.value)
    short = f"{text}\n{formatting.short_interval(estimate)}".rstrip()
    return Cell(text, estimate.value, formatting.interval(estimate), short)


def share_cell(estimate: Estimate) -> Cell:
    """Return a share as a percentage; all or none without an interval is a dash."""
    interval = formatting.share_interval(estimate)
    text = formatting.share(estimate)
    short = text if estimate.value in (0, 1) else f"{text}\n{interval}".rstrip()
    return Cell(text, estimate.value, interval or estimate.reason or "", short)


def choose_columns(
    names: Sequence[str], labels: dict[str, str], rows: Sequence[dict[str, Estimate]]
) -> tuple[list[str], list[str]]:
    """Return the metrics that are defined in any row, and notes on what is missing."""
    shown = [n for n in names if any(n in row and row[n].is_defined for row in rows)]
    left: dict[str, list[str]] = {}
    for name in names:
        if name not in shown:
            reasons = {row[name].reason or "" for row in rows if name in row}
            reason = reasons.pop() if len(reasons) == 1 else "undefined in every row"
            left.setdefault(reason, []).append(formatting.metric_name(name, labels))
    notes = interval_notes(row[n] for row in rows for n in shown if n in row)
    return shown, notes + [f"Left out: {', '.join(few)} ({why})." for why, few in left.items()]


def interval_notes(estimates: Iterable[Estimate]) -> list[str]:
    """Return at most one note on why some values have no interval."""
    reasons = {e.reason for e in estimates if e.is_defined and e.low is None and e.reason}
    return [f"Values without brackets have no interval: {'; '.join(sorted(reasons))}."] * bool(
        reasons
    )


def _rich_table(table: Table, *, is_wide: bool) -> rich.table.Table:
    made = rich.table.Table(
        title=Text(table.caption, style="bold"),
        caption=Text("\n".join([*_reasons(table), *table.notes])),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, int(is_wide), 0, 0),
    )
    columns = list(table.columns)
    if table.is_grouped:
        columns[:2] = text_columns(f"{columns[0].label} / {columns[1].label}")
    for column in columns:
        label = Text(column.short or column.label)
        if column.kind == "text":
            made.add_column(label, overflow="fold", min_width=13)
        else:
            made.add_column(label, justify="right", no_wrap=True)
    if table.is_grouped:
        for heading, rows in table.groups:
            made.add_row(Text(heading, style="bold"))
            for cells in rows:
                first = Cell(f" {cells[0].text}")
                made.add_row(*_rich_cells([first, *cells[1:]], table, is_wide=is_wide))
            made.add_section()
        return made
    for row in table.rows:
        made.add_row(*_rich_cells(row.cells, table, is_wide=is_wide))
    for row in table.foot:
        made.add_row(*_rich_cells(row.cells, table, is_wide=is_wide), style="dim")
    return made


def _least_width(table: rich.table.Table) -> int:
    """Return the width below which the table's text columns are cut."""
    numbers = [column for column in table.columns if column.no_wrap]
    cells = (max(cell_len(str(c)) for c in (n.header, *n.cells)) for n in numbers)
    texts = (column.min_width or 0 for column in table.columns if not column.no_wrap)
    return sum(cells) + sum(texts) + 2 * len(table.columns)


def _rich_cells(cells: Sequence[Cell], table: Table, *, is_wide: bool) -> Iterator[Text]:
    """Yield the cells; columns with daggers are padded so that decimal points align."""
    marked = {
        at - len(row.cells)
        for row in table.rows
        for at, cell in enumerate(row.cells)
        if cell.by_construction
    }
    for at, cell in enumerate(cells):
        text = cell.short or cell.text
        if at - len(cells) in marked:
            text += "†" if cell.by_construction else " "
        is_dim = cell.by_construction or cell.is_undefined
        yield Text(text.replace("\n", " ") if is_wide else text, style="dim" if is_dim else "")


def _reasons(table: Table) -> list[str]:
    """Return at most one note on why cells are undefined."""
    cells = (cell for row in (*table.rows, *table.foot) for cell in row.cells)
    reasons = dict.fromkeys(cell.note for cell in cells if cell.is_undefined and cell.note)
    return [f"{formatting.UNDEFINED}: {'; '.join(reasons)}"] * bool(reasons)


_DAGGER = r"\textsuperscript{\dag}"
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def latex_lines(table: Table, headings: Sequence[str]) -> Iterator[str]:
    """Yield a grouped table in LaTeX (booktabs); headings are LaTeX, without that of groups."""
    yield "% Needs \\usepackage{booktabs}; to be \\input into a table."
    yield f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}"
    yield "\\toprule"
    yield _latex_row(headings)
    span = f"\\multicolumn{{{len(headings)}}}{{l}}"
    for heading, rows in table.groups:
        yield "\\midrule"
        yield f"{span}{{\\textbf{{{escape_latex(heading)}}}}} \\\\"
        for name, *cells in rows:
            yield _latex_row([f"\\quad {escape_latex(name.text)}", *map(_latex_cell, cells)])
    yield "\\bottomrule"
    for note in table.notes:
        yield f"{span}{{\\footnotesize {note.replace('†', _DAGGER)}}} \\\\"
    yield "\\end{tabular}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    if not isinstance(cell.value, float):
        return "--" if cell.value is None else str(cell.value)
    return f"{cell.value:.3f}{_DAGGER if cell.by_construction else ''}"


def escape_latex(text: str) -> str:
    """Escape text for LaTeX; unprintable characters become ``?``."""
    return "".join(_ESCAPES.get(c, c if c.isprintable() else "?") for c in text)
