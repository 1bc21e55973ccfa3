"""Confusion matrices and heat maps.

Conventions: the value is written in every cell, so colour only repeats it. An undefined cell is
grey and says so.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.core.estimate import Counts
from earwitness.report.charts.style import (
    FONT,
    RAMP,
    broken,
    finished,
    ink,
    relabelled,
    shortened,
    values_of,
)

_CLASSES = ("real", "fake")
_TILE_PX = 150
_LINE_UNITS = 44
_SHADES = ("pale", "high1", "high2", "high3", "high4")
_STEPS = (0.04, 0.25, 0.5, 0.8)
_CORNER_PX = 4
_TEXT_PX, _NOTE_PX = 24, 15
_TEXT_ROOM_PX = 250  # a digit is a little over half as wide as it is high


class _Cell(NamedTuple):
    """One cell: where it lies, how dark it is (0 to 1), what is written in it and how big.

    ``told`` says all of it in words.
    """

    true: str
    predicted: str
    is_empty: bool
    shade: float
    main: str
    below: str
    size_px: float
    fill: str
    ink: str
    told: str


def confusion_chart(
    counts: Counts, *, title: str = "", subtitle: str = "", normalized: bool
) -> alt.LayerChart:
    """Draw a 2 × 2 matrix.

    Args:
        counts: How the decisions fell out.
        title: Over the matrix; broken into lines where it is long. Without one there is none.
        subtitle: Under the title; line feeds in it are kept.
        normalized: Write each cell's share of its row, with the count below, and shade by it;
            otherwise write counts, shaded by their share of the largest.
    """
    values: list[Any] = [cell._asdict() for cell in _cells(counts, normalized=normalized)]
    heading = {"title": _heading(title, subtitle)} if title else {}
    chart: alt.LayerChart = _template().properties(data=alt.InlineData(values=values), **heading)
    return chart


@functools.cache
def _template() -> alt.LayerChart:
    """Everything but the data and the heading; most of the time to make a chart goes here."""
    base = alt.Chart().encode(
        x=alt.X("predicted:N", sort=list(_CLASSES), title="predicted", axis=_tile_axis()),
        y=alt.Y("true:N", sort=list(_CLASSES), title="true", axis=_tile_axis()),
    )
    chart: alt.LayerChart = (
        alt.LayerChart(layer=[_tiles(base), *_texts(base)])
        .properties(padding=14, width=alt.Step(_TILE_PX), height=alt.Step(_TILE_PX))
        .configure(font=FONT, background=ink("paper"))
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=15, titleFontSize=15, labelColor=ink("ink"), titleColor=ink("ink")
        )
    )
    return chart


def _cells(counts: Counts, *, normalized: bool) -> list[_Cell]:
    matrix = ((counts.tn, counts.fp), (counts.fn, counts.tp))
    largest = max(*matrix[0], *matrix[1])
    return [
        _cell(truth, decision, count, sum(row), largest, normalized=normalized)
        for truth, row in zip(_CLASSES, matrix, strict=True)
        for decision, count in zip(_CLASSES, row, strict=True)
    ]


def _cell(
    truth: str, decision: str, count: int, n_row: int, largest: int, *, normalized: bool
) -> _Cell:
    if not n_row:
        grey = (ink("empty"), ink("soft"), f"no {truth} items")
        return _Cell(truth, decision, True, 0, "no items", "", _NOTE_PX, *grey)
    text = _thousands(count)
    main, below = (_percent(count, n_row), text) if normalized else (text, "")
    shade = count / (n_row if normalized else largest)
    name = _SHADES[bisect.bisect_right(_STEPS, shade)]
    told = f"{text} of {_thousands(n_row)} {truth} items called {decision}"
    colours = (ink(name), ink(f"on_{name}"))
    return _Cell(truth, decision, False, shade, main, below, _fitting_px(main), *colours, told)


def _tiles(base: alt.Chart) -> alt.Chart:
    marked = base.mark_rect(stroke=ink("paper"), strokeWidth=2, cornerRadius=_CORNER_PX)
    tiles: alt.Chart = marked.encode(color=alt.Color("fill:N", scale=None), description="told:N")
    return tiles


def _texts(base: alt.Chart) -> tuple[alt.Chart, alt.Chart]:
    color = alt.Color("ink:N", scale=None)
    size = alt.Size("size_px:Q", scale=None)
    main = base.mark_text(baseline="middle", aria=False)
    below = base.mark_text(baseline="middle", dy=24, fontSize=_NOTE_PX - 1, aria=False)
    return (
        main.encode(text="main:N", color=color, size=size),
        below.encode(text="below:N", color=color),
    )


def _tile_axis() -> alt.Axis:
    return alt.Axis(labelAngle=0, labelPadding=8, titlePadding=10, ticks=False, domain=False)


def _heading(title: str, subtitle: str) -> alt.TitleParams:
    lines = [part for line in subtitle.split("\n") for part in broken(line, _LINE_UNITS + 4)]
    return alt.TitleParams(
        text=broken(title, _LINE_UNITS),
        subtitle=lines,
        anchor="start",
        frame="bounds",
        fontSize=16,
        fontWeight="bold",
        color=ink("ink"),
        subtitleFontSize=13,
        subtitleColor=ink("soft"),
        subtitlePadding=6,
        offset=16,
    )


def _fitting_px(text: str) -> float:
    """Size at which text fits into its cell."""
    return min(_TEXT_PX, _TEXT_ROOM_PX / len(text))


def _percent(part: int, whole: int) -> str:
    """One decimal; what is neither none nor all is not rounded to either."""
    percent = 100 * part / whole
    if part and percent < 0.1:
        return "< 0.1 %"
    if part < whole and percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def _thousands(n: int) -> str:
    """Write a count with a narrow gap that does not break every three digits."""
    return f"{n:,}".replace(",", "\u202f")


_CELL_PX, _ROW_PX = 78, 34
_ROW_UNITS, _COLUMN_UNITS, _LINE_PX = 32, 13, 14
_BARE: dict[str, Any] = {"labelLimit": 0, "ticks": False, "domain": False, "grid": False}


class Cell(NamedTuple):
    """One cell.

    Attributes:
        row: What stands left of it.
        column: What stands over it.
        value: Its figure; ``None`` is undefined.
        told: What is told of it in full.
    """

    row: str
    column: str
    value: float | None
    told: str


class Steps(NamedTuple):
    """Where shades change.

    Attributes:
        edges: Six figures in order; below the first lies the lowest shade.
        high_is_good: Whether the last shade is the best; otherwise shades run the other way.
    """

    edges: tuple[float, float, float, float, float, float]
    high_is_good: bool = True

    def shade(self, value: float) -> str:
        """Return the name of a figure's shade."""
        at = bisect.bisect_right(self.edges, value)
        return RAMP[at] if self.high_is_good else RAMP[-1 - at]


