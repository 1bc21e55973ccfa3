"""Receiver operating characteristic: fakes found against reals flagged, over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from earwitness.charts.finish import finished, rate_axis, values_of
from earwitness.charts.lines import SIZE_PX, Curve, line_layers
from earwitness.charts.palette import ink


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
