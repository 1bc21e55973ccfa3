"""Detection error trade-off: the two error rates against each other, spaced by their probits.

Conventions: points come as probits; the axes say the rates that these stand for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
from scipy.stats import norm

from earwitness.charts.finish import finished
from earwitness.charts.lines import SIZE_PX, Curve, line_layers

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
