"""How scores are spread: reals upwards, fakes downwards, each as a share of its class.

Conventions: scores rise to the right. Direction and lettering tell the classes apart, colour
repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from earwitness.report.charts.curves import SIZE_PX
from earwitness.report.charts.style import finished, ink, values_of

_WIDTH_PX = 280


def distribution_chart(
    edges: Sequence[float], real: Sequence[int], fake: Sequence[int], *, title: str
) -> alt.LayerChart:
    """Draw two histograms back to back.

    Args:
        edges: Edges of the bins, one more than there are bins.
        real: Reals in each bin.
        fake: Fakes in each bin.
        title: What the scores are.
    """
    rows = [*_bars("real", edges, real, 1), *_bars("fake", edges, fake, -1)]
    reach = max((abs(row["share"]) for row in rows), default=1) * 1.18
    x = alt.X(
        "low:Q",
        scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False),
        axis=alt.Axis(title=title, grid=False, tickCount=6),
    )
    axis = alt.Axis(title="share of its class", labelExpr=_PERCENT, tickCount=5)
    y = alt.Y("zero:Q", scale=alt.Scale(domain=[-reach, reach], nice=False), axis=axis)
    bars = (
        alt.Chart(values_of([row for row in rows if row["share"]]))
        .mark_rect()
        .encode(
            x=x,
            x2="high:Q",
            y=y,
            y2="share:Q",
            color=alt.Color("color:N", scale=None),
            description="told:N",
        )
    )
    line = (
        alt.Chart(values_of([{"zero": 0}]))
        .mark_rule(color=ink("soft"), strokeWidth=1, aria=False)
        .encode(y=y)
    )
    return finished(
        [bars, line, *_letters(edges, reach, bool(sum(real)), bool(sum(fake)), y)],
        width=_WIDTH_PX,
        height=SIZE_PX,
    )


_PERCENT = "format(abs(datum.value) * 100, '.2~f') + ' %'"


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
            "told": f"{n} of {total} {name}s score {low:.3g} to {high:.3g} ({n / total:.1%})",
        }
        for (low, high), n in zip(pairwise(edges), counts, strict=True)
    ]


def _letters(
    edges: Sequence[float], reach: float, has_real: bool, has_fake: bool, y: alt.Y
) -> list[alt.Chart]:
    """Write which side is which, in its own colour; a class that is not there says so."""
    left = edges[0] + (edges[-1] - edges[0]) / 40
    sides = (("real", has_real, reach * 0.9), ("fake", has_fake, -reach * 0.9))
    return [
        alt.Chart(
            values_of([{"low": left, "zero": at, "told": f"{name}s" if there else f"no {name}s"}])
        )
        .mark_text(align="left", fontSize=12, fontWeight="bold", color=ink(name), aria=False)
        .encode(x="low:Q", y=y, text="told:N")
        for name, there, at in sides
    ]
