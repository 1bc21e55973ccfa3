"""What all charts of a report share: type, axes, and how their data goes in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from earwitness.charts.lettering import FONT, printable
from earwitness.charts.palette import ink


def finished(layers: Sequence[alt.Chart], *, width: float, height: float) -> alt.LayerChart:
    """Return a chart of layers, with its type, its quiet axes and its ground.

    Args:
        layers: From the ground up.
        width: Width of what is within the axes, in pixels.
        height: Its height.
    """
    done: alt.LayerChart = (
        alt.LayerChart(layer=list(layers))
        .properties(width=width, height=height)
        .configure(font=FONT, background=ink("paper"), padding=6)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelColor=ink("soft"),
            titleColor=ink("soft"),
            titlePadding=8,
            gridColor=ink("line"),
            domainColor=ink("rule"),
            tickColor=ink("rule"),
        )
    )
    return done


def values_of(rows: Sequence[Any]) -> alt.InlineData:
    """Return rows as a chart's own data."""
    return alt.InlineData(values=list(rows))


def rate_axis(title: str, *, values: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)) -> alt.Axis:
    """Return an axis for shares, in per cent."""
    return alt.Axis(
        title=title,
        values=list(values),
        labelExpr="round(datum.value * 100) + ' %'",
        labelFlush=False,
    )


def relabelled(labels: Mapping[str, str | Sequence[str]]) -> str:
    """Return an expression that puts other words, or lines of them, in the place of labels.

    Args:
        labels: Every label and what is to be read there. It is written as text, whatever it holds.
    """
    texts = {
        printable(label): printable(text) if isinstance(text, str) else [*map(printable, text)]
        for label, text in labels.items()
    }
    return f"{json.dumps(texts)}[datum.value]"
