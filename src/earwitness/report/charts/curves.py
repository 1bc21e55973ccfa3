"""Curves of one detector, in front of others that stand back.

Conventions: the curve in front is dark and thick, those behind it are thin and grey; what is told
of a point stands on invisible dots along the curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
from scipy.stats import norm

from earwitness.report.charts.style import finished, ink, rate_axis, values_of

SIZE_PX = 250


class Curve(NamedTuple):
    """One curve.

    Attributes:
        name: What it is the curve of.
        x: Where its points lie, from left to right.
        y: How high they lie.
        told: What is told of each; empty for a curve that stands back.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    told: Sequence[str] = ()


def line_layers(front: Curve, behind: Sequence[Curve], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Return the layers that draw curves on given axes.

    Args:
        front: The curve that the chart is about.
        behind: Curves to see it against.
        x: The horizontal axis, of the field ``x``.
        y: The vertical axis, of the field ``y``.
    """
    ghosts = [row for curve in behind for row in _rows(curve)]
    own = _rows(front)
    grey = alt.Chart(values_of(ghosts)).mark_line(color=ink("ghost"), strokeWidth=1, aria=False)
    dark = alt.Chart(values_of(own)).mark_line(color=ink("accent"), strokeWidth=2.2, aria=False)
    dots = alt.Chart(values_of([row for row in own if row["told"]])).mark_circle(
        opacity=0, size=110
    )
    return [
        *([grey.encode(x=x, y=y, detail="name:N", order="at:Q")] if ghosts else []),
        dark.encode(x=x, y=y, order="at:Q"),
        dots.encode(x=x, y=y, description="told:N"),
    ]


def _rows(curve: Curve) -> list[dict[str, Any]]:
    told = curve.told or [""] * len(curve.x)
    points = zip(curve.x, curve.y, told, strict=True)
    return [
        {"name": curve.name, "at": at, "x": x, "y": y, "told": told}
        for at, (x, y, told) in enumerate(points)
    ]


def roc_chart(front: Curve, behind: Sequence[Curve] = ()) -> alt.LayerChart:
    """Draw the curve of one detector; ``x`` is the false positive rate, ``y`` the recall."""
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X("x:Q", scale=scale, axis=rate_axis("reals called fake"))
    y = alt.Y("y:Q", scale=scale, axis=rate_axis("fakes called fake"))
    chance = (
        alt.Chart(values_of([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color=ink("faint"), strokeWidth=1, strokeDash=[3, 3], aria=False)
        .encode(x=x, y=y)
    )
    return finished([chance, *line_layers(front, behind, x, y)], width=SIZE_PX, height=SIZE_PX)


_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
_LEAST, _MOST = -3.3, 3.3


def det_chart(front: Curve, behind: Sequence[Curve] = ()) -> alt.LayerChart:
    """Draw the curve of one detector.

    Args:
        front: Its curve: ``x`` is the probit of the false positive rate, ``y`` of the miss rate.
        behind: Curves to see it against.
    """
    domain = _domain([front, *behind])
    scale = alt.Scale(domain=domain, nice=False, clamp=True)
    x = alt.X("x:Q", scale=scale, axis=_axis("reals called fake, %", domain))
    y = alt.Y("y:Q", scale=scale, axis=_axis("fakes called real, %", domain))
    return finished(line_layers(front, behind, x, y), width=SIZE_PX, height=SIZE_PX)


def _domain(curves: Sequence[Curve]) -> list[float]:
    """Return probits that hold all points, from 1 % at least to a half at least."""
    points = [probit for curve in curves for probit in (*curve.x, *curve.y)]
    low = max(min([*points, norm.ppf(0.01)]), _LEAST)
    high = min(max([*points, norm.ppf(0.5)]), _MOST)
    return [math.floor(low * 10) / 10, math.ceil(high * 10) / 10]


def _axis(title: str, domain: Sequence[float]) -> alt.Axis:
    ticks = [(float(norm.ppf(rate)), rate) for rate in _TICKS]
    inside = [(at, rate) for at, rate in ticks if domain[0] <= at <= domain[1]]
    told = "".join(
        f"abs(datum.value - {at:.6f}) < 1e-3 ? '{rate * 100:g}' : " for at, rate in inside
    )
    return alt.Axis(title=title, values=[at for at, _ in inside], labelExpr=told + "''")
