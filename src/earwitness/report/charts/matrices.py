"""Confusion matrices and heat maps, with the value written in every cell."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.core.estimate import Counts
from earwitness.report import formatting
from earwitness.report.charts.style import (
    RAMP,
    break_lines,
    configure_picture,
    data_chart,
    heading,
    ink,
    label_expression,
    layer_chart,
    shorten,
)

_CLASSES = ("real", "fake")
TRACES = ("no trace", "trace")
"""Decisions of one-sided detectors, for which no trace does not say real."""
_TILE_PX, _CORNER_PX = 150, 4
_LINE_UNITS = 44
_SHADES = ("pale", "high1", "high2", "high3", "high4")
_STEPS = (0.04, 0.25, 0.5, 0.8)
_TEXT_PX, _NOTE_PX = 24, 15
_TEXT_ROOM_PX = 250  # a digit is a little over half as wide as it is high
_CELL_PX, _ROW_PX = 78, 34
_ROW_UNITS, _COLUMN_UNITS, _LINE_PX = 32, 13, 14


def confusion_chart(
    counts: Counts,
    *,
    title: str = "",
    subtitle: str = "",
    normalized: bool,
    one_sided: bool = False,
) -> alt.LayerChart:
    """Draw a 2 × 2 matrix: rows are the truth, columns the decision, real (or no trace) first.

    Normalized cells show their share of the row, with the count below, and are shaded by it;
    others show the count and are shaded by its share of the largest.
    """
    decisions = TRACES if one_sided else _CLASSES
    matrix = ((counts.tn, counts.fp), (counts.fn, counts.tp))
    largest = max(*matrix[0], *matrix[1])
    values = [
        {"true": truth, "predicted": decision}
        | _tile(truth, decision, count, sum(row), sum(row) if normalized else largest)
        | ({} if normalized or not sum(row) else {"main": formatting.count(count), "below": ""})
        for truth, row in zip(_CLASSES, matrix, strict=True)
        for decision, count in zip(decisions, row, strict=True)
    ]
    for value in values:
        value["size_px"] = (
            _NOTE_PX if value["is_empty"] else min(_TEXT_PX, _TEXT_ROOM_PX / len(value["main"]))
        )
    titles = {}
    if title:
        lines = [line for part in subtitle.split("\n") for line in break_lines(part, 48)]
        titles = {"title": heading(break_lines(title, _LINE_UNITS), lines, frame="bounds")}
    chart: alt.LayerChart = _template(one_sided=one_sided).properties(
        data=alt.InlineData(values=values), **titles
    )
    return chart


def _tile(truth: str, decision: str, count: int, n_row: int, whole: int) -> dict[str, Any]:
    """Return the text, tooltip and colours of a cell."""
    if not n_row:
        return {
            "is_empty": True,
            "shade": 0,
            "main": "no items",
            "below": "",
            "fill": ink("empty"),
            "ink": ink("soft"),
            "tooltip": f"no {truth} items",
        }
    text = formatting.count(count)
    verb = "with" if decision in TRACES else "called"
    name = _SHADES[bisect.bisect_right(_STEPS, count / whole)]
    return {
        "is_empty": False,
        "shade": count / whole,
        "main": formatting.percent(count / n_row, decimals=1),
        "below": text,
        "fill": ink(name),
        "ink": ink(f"on_{name}"),
        "tooltip": f"{text} of {formatting.count(n_row)} {truth} items {verb} {decision}",
    }


@functools.cache
def _template(*, one_sided: bool) -> alt.LayerChart:
    """Return the chart without data and titles, cached: most of the time is spent here."""
    axis = alt.Axis(labelAngle=0, labelPadding=8, titlePadding=10, ticks=False, domain=False)
    decisions, title = (TRACES, "found") if one_sided else (_CLASSES, "predicted")
    base = alt.Chart().encode(
        x=alt.X("predicted:N", sort=list(decisions), title=title, axis=axis),
        y=alt.Y("true:N", sort=list(_CLASSES), title="true", axis=axis),
    )
    tiles = base.mark_rect(stroke=ink("paper"), strokeWidth=2, cornerRadius=_CORNER_PX).encode(
        color=alt.Color("fill:N", scale=None), description="tooltip:N"
    )
    letters = alt.Color("ink:N", scale=None)
    main = base.mark_text(baseline="middle", aria=False).encode(
        text="main:N", color=letters, size=alt.Size("size_px:Q", scale=None)
    )
    below = base.mark_text(baseline="middle", dy=24, fontSize=_NOTE_PX - 1, aria=False).encode(
        text="below:N", color=letters
    )
    chart = alt.LayerChart(layer=[tiles, main, below]).properties(
        padding=14, width=alt.Step(_TILE_PX), height=alt.Step(_TILE_PX)
    )
    return configure_picture(chart, font_px=15)


class HeatCell(NamedTuple):
    """A cell of a heat map; ``None`` is undefined."""

    row: str
    column: str
    value: float | None
    tooltip: str


class Steps(NamedTuple):
    """Edges between shades; the shades are reversed if high values are bad."""

    edges: tuple[float, float, float, float, float, float]
    high_is_good: bool = True

    def shade(self, value: float) -> str:
        """Return the name of a value's shade."""
        at = bisect.bisect_right(self.edges, value)
        return RAMP[at] if self.high_is_good else RAMP[-1 - at]


