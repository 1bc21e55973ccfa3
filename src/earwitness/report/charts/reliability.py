"""Reliability: of items that score so, how many are fake.

Conventions: on the dashed line scores could be read as probabilities; a bar is the interval of the
share, and a dot without one is hollow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.report.charts.curves import SIZE_PX
from earwitness.report.charts.style import finished, ink, rate_axis, values_of


class Bin(NamedTuple):
    """Items of like scores.

    Attributes:
        mean: Their mean score.
        share: How many of them are fake.
        low: Lower end of its interval; ``None`` without one.
        high: Upper end.
        n: Items.
        told: What is told of it in full.
    """

    mean: float
    share: float
    low: float | None
    high: float | None
    n: int
    told: str


def reliability_chart(bins: Sequence[Bin]) -> alt.LayerChart:
    """Draw bins over the unit square."""
    scale = alt.Scale(domain=[0, 1], nice=False)
    axis = alt.Axis(title="mean score", values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")
    x = alt.X("mean:Q", scale=scale, axis=axis)
    y = alt.Y("share:Q", scale=scale, axis=rate_axis("share that is fake"))
    base = alt.Chart(values_of([_record(one) for one in bins]))
    diagonal = (
        alt.Chart(values_of([{"mean": 0, "share": 0}, {"mean": 1, "share": 1}]))
        .mark_line(color=ink("faint"), strokeWidth=1, strokeDash=[3, 3], aria=False)
        .encode(x=x, y=y)
    )
    bars = (
        base.mark_rule(color=ink("band"), strokeWidth=5, strokeCap="round", aria=False)
        .transform_filter("datum.has_interval")
        .encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q")
    )
    dots = base.mark_point(size=55, strokeWidth=2, opacity=1).encode(
        x=x,
        y=y,
        stroke=alt.value(ink("accent")),
        fill=alt.when("datum.has_interval")
        .then(alt.value(ink("accent")))
        .otherwise(alt.value(ink("paper"))),
        description="told:N",
    )
    return finished([diagonal, bars, dots], width=SIZE_PX, height=SIZE_PX)


def _record(one: Bin) -> dict[str, Any]:
    return one._asdict() | {"has_interval": one.low is not None}
