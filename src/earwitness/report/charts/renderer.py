"""Charts as SVG and PNG files, and as inline SVG.

vl-convert aborts its process on some texts (a Rust panic, no exception), so it runs in a child
process that serves all charts. Inline SVG has CSS variables (``var(--ink)``) as colours.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, Final, Literal
from xml.etree import ElementTree as ET

import altair as alt
from markupsafe import Markup

from earwitness.core.errors import ChartError
from earwitness.core.io import atomic_write
from earwitness.report.charts.style import PALETTE, printable

_VERSION: Final = alt.SCHEMA_VERSION.rpartition(".")[0]
_EXPRESSIONS: Final = ("calculate", "expr", "filter", "labelExpr", "test")
"""Keys whose values are code, which must not be shortened."""
PICTURE_SUFFIXES = (".png", ".svg")

_SVG: Final = "{http://www.w3.org/2000/svg}"
_NAMES: Final = {colour.light: name for name, colour in PALETTE.items()}
_KEPT: Final = frozenset({"svg", "g", "path", "rect", "text", "tspan", "line", "circle"})
_DROPPED: Final = ("role", "class", "font-family", "pointer-events", "version", "aria-hidden")


def render(chart: alt.TopLevelMixin, kind: Literal["svg", "png"]) -> bytes:
    """Return a chart as the content of an SVG or PNG file.

    Raises:
        ChartError: The renderer refused it, crashed or took too long; one line.
    """
    options = {"vl_version": _VERSION} | ({"scale": 2} if kind == "png" else {})
    spec = _printable(chart.to_dict(validate=False))
    request = {"format": kind, "spec": spec, "options": options}
    return _RENDERER.draw(json.dumps(request).encode() + b"\n")


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {
            _printable(key): part if key in _EXPRESSIONS else _printable(part)
            for key, part in value.items()
        }
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return value


_CHILD: Final = """
import json, signal, sys
import vl_convert

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which ends the child
for line in sys.stdin.buffer:
    request = json.loads(line)
    try:
        draw = getattr(vl_convert, f"vegalite_to_{request['format']}")
        drawn = draw(request["spec"], **request["options"])
        kind, content = b"+", drawn.encode() if isinstance(drawn, str) else drawn
    except ValueError as error:
        kind, content = b"-", str(error).encode(errors="replace")
    sys.stdout.buffer.write(kind + len(content).to_bytes(8, "big") + content)
    sys.stdout.buffer.flush()
"""
"""Reads a JSON request a line; writes ``+`` or ``-``, the length, and the chart or the error."""


class _Renderer:
    """The child process; it is restarted if it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def draw(self, request: bytes) -> bytes:
        with self._lock:
            process = self._process = self._process or self._start()
            alarm = threading.Timer(300, process.kill)  # drawing takes about a second
            alarm.start()
            try:
                kind, content = _ask(process, request)
            except BaseException as error:
                self._end()
                if isinstance(error, OSError | EOFError):
                    crash = f"the renderer ended with status {process.returncode}"
                    raise ChartError(f"a chart could not be drawn: {crash}") from error
                raise
            finally:
                alarm.cancel()
        if kind != b"+":
            first = (content.decode(errors="replace").strip().splitlines() or ["no reason"])[0]
            raise ChartError(f"a chart could not be drawn: {first[:200]}")
        return content

    def _start(self) -> subprocess.Popen[bytes]:
        atexit.register(self.close)
        command = [sys.executable, "-P", "-c", _CHILD]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none)  # noqa: S603 - ours

    def close(self) -> None:
        """End the child process, if there is one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        atexit.unregister(self.close)
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with contextlib.suppress(OSError):  # the child has ended before reading the request
                pipe.close()
        process.wait()


def _ask(process: subprocess.Popen[bytes], request: bytes) -> tuple[bytes, bytes]:
    """Return the kind of the answer and its content."""
    assert process.stdin is not None  # noqa: S101 - for mypy: both are pipes
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(request)
    process.stdin.flush()
    head = _read(process.stdout, 9)
    return head[:1], _read(process.stdout, int.from_bytes(head[1:], "big"))


def _read(pipe: IO[bytes], n_bytes: int) -> bytes:
    data = pipe.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError
    return data


_RENDERER: Final = _Renderer()


def save_chart(chart: alt.TopLevelMixin, path: Path) -> None:
    """Write a chart as PNG or SVG, by the suffix of its path, atomically.

    Raises:
        ChartError: It cannot be drawn.
    """
    content = render(chart, "svg" if path.suffix.lower() == ".svg" else "png")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def draw_inline(chart: alt.TopLevelMixin, *, aria_label: str) -> Markup:
    """Return a chart as inline SVG with tooltips in ``data-tip``, one image to screen readers.

    A chart that cannot be drawn becomes a note with the reason.
    """
    try:
        drawn = ET.fromstring(render(chart, "svg"))  # noqa: S314 - written by vl-convert
    except ChartError as error:
        return Markup('<p class="note">{} ({})</p>').format(printable(aria_label), error)
    width = drawn.get("width", "")
    drawn.remove(drawn[0])  # the background; the page has its own
    root = _clean(drawn)
    root.attrib.pop("height", None)
    root.attrib |= {
        "role": "img",
        "aria-label": printable(aria_label),
        "width": width,
        "tabindex": "0",
    }
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - serialised, so escaped


def _clean(element: ET.Element) -> ET.Element:
    """Return an element with known tags only, colours as CSS variables, and no namespace."""
    kind = element.tag.removeprefix(_SVG)
    if kind not in _KEPT:
        raise ValueError(f"<{kind}> in a chart, expected {', '.join(sorted(_KEPT))}")
    clean = ET.Element(kind, _attributes(element))
    clean.text = element.text
    for child in element:
        if not _is_invisible(child):
            clean.append(_clean(child))
    return clean


def _attributes(element: ET.Element) -> dict[str, str]:
    kept = {}
    is_mark = element.get("role") == "graphics-symbol"
    for name, value in element.attrib.items():
        if name == "aria-label":
            if is_mark and element.get("aria-roledescription") not in ("axis", "legend", "title"):
                kept["data-tip"] = value
        elif name in ("fill", "stroke"):
            kept[name] = _css_colour(value)
        elif name not in _DROPPED and not name.startswith("aria-"):
            kept[name] = value
    return kept


def _css_colour(colour: str) -> str:
    name = _NAMES.get(colour.lower())
    return colour if name is None else f"var(--{name.replace('_', '-')})"


def _is_invisible(element: ET.Element) -> bool:
    """Whether an element draws nothing."""
    is_frame = "background" in element.get("class", "") and "fill" not in element.attrib
    return is_frame or element.get("display") == "none" or element.get("d") == ""


def palette_css(*, dark: bool) -> str:
    """Return the colours as declarations of CSS variables."""
    return "".join(
        f"--{name.replace('_', '-')}:{colour.dark if dark else colour.light};"
        for name, colour in PALETTE.items()
    )
