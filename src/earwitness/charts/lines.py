"""Curves of one detector, in front of others that stand back.

Conventions: the curve in front is dark and thick, those behind it are thin and grey; what is told
of a point stands on invisible dots along the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.charts.finish import values_of
from earwitness.charts.palette import ink

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
