"""Forest plots: values with their intervals, one a row.

Conventions: a row without an interval has a hollow dot and no bar; a row without a value has its
name and ``–``. Baselines are grey squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.report.charts.style import ink, inline_data, layer_chart, shorten

_WIDTH_PX, _ROW_PX = 330, 44
_NAME_UNITS = 46


class Interval(NamedTuple):
    """One row.

    Attributes:
        name: Its label.
        value: The value; ``None`` is undefined.
        low: Lower end of the interval; ``None`` without one.
        high: Upper end.
        tooltip: Its tooltip.
        is_baseline: Whether it is a baseline and not a detector.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    tooltip: str
    is_baseline: bool = False


def forest_chart(
    rows: Sequence[Interval], *, title: str, chance: float | None = None
) -> alt.LayerChart:
    """Draw values between 0 and 1 in the order given.

    Args:
        rows: The rows.
        title: Title of the axis.
        chance: Value of guessing, drawn as a dashed line.
    """
    names = [row.name for row in rows]
    records = [_record(row) for row in rows]
    y = alt.Y("name:N", sort=names, axis=None)
    base = alt.Chart(inline_data(records)).encode(y=y)
    low = min([0.5, *(r["low"] for r in records), *(r["value"] for r in records if r["is_there"])])
    scale = alt.Scale(domain=[max(0, math.floor(low * 10 - 0.2) / 10), 1], nice=False, zero=False)
    axis = alt.Axis(title=title, tickCount=6, format=".1f", domain=False, grid=False)
    x = alt.X("value:Q", scale=scale, axis=axis)
    bars = (
        base.mark_rule(strokeWidth=7, strokeCap="round", color=ink("band"), aria=False)
        .transform_filter("datum.has_interval")
        .encode(x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q")
    )
    dots = (
        base.mark_point(filled=False, size=80, strokeWidth=2, opacity=1)
        .transform_filter("datum.is_there")
        .encode(
            x=x,
            shape=alt.Shape("shape:N", scale=None),
            stroke=alt.Stroke("colour:N", scale=None),
            fill=alt.when("datum.has_interval")
            .then(alt.Fill("colour:N", scale=None))
            .otherwise(alt.value(ink("paper"))),
            description="tooltip:N",
        )
    )
    layers = [_rails(records, y), bars, dots, *_names(base)]
    if chance is not None:
        layers.insert(0, _chance(chance))
    return layer_chart(layers, width=_WIDTH_PX, height=_ROW_PX * len(names))


def _chance(at: float) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(inline_data([{"at": at}]))
        .mark_rule(color=ink("faint"), strokeDash=[3, 3], aria=False)
        .encode(x="at:Q")
    )
    return chart


def _names(base: alt.Chart) -> list[alt.Chart]:
    """Return the names, with a halo so that no line runs through them."""
    look: dict[str, Any] = {"align": "left", "baseline": "bottom", "dy": -9, "fontSize": 12.5}
    ground = base.mark_text(stroke=ink("paper"), strokeWidth=5, aria=False, **look)
    letters = base.mark_text(color=ink("ink"), aria=False, **look)
    return [one.encode(x=alt.value(0), text="label:N") for one in (ground, letters)]


def _rails(records: Sequence[Any], y: alt.Y) -> alt.Chart:
    """Return a thin line along each row."""
    chart: alt.Chart = (
        alt.Chart(inline_data(records))
        .mark_rule(color=ink("line"), strokeWidth=1, aria=False)
        .encode(y=y, x=alt.value(0), x2=alt.value(_WIDTH_PX))
    )
    return chart


def _record(row: Interval) -> dict[str, Any]:
    is_there = row.value is not None and not math.isnan(row.value)
    return row._asdict() | {
        "label": shorten(row.name, _NAME_UNITS) + ("" if is_there else "  –"),
        "shape": "square" if row.is_baseline else "circle",
        "colour": ink("soft" if row.is_baseline else "accent"),
        "is_there": is_there,
        "has_interval": row.low is not None,
        "low": 1 if row.low is None else row.low,
    }
