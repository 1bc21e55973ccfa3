"""The colours of charts: a name, what it is on white paper, and what it is on a dark screen.

Conventions: charts are drawn in the light colours, each of which stands for one name alone, so
that a page can put the name in place of the colour and follow its reader's screen. Nothing is
told by colour alone: shades are lettered, real and fake differ in place or in stroke as well.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import altair as alt


class Colour(NamedTuple):
    """One colour on white and on dark ground, as ``#rrggbb``."""

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
"""Shades from the lowest figures to the highest; ``on_<shade>`` is the ink that is read on it."""


def ink(name: str) -> str:
    """Return the colour of a name as charts are drawn with it."""
    return PALETTE[name].light


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


FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_BREAK_AFTER = " /_-."
_LONGEST_TEXT: Final = 400
"""Characters; what vl-convert takes to measure a text grows with the square of its length."""
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends and overrides of the direction
    "\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)


def printable(text: str) -> str:
    r"""Return a text that can be drawn: what cannot be seen as its escape, ``\x1b``, and not long.

    A long text keeps its ends and gets a checksum between them, so that texts stay distinct.
    """
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2 - 10
        checksum = zlib.crc32(text.encode(errors="surrogatepass"))
        text = f"{text[:half]}…{checksum:08x}…{text[-half:]}"
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def broken(text: str, n_units: int) -> list[str]:
    """Break text into lines of at most ``n_units``, after a separator where there is one."""
    lines = []
    text = printable(text)
    while _units(text) > n_units:
        end = next(i for i in range(1, len(text) + 1) if _units(text[: i + 1]) > n_units)
        good = max((i + 1 for i in range(end // 3, end) if text[i] in _BREAK_AFTER), default=end)
        lines.append(text[:good].rstrip())
        text = text[good:].lstrip()
    return [*lines, text]


def shortened(text: str, n_units: int) -> str:
    """Return text of at most ``n_units``; where it is longer, ``…`` stands for its middle."""
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
