"""Scores over the course of one song: a band for every detector, one below the other.

Conventions: time runs to the right. A bar stands on the detector's threshold: upwards where it
sounds fake, downwards where it sounds real, so that nothing is told by colour alone; where there
is no bar, nothing was heard.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from earwitness.charts.lettering import FONT, broken
from earwitness.charts.palette import ink

_WIDTH_PX, _HEIGHT_PX = 760, 84
_LINE_UNITS = 84
_FAKE, _REAL = ink("fake"), ink("real")
_FAKE_GROUND, _REAL_GROUND = "#fdf1e8", "#eaf3fa"
_INK, _GREY_INK = ink("ink"), ink("soft")
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS = 10
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '')"
    " + (datum.value >= 3600 ? format(floor(datum.value % 3600 / 60), '02d')"
    " : floor(datum.value / 60)) + ':' + format(datum.value % 60, '02d')"
)


class Bar(NamedTuple):
    """A stretch of a song, seconds from its start, and its score between 0 and 1."""

    start_s: float
    end_s: float
    score: float


class Band(NamedTuple):
    """One detector's scores.

    Attributes:
        title: What it said, over the band.
        bars: Its scores, without overlaps.
        threshold: Score from which on it calls a stretch fake.
    """

    title: str
    bars: Sequence[Bar]
    threshold: float


def timeline_chart(
    bands: Sequence[Band], *, title: str, subtitle: str, duration_s: float
) -> alt.VConcatChart:
    """Draw scores over time.

    Args:
        bands: One a detector.
        title: Over all of them; broken into lines where it is long.
        subtitle: Under the title.
        duration_s: Length of the song.
    """
    last = len(bands) - 1
    rows = [_row(band, duration_s, is_last=at == last) for at, band in enumerate(bands)]
    chart: alt.VConcatChart = (
        alt.vconcat(*rows, spacing=22)
        .properties(padding=16, title=_heading(title, subtitle))
        .configure(font=FONT, background=ink("paper"))
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=_INK, titleColor=_INK)
    )
    return chart


def tick_seconds(duration_s: float, n_most: int = _MOST_TICKS) -> list[int]:
    """Return round times within a song, at most ``n_most`` and the start always among them."""
    step = next((s for s in _STEPS_S if duration_s / s < n_most), None)
    step = step or math.ceil(duration_s / n_most / _STEPS_S[-1]) * _STEPS_S[-1]
    return list(range(0, math.floor(duration_s) + 1, step))


def _row(band: Band, duration_s: float, *, is_last: bool) -> alt.LayerChart:
    chart: alt.LayerChart = (
        alt.layer(*_grounds(band, duration_s), _bars(band), _threshold(band))
        .encode(x=_time(duration_s, is_last=is_last), y=_score())
        .properties(width=_WIDTH_PX, height=_HEIGHT_PX, title=_row_title(band.title))
    )
    return chart


def _grounds(band: Band, duration_s: float) -> list[alt.Chart]:
    halves = ((band.threshold, 1.0, _FAKE_GROUND), (0.0, band.threshold, _REAL_GROUND))
    return [
        alt.Chart(_values([{"from": 0, "to": duration_s, "low": low, "high": high}]))
        .mark_rect(color=color)
        .encode(x="from:Q", x2="to:Q", y="low:Q", y2="high:Q")
        for low, high, color in halves
    ]


def _bars(band: Band) -> alt.Chart:
    rows = [
        {
            "from": bar.start_s,
            "to": bar.end_s,
            "base": band.threshold,
            "score": bar.score,
            "color": _FAKE if bar.score >= band.threshold else _REAL,
        }
        for bar in band.bars
    ]
    chart: alt.Chart = (
        alt.Chart(_values(rows))
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


def _threshold(band: Band) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(_values([{"threshold": band.threshold}]))
        .mark_rule(color=_INK, strokeWidth=1)
        .encode(x=alt.X(), y="threshold:Q")
    )
    return chart


def _time(duration_s: float, *, is_last: bool) -> alt.X:
    axis = alt.Axis(
        values=tick_seconds(duration_s),
        labelExpr=_CLOCK,
        labels=is_last,
        title="time" if is_last else None,
        grid=False,
        domain=False,
        tickColor="#999999",
        labelPadding=6,
    )
    return alt.X("from:Q", scale=alt.Scale(domain=[0, duration_s], nice=False), axis=axis)


def _score() -> alt.Y:
    axis = alt.Axis(
        values=[0, 1],
        labelExpr="datum.value ? 'fake' : 'real'",
        title=None,
        grid=False,
        ticks=False,
        domain=False,
        labelPadding=8,
    )
    return alt.Y("base:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)


def _row_title(text: str) -> alt.TitleParams:
    return alt.TitleParams(
        text=broken(text, _LINE_UNITS + 10),
        anchor="start",
        frame="group",
        fontSize=14,
        fontWeight="bold",
        color=_INK,
        offset=6,
    )


def _heading(title: str, subtitle: str) -> alt.TitleParams:
    return alt.TitleParams(
        text=broken(title, _LINE_UNITS),
        subtitle=broken(subtitle, _LINE_UNITS + 16),
        anchor="start",
        fontSize=17,
        fontWeight="bold",
        color=_INK,
        subtitleFontSize=13,
        subtitleColor=_GREY_INK,
        subtitlePadding=6,
        offset=14,
    )


def _values(rows: list[Any]) -> alt.InlineData:
    return alt.InlineData(values=rows)