SHARES = Steps((0.5, 0.6, 0.7, 0.8, 0.9, 0.97))
"""For AUROC and accuracy: up to 0.5 is no better than chance."""

GIVEN_AWAY = Steps(SHARES.edges, high_is_good=False)
"""For the AUROC of metadata baselines, which should be at chance."""

ALARMS = Steps((0.005, 0.02, 0.05, 0.1, 0.2, 0.4), high_is_good=False)
"""For false positive rates."""


def heatmap_chart(
    cells: Sequence[HeatCell], *, steps: Steps, title: str | None = None
) -> alt.LayerChart:
    """Draw a heat map; rows and columns are in order of first appearance.

    ``title`` names what the columns share, above them.
    """
    rows = list(dict.fromkeys(cell.row for cell in cells))
    columns = list(dict.fromkeys(cell.column for cell in cells))
    base = data_chart([_heat_record(cell, steps) for cell in cells]).encode(
        x=alt.X("column:N", sort=columns, title=title, axis=_heat_axis(columns, is_top=True)),
        y=alt.Y("row:N", sort=rows, title=None, axis=_heat_axis(rows, is_top=False)),
    )
    tiles = base.mark_rect(stroke=ink("paper"), strokeWidth=2, cornerRadius=3).encode(
        color=alt.Color("fill:N", scale=None), description="tooltip:N"
    )
    letters = base.mark_text(fontSize=13, aria=False).encode(
        text="letter:N", color=alt.Color("ink:N", scale=None)
    )
    return layer_chart([tiles, letters], width=_CELL_PX * len(columns), height=_ROW_PX * len(rows))


def _heat_record(cell: HeatCell, steps: Steps) -> dict[str, Any]:
    is_defined = cell.value is not None and not math.isnan(cell.value)
    shade = steps.shade(cell.value or 0) if is_defined else ""
    return {
        "row": cell.row,
        "column": cell.column,
        "tooltip": cell.tooltip,
        "letter": formatting.short_number(cell.value),
        "fill": ink(shade or "empty"),
        "ink": ink(f"on_{shade}" if shade else "soft"),
    }


def _heat_axis(names: Sequence[str], *, is_top: bool) -> alt.Axis:
    bare: dict[str, Any] = {"labelLimit": 0, "ticks": False, "domain": False, "grid": False}
    if not is_top:
        labels: dict[str, list[str]] = {name: [shorten(name, _ROW_UNITS)] for name in names}
        return alt.Axis(labelExpr=label_expression(labels), labelFontSize=13, **bare)
    labels = {name: break_lines(shorten(name, 4 * _COLUMN_UNITS), _COLUMN_UNITS) for name in names}
    n_lines = max(map(len, labels.values()), default=1)
    return alt.Axis(
        orient="top",
        labelExpr=label_expression(labels),
        labelAngle=0,
        labelBaseline="alphabetic",
        labelLineHeight=_LINE_PX,
        labelPadding=8 + _LINE_PX * (n_lines - 1),
        **bare,
    )
