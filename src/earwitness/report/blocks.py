"""Sections of the report page and their blocks, as plain values.

``kind`` selects the template. Templates escape all text; charts are markup already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from earwitness.report.tables import Table, Tone


@dataclass(frozen=True)
class ChartCard:
    """Charts side by side, a caption below them, and tables of their data.

    The page shows and hides cards by ``detector``; ``duration_s`` is the length of a time axis.
    """

    kind: ClassVar[str] = "chart_card"

    title: str
    charts: Sequence[Markup] = ()
    note: str = ""
    tables: Sequence[Table] = ()
    detector: str | None = None
    is_wide: bool = False
    duration_s: float | None = None


@dataclass(frozen=True)
class Stat:
    """A number in large type with its label and a note."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class StatCard:
    """A few numbers in large type, then tables."""

    kind: ClassVar[str] = "stat_card"

    title: str
    subtitle: str
    stats: Sequence[Stat]
    tables: Sequence[Table]
    detector: str | None = None


@dataclass(frozen=True)
class Gallery:
    """Cards side by side; ``has_pairs`` if each has two charts."""

    kind: ClassVar[str] = "gallery"

    items: Sequence[ChartCard | StatCard]
    title: str = ""
    has_pairs: bool = False


@dataclass(frozen=True)
class Details:
    """Blocks that a summary line opens and closes."""

    kind: ClassVar[str] = "details"

    summary: str
    blocks: Sequence[Block]
    detector: str | None = None
    is_open: bool = False


@dataclass(frozen=True)
class Note:
    """A highlighted sentence; its label is the detector it is about, or links to ``address``."""

    kind: ClassVar[str] = "note"

    text: str
    tone: Tone = "note"
    label: str = ""
    detector: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Misclassified:
    """An item with a wrong decision; ``origin`` is its corpus, generator and data set.

    ``source`` links to the audio and is ``None`` if the page cannot reach it.
    """

    name: str
    origin: str
    score: str
    source: str | None


@dataclass(frozen=True)
class MisclassifiedList:
    """Items with a wrong decision, most confident first."""

    kind: ClassVar[str] = "misclassified"

    title: str
    items: Sequence[Misclassified]
    empty: str


Block = Table | Gallery | Details | Note | MisclassifiedList


@dataclass(frozen=True)
class Section:
    """A section of the page; ``id`` is the target of links, ``lead`` the introduction."""

    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()