SHARES = Steps((0.5, 0.6, 0.7, 0.8, 0.9, 0.97))
"""For AUROC and shares of right decisions: up to a half is no better than a coin."""

GIVEN_AWAY = Steps(SHARES.edges, high_is_good=False)
"""For AUROC of what ought to tell nothing: down to a half is as good as a coin."""

ALARMS = Steps((0.005, 0.02, 0.05, 0.1, 0.2, 0.4), high_is_good=False)
"""For false positive rates."""


def heatmap_chart(cells: Sequence[Cell], *, steps: Steps, x_title: str = "") -> alt.LayerChart:
    """Draw the cells; rows and columns stand in the order in which they first come.

    Args:
        cells: At most one for each row and column.
        steps: Where shades change.
        x_title: What the columns are.
    """
    rows, columns = _in_order([c.row for c in cells]), _in_order([c.column for c in cells])
    base = alt.Chart(values_of([_record(cell, steps) for cell in cells])).encode(
        x=alt.X("column:N", sort=columns, title=x_title or None, axis=_axis(columns, top=True)),
        y=alt.Y("row:N", sort=rows, title=None, axis=_axis(rows, top=False)),
    )
    tiles = base.mark_rect(stroke=ink("paper"), strokeWidth=2, cornerRadius=3).encode(
        color=alt.Color("fill:N", scale=None), description="told:N"
    )
    letters = base.mark_text(fontSize=13, aria=False).encode(
        text="letter:N", color=alt.Color("ink:N", scale=None)
    )
    return finished([tiles, letters], width=_CELL_PX * len(columns), height=_ROW_PX * len(rows))


def _record(cell: Cell, steps: Steps) -> dict[str, Any]:
    base = {"row": cell.row, "column": cell.column, "told": cell.told}
    if cell.value is None:
        return base | {"letter": "–", "fill": ink("empty"), "ink": ink("soft")}
    shade = steps.shade(cell.value)
    return base | {
        "letter": _lettered(cell.value),
        "fill": ink(shade),
        "ink": ink(f"on_{shade}"),
    }


def _lettered(value: float) -> str:
    """Two decimals; what is not quite 0 or 1 is not rounded to it."""
    if 0 < value < 0.005:
        return "<.01"
    if 0.995 <= value < 1:
        return ">.99"
    return f"{value:.2f}".replace("0.", ".", 1)


def _axis(names: Sequence[str], *, top: bool) -> alt.Axis:
    if not top:
        labels: dict[str, list[str]] = {name: [shortened(name, _ROW_UNITS)] for name in names}
        return alt.Axis(labelExpr=relabelled(labels), labelFontSize=13, **_BARE)
    labels = {name: broken(shortened(name, 4 * _COLUMN_UNITS), _COLUMN_UNITS) for name in names}
    n_lines = max(map(len, labels.values()))
    return alt.Axis(
        orient="top",
        labelExpr=relabelled(labels),
        labelAngle=0,
        labelBaseline="alphabetic",
        labelLineHeight=_LINE_PX,
        labelPadding=8 + _LINE_PX * (n_lines - 1),
        **_BARE,
    )


def _in_order(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
