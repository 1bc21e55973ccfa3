"""Colours, fonts, axes and text of charts.

Charts are drawn in the light colours. Each has one name, by which a page replaces it in dark mode.
Colour is never the only cue: shades are labelled, and real and fake differ in position as well.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import altair as alt

TChart = TypeVar("TChart", alt.LayerChart, alt.VConcatChart)


class Colour(NamedTuple):
    """One colour in light and in dark mode, as ``#rrggbb``."""

    light: str
    dark: str


PALETTE: Final = {
    "ink": Colour("#1a1a1a", "#e9e7e2"),
    "soft": Colour("#5f5f5f", "#a5a39d"),
    "faint": Colour("#8d8d8d", "#7d7c78"),
    "rule": Colour("#d6d6d6", "#3c3e42"),
    "line": Colour("#e6e6e6", "#2c2e32"),
    "ghost": Colour("#c4c8cc", "#4a4e54"),
    "paper": Colour("#ffffff", "#1b1d20"),
    "empty": Colour("#e9e9e9", "#2e3033"),
    "accent": Colour("#1d4f7c", "#8cc4f0"),
    "real": Colour("#1f6fb2", "#6db3ec"),
    "fake": Colour("#c2410c", "#f0935c"),
    "band": Colour("#b9d3e8", "#31506a"),
    "low1": Colour("#bf4d14", "#b95322"),
    "low2": Colour("#ecb287", "#7c4a2c"),
    "mid": Colour("#f3ece4", "#3a3734"),
    "pale": Colour("#f3f7fb", "#22282e"),
    "high1": Colour("#d9e7f2", "#2b3f50"),
    "high2": Colour("#a3c7e3", "#2f5d83"),
    "high3": Colour("#4f93c7", "#4189bf"),
    "high4": Colour("#1b5c94", "#8cc0e6"),
    "on_low1": Colour("#fffefd", "#fffdfb"),
    "on_low2": Colour("#2b1508", "#fbe9dc"),
    "on_mid": Colour("#2b2723", "#e6e0d8"),
    "on_pale": Colour("#1b1a19", "#e4e8ec"),
    "on_high1": Colour("#14283a", "#d8e8f5"),
    "on_high2": Colour("#0d2438", "#eaf4fc"),
    "on_high3": Colour("#04131f", "#04131e"),
    "on_high4": Colour("#fdfeff", "#06182a"),
}
"""Name → colour."""

RAMP: Final = ("low1", "low2", "mid", "high1", "high2", "high3", "high4")
"""Shades from the lowest values to the highest; ``on_<shade>`` is the colour of text on it."""


def ink(name: str) -> str:
    """Return the light-mode colour of a name."""
    return PALETTE[name].light


def layer_chart(layers: Sequence[alt.Chart], *, width: float, height: float) -> alt.LayerChart:
    """Return a chart of layers, bottom first; width and height of the plot area in pixels."""
    chart: alt.LayerChart = (
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
    return chart


def heading(text: Sequence[str], subtitle: Sequence[str], *, frame: str) -> alt.TitleParams:
    """Return title and subtitle of a chart that is a file of its own, line by line."""
    return alt.TitleParams(
        text=list(text),
        subtitle=list(subtitle),
        anchor="start",
        frame=frame,
        fontSize=16,
        fontWeight="bold",
        color=ink("ink"),
        subtitleFontSize=13,
        subtitleColor=ink("soft"),
        subtitlePadding=6,
        offset=16,
    )


def row_heading(text: Sequence[str]) -> alt.TitleParams:
    """Return the title of one of several charts below each other, line by line."""
    return alt.TitleParams(
        text=list(text),
        anchor="start",
        frame="group",
        fontSize=14,
        fontWeight="bold",
        color=ink("ink"),
        offset=6,
    )


def configure_picture(chart: TChart, *, font_px: int) -> TChart:
    """Return a chart with the fonts and colours of one that is a file of its own."""
    made: TChart = (
        chart.configure(font=FONT, background=ink("paper"))
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=font_px,
            titleFontSize=font_px,
            labelColor=ink("ink"),
            titleColor=ink("ink"),
        )
    )
    return made


def data_chart(rows: Sequence[Any]) -> alt.Chart:
    """Return a chart with rows as its own data."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def rate_axis(title: str) -> alt.Axis:
    """Return an axis for shares, in per cent."""
    return alt.Axis(
        title=title,
        values=[0, 0.25, 0.5, 0.75, 1],
        labelExpr="round(datum.value * 100) + ' %'",
        labelFlush=False,
    )


def label_expression(labels: Mapping[str, str | Sequence[str]]) -> str:
    """Return a Vega expression that replaces labels by other text, or by lines of it."""
    texts = {
        printable(label): printable(text) if isinstance(text, str) else [*map(printable, text)]
        for label, text in labels.items()
    }
    return f"{json.dumps(texts)}[datum.value]"


FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_BREAK_AFTER = " /_-."
_LONGEST_TEXT: Final = 400
"""Characters; vl-convert takes quadratic time to measure a text."""
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends and overrides of the direction
    "\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)


def printable(text: str) -> str:
    r"""Return text that can be drawn: control characters are escaped, as in ``\x1b``.

    The middle of a long text is replaced by a checksum, so that texts stay distinct.
    """
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2 - 10
        checksum = zlib.crc32(text.encode(errors="surrogatepass"))
        text = f"{text[:half]}…{checksum:08x}…{text[-half:]}"
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def break_lines(text: str, n_units: int) -> list[str]:
    """Break text into lines of at most ``n_units``, after a separator if there is one."""
    lines = []
    text = printable(text)
    while _units(text) > n_units:
        end = next(i for i in range(1, len(text) + 1) if _units(text[: i + 1]) > n_units)
        good = max((i + 1 for i in range(end // 3, end) if text[i] in _BREAK_AFTER), default=end)
        lines.append(text[:good].rstrip())
        text = text[good:].lstrip()
    return [*lines, text]


def shorten(text: str, n_units: int) -> str:
    """Return text of at most ``n_units``; the middle of longer text becomes ``…``."""
    if len(text) <= n_units and _units(text) <= n_units:
        return text
    head, tail = text[:n_units], text[-n_units:]
    while _units(head) > n_units // 2:
        head = head[:-1]
    while _units(tail) > n_units - n_units // 2 - 1:
        tail = tail[1:]
    return f"{head}…{tail}"


def _units(text: str) -> int:
    """Width of text; East Asian wide characters take two units."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
