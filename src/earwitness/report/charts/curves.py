"""ROC, DET and risk-coverage curves, score histograms, reliability diagrams and forest plots.

The curve in front is dark and thick, those behind are thin and grey; invisible dots carry its
tooltips. A value without an interval is a hollow dot; baselines are grey squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import altair as alt
from scipy.stats import norm

from earwitness.report.charts.style import data_chart, ink, layer_chart, rate_axis, shorten

_SIZE_PX, _WIDTH_PX = 250, 280
_PERCENT = "format(abs(datum.value) * 100, '.2~f') + ' %'"


class Curve(NamedTuple):
    """The points of one detector's curve and their tooltips, if it has any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tooltips: Sequence[str] = ()


def line_layers(front: Curve, behind: Sequence[Curve], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Return the layers of curves, on axes of the fields ``x`` and ``y``."""
    ghosts = [row for curve in behind for row in _rows(curve)]
    own = _rows(front)
    grey = data_chart(ghosts).mark_line(color=ink("ghost"), strokeWidth=1, aria=False)
    dark = data_chart(own).mark_line(color=ink("accent"), strokeWidth=2.2, aria=False)
    dots = data_chart([row for row in own if row["tooltip"]]).mark_circle(opacity=0, size=110)
    return [
        *([grey.encode(x=x, y=y, detail="name:N", order="at:Q")] if ghosts else []),
        dark.encode(x=x, y=y, order="at:Q"),
        dots.encode(x=x, y=y, description="tooltip:N"),
    ]


def _rows(curve: Curve) -> list[dict[str, Any]]:
    tooltips = curve.tooltips or [""] * len(curve.x)
    points = zip(curve.x, curve.y, tooltips, strict=True)
    return [
        {"name": curve.name, "at": at, "x": x, "y": y, "tooltip": tooltip}
        for at, (x, y, tooltip) in enumerate(points)
    ]


def roc_chart(front: Curve, behind: Sequence[Curve] = ()) -> alt.LayerChart:
    """Draw a ROC curve: ``x`` is the false positive rate, ``y`` the recall."""
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("x:Q", scale=scale, axis=rate_axis("reals called fake"))
    y = alt.Y("y:Q", scale=scale, axis=rate_axis("fakes called fake"))
    return layer_chart(
        [_diagonal(x, y), *line_layers(front, behind, x, y)], width=_SIZE_PX, height=_SIZE_PX
    )


def det_chart(front: Curve, behind: Sequence[Curve] = ()) -> alt.LayerChart:
    """Draw a DET curve: ``x`` is the probit of the false positive rate, ``y`` of the miss rate."""
    domain = _domain([front, *behind])
    scale = alt.Scale(domain=domain, nice=False, clamp=True)
    x = alt.X("x:Q", scale=scale, axis=_probit_axis("reals called fake, %", domain))
    y = alt.Y("y:Q", scale=scale, axis=_probit_axis("fakes missed, %", domain))
    return layer_chart(line_layers(front, behind, x, y), width=_SIZE_PX, height=_SIZE_PX)


def risk_coverage_chart(front: Curve, behind: Sequence[Curve] = ()) -> alt.LayerChart:
    """Draw a risk-coverage curve: ``x`` is the share of items decided, ``y`` of errors there."""
    risks = [y for curve in (front, *behind) for y in curve.y if math.isfinite(y)]
    top = min(1.0, max([0.1, *risks]) * 1.1)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=rate_axis("items decided"))
    axis = alt.Axis(title="errors among them", labelExpr=_PERCENT, tickCount=5)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, top], nice=False), axis=axis)
    return layer_chart(line_layers(front, behind, x, y), width=_SIZE_PX, height=_SIZE_PX)


def _domain(curves: Sequence[Curve]) -> list[float]:
    """Return the range of probits, from 1 % or less to 50 % or more, within ±3.3."""
    points = [p for curve in curves for p in (*curve.x, *curve.y) if math.isfinite(p)]
    low = max(min([*points, norm.ppf(0.01)]), -3.3)
    high = min(max([*points, norm.ppf(0.5)]), 3.3)
    return [math.floor(low * 10) / 10, math.ceil(high * 10) / 10]


def _probit_axis(title: str, domain: Sequence[float]) -> alt.Axis:
    rates = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
    ticks = [(float(norm.ppf(rate)), rate) for rate in rates]
    inside = [(at, rate) for at, rate in ticks if domain[0] <= at <= domain[1]]
    labels = "".join(
        f"abs(datum.value - {at:.6f}) < 1e-3 ? '{rate * 100:g}' : " for at, rate in inside
    )
    return alt.Axis(title=title, values=[at for at, _ in inside], labelExpr=labels + "''")


def distribution_chart(
    edges: Sequence[float], real: Sequence[int], fake: Sequence[int], *, title: str
) -> alt.LayerChart:
    """Draw histograms of reals and fakes back to back; ``title`` is that of the score axis."""
    rows = [*_bars("real", edges, real, 1), *_bars("fake", edges, fake, -1)]
    edges = edges or [0, 1]
    reach = max((abs(row["share"]) for row in rows), default=1) * 1.18
    x = alt.X(
        "low:Q",
        scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False),
        axis=alt.Axis(title=title, grid=False, tickCount=6),
    )
    axis = alt.Axis(title="share of its class", labelExpr=_PERCENT, tickCount=5)
    y = alt.Y("zero:Q", scale=alt.Scale(domain=[-reach, reach], nice=False), axis=axis)
    bars = (
        data_chart([row for row in rows if row["share"]])
        .mark_rect()
        .encode(
            x=x,
            x2="high:Q",
            y=y,
            y2="share:Q",
            color=alt.Color("color:N", scale=None),
            description="tooltip:N",
        )
    )
    line = (
        data_chart([{"zero": 0}])
        .mark_rule(color=ink("soft"), strokeWidth=1, aria=False)
        .encode(y=y)
    )
    return layer_chart(
        [bars, line, *_letters(edges, reach, bool(sum(real)), bool(sum(fake)), y)],
        width=_WIDTH_PX,
        height=_SIZE_PX,
    )


def _bars(
    name: str, edges: Sequence[float], counts: Sequence[int], sign: int
) -> list[dict[str, Any]]:
    total = sum(counts) or 1
    return [
        {
            "low": low,
            "high": high,
            "zero": 0,
            "share": sign * n / total,
            "color": ink(name),
            "tooltip": f"{n} of {total} {name}s score {low:.3g} to {high:.3g} ({n / total:.1%})",
        }
        for (low, high), n in zip(pairwise(edges), counts, strict=True)
    ]


def _letters(
    edges: Sequence[float], reach: float, has_real: bool, has_fake: bool, y: alt.Y
) -> list[alt.Chart]:
    """Return the labels of both classes, such as ``no reals``."""
    left = edges[0] + (edges[-1] - edges[0]) / 40
    sides = (("real", has_real, reach * 0.9), ("fake", has_fake, -reach * 0.9))
    return [
        data_chart([{"low": left, "zero": at, "label": f"{name}s" if there else f"no {name}s"}])
        .mark_text(align="left", fontSize=12, fontWeight="bold", color=ink(name), aria=False)
        .encode(x="low:Q", y=y, text="label:N")
        for name, there, at in sides
    ]


class Bin(NamedTuple):
    """Mean score of similar items, and the share of fakes among them with its interval."""

    mean: float
    share: float
    low: float | None
    high: float | None
    n: int
    tooltip: str


def reliability_chart(bins: Sequence[Bin]) -> alt.LayerChart:
    """Draw a reliability diagram."""
    scale = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(title="mean score", values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")
    x = alt.X("x:Q", scale=scale, axis=axis)
    y = alt.Y("y:Q", scale=scale, axis=rate_axis("share of fakes"))
    records = [
        {**one._asdict(), "x": one.mean, "y": one.share, "has_interval": one.low is not None}
        for one in bins
    ]
    base = data_chart(records)
    bars = _interval_bars(base, 5).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
    accent = alt.value(ink("accent"))
    dots = base.mark_point(size=55, strokeWidth=2, opacity=1).encode(
        x=x, y=y, stroke=accent, fill=_hollow_without_interval(accent), description="tooltip:N"
    )
    return layer_chart([_diagonal(x, y), bars, dots], width=_SIZE_PX, height=_SIZE_PX)


def _interval_bars(base: alt.Chart, width_px: int) -> alt.Chart:
    look: dict[str, Any] = {
        "color": ink("band"),
        "strokeWidth": width_px,
        "strokeCap": "round",
        "aria": False,
    }
    bars: alt.Chart = base.mark_rule(**look).transform_filter("datum.has_interval")
    return bars


def _hollow_without_interval(colour: Any) -> Any:
    return alt.when("datum.has_interval").then(colour).otherwise(alt.value(ink("paper")))


def _diagonal(x: alt.X, y: alt.Y) -> alt.Chart:
    chart: alt.Chart = (
        data_chart([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        .mark_line(color=ink("faint"), strokeWidth=1, strokeDash=[3, 3], aria=False)
        .encode(x=x, y=y)
    )
    return chart


_FOREST_PX, _ROW_PX = 330, 44
_NAME_UNITS = 46


class Interval(NamedTuple):
    """A row of a forest plot: a value and its interval, each ``None`` if undefined."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    tooltip: str
    is_baseline: bool = False


def forest_chart(
    rows: Sequence[Interval], *, title: str, chance: float | None = None
) -> alt.LayerChart:
    """Draw a forest plot of values between 0 and 1; chance is a dashed line."""
    names = [row.name for row in rows]
    records = [_forest_record(row) for row in rows]
    y = alt.Y("name:N", sort=names, axis=None)
    base = data_chart(records).encode(y=y)
    low = min([0.5, *(r["low"] for r in records), *(r["value"] for r in records if r["is_there"])])
    scale = alt.Scale(domain=[max(0, math.floor(low * 10 - 0.2) / 10), 1], nice=False, zero=False)
    axis = alt.Axis(title=title, tickCount=6, format=".1f", domain=False, grid=False)
    x = alt.X("value:Q", scale=scale, axis=axis)
    bars = _interval_bars(base, 7).encode(x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q")
    dots = (
        base.mark_point(filled=False, size=80, strokeWidth=2, opacity=1)
        .transform_filter("datum.is_there")
        .encode(
            x=x,
            shape=alt.Shape("shape:N", scale=None),
            stroke=alt.Stroke("colour:N", scale=None),
            fill=_hollow_without_interval(alt.Fill("colour:N", scale=None)),
            description="tooltip:N",
        )
    )
    rails = data_chart(records).mark_rule(color=ink("line"), strokeWidth=1, aria=False)
    look: dict[str, Any] = {"align": "left", "baseline": "bottom", "dy": -9, "fontSize": 12.5}
    halo = base.mark_text(stroke=ink("paper"), strokeWidth=5, aria=False, **look)
    letters = base.mark_text(color=ink("ink"), aria=False, **look)
    layers = [
        rails.encode(y=y, x=alt.value(0), x2=alt.value(_FOREST_PX)),
        *(bars, dots),
        *(text.encode(x=alt.value(0), text="label:N") for text in (halo, letters)),
    ]
    if chance is not None:
        dashes = data_chart([{"at": chance}])
        dashes = dashes.mark_rule(color=ink("faint"), strokeDash=[3, 3], aria=False)
        layers.insert(0, dashes.encode(x="at:Q"))
    return layer_chart(layers, width=_FOREST_PX, height=_ROW_PX * len(names))


def _forest_record(row: Interval) -> dict[str, Any]:
    is_there = row.value is not None and not math.isnan(row.value)
    return row._asdict() | {
        "label": shorten(row.name, _NAME_UNITS) + ("" if is_there else "  –"),
        "shape": "square" if row.is_baseline else "circle",
        "colour": ink("soft" if row.is_baseline else "accent"),
        "is_there": is_there,
        "has_interval": row.low is not None,
        "low": 1 if row.low is None else row.low,
    }
