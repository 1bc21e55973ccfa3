"""Text in charts: its font, and how long lines are broken or shortened."""

from __future__ import annotations

import unicodedata

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_BREAK_AFTER = " /_-."


def broken(text: str, n_units: int) -> list[str]:
    """Break text into lines of at most ``n_units``, after a separator where there is one."""
    lines = []
    while _units(text) > n_units:
        end = next(i for i in range(1, len(text) + 1) if _units(text[: i + 1]) > n_units)
        good = max((i + 1 for i in range(end // 3, end) if text[i] in _BREAK_AFTER), default=end)
        lines.append(text[:good].rstrip())
        text = text[good:].lstrip()
    return [*lines, text]


def shortened(text: str, n_units: int) -> str:
    """Return text of at most ``n_units``; where it is longer, ``…`` stands for its middle."""
    if _units(text) <= n_units:
        return text
    head, tail = text, text
    while _units(head) > n_units // 2:
        head = head[:-1]
    while _units(tail) > n_units - n_units // 2 - 1:
        tail = tail[1:]
    return f"{head}…{tail}"


def _units(text: str) -> int:
    """Width of text; East Asian wide characters take two units."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
