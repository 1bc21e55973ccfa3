"""Charts of scores over time, with the truth above them where it is known.

Times are seconds from the start of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from earwitness.evaluation.windows import Segment, tick_seconds
from earwitness.report.charts.style import (
    break_lines,
    configure_picture,
    data_chart,
    heading,
    ink,
    row_heading,
)

_WIDTH_PX, _HEIGHT_PX, _LINE_UNITS = 760, 84, 84
_TRUTH_PX = 10
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '')"
    " + (datum.value >= 3600 ? format(floor(datum.value % 3600 / 60), '02d')"
    " : floor(datum.value / 60)) + ':' + format(datum.value % 60, '02d')"
)


class Band(NamedTuple):
    """One detector's scores, without overlaps, and its verdict as the title.

    What a one-sided detector does not find is drawn as neither real nor fake.
    """

    title: str
    segments: Sequence[Segment]
    threshold: float
    one_sided: bool = False


class Truth(NamedTuple):
    """A part of a file and its label, 0 real or 1 fake."""

    start_s: float
    end_s: float
    label: int


def timeline_chart(
    bands: Sequence[Band], *, title: str, subtitle: str, duration_s: float
) -> alt.VConcatChart:
    """Draw scores over time, one band per detector."""
    last = len(bands) - 1
    rows = [_row(band, duration_s, is_last=at == last) for at, band in enumerate(bands)]
    lines = break_lines(title, _LINE_UNITS), break_lines(subtitle, _LINE_UNITS + 16)
    chart = alt.vconcat(*rows, spacing=22).properties(
        padding=16, title=heading(*lines, frame="bounds")
    )
    return configure_picture(chart, font_px=13)


def truth_chart(band: Band, truth: Sequence[Truth], duration_s: float) -> alt.VConcatChart:
    """Draw the parts of a file that are fake over one detector's scores."""
    rows = [
        {"from": part.start_s, "to": part.end_s, "color": ink("fake" if part.label else "real")}
        for part in truth
    ]
    strip = (
        data_chart(rows)
        .mark_rect()
        .encode(
            x=alt.X("from:Q", scale=_scale(duration_s), axis=None),
            x2="to:Q",
            color=alt.Color("color:N", scale=None),
        )
        .properties(width=_WIDTH_PX, height=_TRUTH_PX)
    )
    chart = alt.vconcat(strip, _row(band, duration_s, is_last=True), spacing=4)
    return configure_picture(chart, font_px=13)


def _scale(duration_s: float) -> alt.Scale:
    return alt.Scale(domain=[0, duration_s], nice=False)


def _row(band: Band, duration_s: float, *, is_last: bool) -> alt.LayerChart:
    time_axis = alt.Axis(
        values=tick_seconds(duration_s),
        labelExpr=_CLOCK,
        labels=is_last,
        title="time" if is_last else None,
        grid=False,
        domain=False,
        tickColor=ink("faint"),
        labelPadding=6,
    )
    score_axis = alt.Axis(
        values=[0, 1],
        labelExpr="datum.value ? 'trace' : 'no trace'"
        if band.one_sided
        else "datum.value ? 'fake' : 'real'",
        title=None,
        grid=False,
        ticks=False,
        domain=False,
        labelPadding=8,
    )
    title = row_heading(break_lines(band.title, _LINE_UNITS + 10))
    threshold = (
        data_chart([{"threshold": band.threshold}])
        .mark_rule(color=ink("ink"), strokeWidth=1)
        .encode(x=alt.X(), y="threshold:Q")
    )
    chart: alt.LayerChart = (
        alt.layer(*_backgrounds(band, duration_s), _bars(band), threshold)
        .encode(
            x=alt.X("from:Q", scale=_scale(duration_s), axis=time_axis),
            y=alt.Y("base:Q", scale=alt.Scale(domain=[0, 1]), axis=score_axis),
        )
        .properties(width=_WIDTH_PX, height=_HEIGHT_PX, title=title)
    )
    return chart


def _backgrounds(band: Band, duration_s: float) -> list[alt.Chart]:
    below = ink("empty" if band.one_sided else "pale")
    halves = ((band.threshold, 1.0, ink("mid")), (0.0, band.threshold, below))
    return [
        data_chart([{"from": 0, "to": duration_s, "low": low, "high": high}])
        .mark_rect(color=color)
        .encode(x="from:Q", x2="to:Q", y="low:Q", y2="high:Q")
        for low, high, color in halves
    ]


def _bars(band: Band) -> alt.Chart:
    below = "ghost" if band.one_sided else "real"
    rows = [
        {
            "from": segment.start_s,
            "to": segment.end_s,
            "base": band.threshold,
            "score": segment.prob,
            "color": ink("fake" if segment.prob >= band.threshold else below),
        }
        for segment in band.segments
    ]
    chart: alt.Chart = (
        data_chart(rows)
        .mark_rect(strokeWidth=0.5)
        .encode(
            x="from:Q",
            x2="to:Q",
            y="base:Q",
            y2="score:Q",
            color=alt.Color("color:N", scale=None),
            stroke=alt.Stroke("color:N", scale=None),
        )
    )
    return chart
