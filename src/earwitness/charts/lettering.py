"""Text in charts: its font, what of it can be drawn, and how long lines are broken or shortened."""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Final

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
