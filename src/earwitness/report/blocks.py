"""Blocks of the report page: sections of tables, figures and lists, as plain values.

Conventions: all text is data and is escaped where the templates insert it, except the charts of a
figure, which are markup already. ``kind`` selects the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from earwitness.report.tables import Table, Tone


@dataclass(frozen=True)
class Figure:
    """Charts and the data behind them.

    Attributes:
        title: Heading.
        charts: Charts, side by side; none where ``note`` says why.
        note: Caption below the charts.
        tables: The data in the charts.
        detector: The detector it belongs to, for filters.
        is_wide: Whether it takes the whole width.
    """

    kind: ClassVar[str] = "figure"

    title: str
    charts: Sequence[Markup] = ()
    note: str = ""
    tables: Sequence[Table] = ()
    detector: str | None = None
    is_wide: bool = False


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
    """Figures or cards, side by side.

    Attributes:
        items: The figures or cards.
        title: Heading.
        has_pairs: Whether figures have two charts each.
    """

    kind: ClassVar[str] = "gallery"

    items: Sequence[Figure | StatCard]
    title: str = ""
    has_pairs: bool = False


@dataclass(frozen=True)
class Details:
    """Blocks below a summary that opens and closes them."""

    kind: ClassVar[str] = "details"

    summary: str
    blocks: Sequence[Block]
    detector: str | None = None
    is_open: bool = False


@dataclass(frozen=True)
class Note:
    """A highlighted sentence; a label says whom or what it is about."""

    kind: ClassVar[str] = "note"

    text: str
    tone: Tone = "note"
    label: str = ""
    detector: str | None = None


@dataclass(frozen=True)
class Misclassified:
    """An item with a wrong decision.

    Attributes:
        name: File name.
        origin: Its corpus, generator and data set.
        score: Its score.
        source: Link to the audio; ``None`` if there is none.
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
    """A section of the page.

    Attributes:
        id: Target of links.
        title: Heading.
        lead: Introduction.
        blocks: Its content.
    """

    id: str
    title: str
    lead: str
    blocks: Sequence[Block] = ()
