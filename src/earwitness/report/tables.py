"""What a page is made of: chapters of tables, figures and lists, as plain values.

Conventions: every text in here is data and is escaped where it is put into the page; the one
exception is a figure's picture, which is markup already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

from earwitness.core.estimate import Estimate
from earwitness.report import formatting

Tone = Literal["", "ok", "note", "warning"]
Look = Literal["", "name", "hash"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is read.
        sort: What the column is sorted by; ``None`` comes last.
        small: What stands behind it, smaller: an interval, or why there is no figure.
        is_none: Whether the figure is undefined.
        tone: Whether it is good or bad news; said in the text as well.
        look: ``name`` for names and paths, ``hash`` for long ones.
    """

    text: str
    sort: float | str | None = None
    small: str = ""
    is_none: bool = False
    tone: Tone = ""
    look: Look = ""


EMPTY = Cell("")
"""A cell that has nothing to say."""


@dataclass(frozen=True)
class Row:
    """A row of a table; the first cell is its heading."""

    cells: Sequence[Cell]
    detector: str | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: What it is a table of.
        columns: Headings.
        rows: Rows, each with as many cells.
        notes: What stands below it.
        texts: How many of the first columns are words, not figures.
        has_filter: Whether rows can be chosen by what they say.
        foot: Rows that stay below the others however those are sorted.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    texts: int = 1
    has_filter: bool = False
    foot: Sequence[Row] = ()
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """A picture with its data.

    Attributes:
        title: Its heading.
        pictures: Its pictures, side by side; none where ``note`` says why.
        note: What to know when looking at it.
        tables: The figures that it shows.
        detector: Whose it is.
        is_wide: Whether it takes the whole width.
    """

    title: str
    pictures: Sequence[Markup] = ()
    note: str = ""
    tables: Sequence[Table] = ()
    detector: str | None = None
    is_wide: bool = False


@dataclass(frozen=True)
class Gallery:
    """Figures side by side.

    Attributes:
        figures: The figures.
        title: Its heading.
        has_pairs: Whether figures have two pictures each.
    """

    figures: Sequence[Figure]
    title: str = ""
    has_pairs: bool = False
    kind: str = "gallery"


@dataclass(frozen=True)
class Folded:
    """Something that is opened on demand."""

    summary: str
    blocks: Sequence[Block]
    detector: str | None = None
    is_open: bool = False
    kind: str = "folded"


@dataclass(frozen=True)
class Remark:
    """A sentence that stands out."""

    text: str
    tone: Tone = "note"
    label: str = ""
    detector: str | None = None


@dataclass(frozen=True)
class Remarks:
    """Sentences that stand out."""

    remarks: Sequence[Remark]
    kind: str = "remarks"


@dataclass(frozen=True)
class Fact:
    """A figure in large type and what it is."""

    value: str
    words: str
    small: str = ""


@dataclass(frozen=True)
class Card:
    """What a detector's flags are worth: a few large figures, then tables."""

    title: str
    subtitle: str
    facts: Sequence[Fact]
    tables: Sequence[Table]
    detector: str | None = None


@dataclass(frozen=True)
class Cards:
    """Cards side by side."""

    cards: Sequence[Card]
    kind: str = "cards"


@dataclass(frozen=True)
class Wrong:
    """An item that was decided wrongly.

    Attributes:
        name: The file.
        made: What it is: its corpus, and for a fake what made it.
        score: What it scored.
        source: Where the page finds it; ``None`` where it cannot.
    """

    name: str
    made: str
    score: str
    source: str | None


@dataclass(frozen=True)
class Wrongs:
    """Items that were decided wrongly, surest first."""

    title: str
    wrongs: Sequence[Wrong]
    none: str
    kind: str = "wrongs"


Block = Table | Gallery | Folded | Remarks | Cards | Wrongs


@dataclass(frozen=True)
class Chapter:
    """A part of the page with a heading of its own.

    Attributes:
        id: What links point to.
        title: Its heading.
        lead: What to know first.
        blocks: What it shows.
    """

    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=list)


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Return a figure with its interval, or a dash with the reason."""
    if estimate is None:
        return Cell(formatting.UNDEFINED, None, "not in the file", is_none=True)
    if estimate.value is None:
        return Cell(formatting.UNDEFINED, None, estimate.reason or "", is_none=True)
    return Cell(formatting.figure(estimate.value), estimate.value, formatting.interval(estimate))


def count_cell(n: int) -> Cell:
    """Return a count."""
    return Cell(formatting.count(n), n)


def text_cell(text: str, *, look: Look = "") -> Cell:
    """Return words, sorted by their letters."""
    return Cell(text, text.casefold(), look=look)


def estimate_columns(
    names: Sequence[str], labels: dict[str, str], rows: Sequence[dict[str, Estimate]]
) -> tuple[list[str], list[str]]:
    """Choose the columns that have a figure in any row.

    Returns:
        Names of the columns to show, and what to say of those that are left out.
    """
    shown = [n for n in names if any(n in row and row[n].is_defined for row in rows)]
    left: dict[str, list[str]] = {}
    for name in names:
        if name not in shown:
            reasons = {row[name].reason or "" for row in rows if name in row}
            told = reasons.pop() if len(reasons) == 1 else "undefined in every row"
            left.setdefault(told, []).append(formatting.short(name, labels))
    notes = [f"Left out: {', '.join(names)} ({reason})." for reason, names in left.items()]
    return shown, notes


def interval_notes(estimates: Iterable[Estimate]) -> list[str]:
    """Say once why figures have no interval, where some have none."""
    reasons = {e.reason for e in estimates if e.is_defined and e.low is None and e.reason}
    return [f"Figures without brackets have no interval: {'; '.join(sorted(reasons))}."] * bool(
        reasons
    )
