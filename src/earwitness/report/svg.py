"""Charts as SVG and PNG, and as parts of a page.

Conventions: drawn offline and without a browser. In a page a chart's colours are names that the
page gives values to (``var(--ink)``), so that they follow its reader's screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import altair as alt
from markupsafe import Markup

from earwitness.core.errors import ChartError
from earwitness.core.io import atomic_write
from earwitness.report.charts.renderer import render
from earwitness.report.charts.style import PALETTE, printable

PICTURE_SUFFIXES = (".png", ".svg")

_SVG: Final = "{http://www.w3.org/2000/svg}"
_NAMES: Final = {colour.light: name for name, colour in PALETTE.items()}
_KEPT: Final = frozenset({"svg", "g", "path", "rect", "text", "tspan", "line", "circle"})
_DROPPED: Final = ("role", "class", "font-family", "pointer-events", "version", "aria-hidden")


def save_chart(chart: alt.TopLevelMixin, path: Path) -> None:
    """Write a chart as its path's suffix says, ``.png`` or ``.svg``, atomically.

    Raises:
        ChartError: It cannot be drawn.
    """
    content = render(chart, "svg" if path.suffix.lower() == ".svg" else "png")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def draw_inline(chart: alt.TopLevelMixin, *, told: str) -> Markup:
    """Return a chart as an element of a page.

    What a mark tells is in its ``data-tip``; to screen readers the whole is one picture. A chart
    that cannot be drawn becomes a note that says so.

    Args:
        chart: A chart whose colours are those of the palette.
        told: What the picture shows, for those who do not see it.
    """
    try:
        drawn = ET.fromstring(render(chart, "svg"))  # noqa: S314 - written by vl-convert
    except ChartError as error:
        return Markup('<p class="note">{} ({})</p>').format(printable(told), error)
    width = drawn.get("width", "")
    drawn.remove(drawn[0])  # the ground, which is the page's own
    root = _cleaned(drawn)
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": printable(told), "width": width, "tabindex": "0"}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - serialised, so escaped


def _cleaned(element: ET.Element) -> ET.Element:
    """Return an element of a page: known kinds alone, colours by name, no name space."""
    kind = element.tag.removeprefix(_SVG)
    if kind not in _KEPT:
        raise ValueError(f"<{kind}> in a chart, expected {', '.join(sorted(_KEPT))}")
    clean = ET.Element(kind, _attributes(element))
    clean.text = element.text
    for child in element:
        if not _is_bare(child):
            clean.append(_cleaned(child))
    return clean


def _attributes(element: ET.Element) -> dict[str, str]:
    kept = {}
    is_mark = element.get("role") == "graphics-symbol"
    for name, value in element.attrib.items():
        if name == "aria-label":
            if is_mark and element.get("aria-roledescription") not in ("axis", "legend", "title"):
                kept["data-tip"] = value
        elif name in ("fill", "stroke"):
            kept[name] = _named(value)
        elif name not in _DROPPED and not name.startswith("aria-"):
            kept[name] = value
    return kept


def _named(colour: str) -> str:
    name = _NAMES.get(colour.lower())
    return colour if name is None else f"var(--{name.replace('_', '-')})"


def _is_bare(element: ET.Element) -> bool:
    """Whether nothing would be seen of an element."""
    is_frame = "background" in element.get("class", "") and "fill" not in element.attrib
    return is_frame or element.get("display") == "none" or element.get("d") == ""


def palette_css(*, dark: bool) -> str:
    """Return the values of the colours' names, as declarations."""
    chosen: dict[str, Any] = {
        name: colour.dark if dark else colour.light for name, colour in PALETTE.items()
    }
    return "".join(f"--{name.replace('_', '-')}:{value};" for name, value in chosen.items())
