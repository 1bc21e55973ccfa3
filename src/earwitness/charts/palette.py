"""The colours of charts: a name, what it is on white paper, and what it is on a dark screen.

Conventions: charts are drawn in the light colours, each of which stands for one name alone, so
that a page can put the name in place of the colour and follow its reader's screen. Nothing is
told by colour alone: shades are lettered, real and fake differ in place or in stroke as well.
"""

from __future__ import annotations

from typing import Final, NamedTuple


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
