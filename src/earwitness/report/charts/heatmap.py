"""Figures in a grid of cells, one for each row and column: the crossed grid, and its like.

Conventions: every cell is lettered with its figure, so that shades only repeat it; a cell without
a figure is grey and says ``–``. Shades change at the edges of ``Steps``.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.report.charts.style import (
    RAMP,
    broken,
    finished,
    ink,
    relabelled,
    shortened,
    values_of,
)

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
