"""Charts of a decoder's comb: the residual spectrum folded by its period, along it, and some teeth.

Conventions: residuals are mean levels over the running median in dB; teeth are the multiples of the
period in the detector's band. Where they are close, several are folded side by side: a comb has a
peak at each, a note at one.
"""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import numpy as np
from numpy.typing import NDArray

from earwitness.core.predictions import Details
from earwitness.detectors import comb
from earwitness.detectors.base import SpectralLines
from earwitness.report.charts.style import (
    break_lines,
    configure_picture,
    data_chart,
    heading,
    ink,
    printable,
    row_heading,
)

_WIDTH = 760
_N_SHOWN = 12
"""Teeth in the lowest chart, which is where they stand out most."""
_MIN_FOLD_HZ, _MAX_TEETH = 80.0, 8
"""Least width that is folded, if that takes no more teeth than this."""
_MAX_BANDS = 30
_BIN_HZ = comb.SAMPLE_RATE_HZ / comb.N_FFT


def describe_lines(details: Details) -> str:
    """Return in a phrase what the details of a row tell of a comb."""
    period_hz = float(details["decoder_period_hz"] or 0)
    n_teeth, guess = details.get("n_teeth"), details.get("decoder_guess")
    counted = f", {n_teeth} of them above the background" if n_teeth else ""
    return f"lines every {period_hz:.4g} Hz{counted}" + (f", as left by {guess}" if guess else "")


def comb_picture(found: SpectralLines, details: Details, *, title: str | None) -> alt.VConcatChart:
    """Draw the charts of a comb below each other, with a heading unless there is no title."""
    titles = (
        "All lines, averaged: peaks at the dashed lines are a comb; without one, it is level",
        "Along the spectrum: mean level on the lines (orange) and between them (grey)",
        "The lines where they stand out most",
    )
    rows = [
        alt.LayerChart(layer=layers).properties(width=_WIDTH, height=130, title=row_heading([text]))
        for layers, text in zip(comb_layers(found), titles, strict=True)
    ]
    chart: alt.VConcatChart = alt.vconcat(*rows, spacing=18).properties(padding=16)
    if title is not None:
        subtitle = f"A comb: {describe_lines(details)}."
        lines = break_lines(printable(title), 84), break_lines(subtitle, 112)
        chart = chart.properties(title=heading(*lines, frame="bounds"))
    return configure_picture(chart, font_px=12)


def comb_layers(found: SpectralLines) -> tuple[list[alt.Chart], ...]:
    """Return the layers of the charts: folded by the period, along the spectrum, and some teeth."""
    return _folded(found), _along(found), _teeth(found)


def _folded(found: SpectralLines) -> list[alt.Chart]:
    """Return the mean over the spectrum of each offset from a tooth, over one or more teeth."""
    residual, period_hz = found
    n_teeth = 1
    while n_teeth < _MAX_TEETH and n_teeth * period_hz < _MIN_FOLD_HZ:
        n_teeth *= 2
    width_hz = n_teeth * period_hz
    means = comb.fold(residual, width_hz).mean(axis=1, dtype=np.float64)
    # half a period before the first tooth, so that each has both its sides
    n_before = len(means) // (2 * n_teeth)
    levels = np.roll(means, n_before) - np.median(means)
    hz = (np.arange(len(means) + 1) - n_before) / len(means) * width_hz
    rows = _points(hz, [*levels, levels[0]])
    x = _x("distance from a line (Hz)", float(hz[0]), float(hz[-1]))
    # on a scale of their own, small random levels would look like lines
    ends = min(-0.75, float(levels.min())), max(1.5, float(levels.max()))
    scale = alt.Scale(domain=list(ends))
    y = alt.Y("db:Q", title="mean level (dB)", axis=alt.Axis(grid=False), scale=scale)
    area = data_chart(rows).mark_area(
        color=ink("fake"),
        opacity=0.35,
        line={"color": ink("fake"), "strokeWidth": 1.5},
        aria=False,
    )
    teeth = _rules(np.arange(n_teeth) * period_hz, x)
    return [teeth, area.encode(x=x, y=y)]


def _along(found: SpectralLines) -> list[alt.Chart]:
    """Return the mean level on the teeth and between them, in bands of equal numbers of teeth."""
    levels = comb.fold(*found)
    n_offsets, n_teeth = levels.shape
    margin = max(2, n_offsets // 8)
    between = levels[margin : n_offsets - margin + 1].mean(axis=0)
    first = np.ceil(comb.BAND_HZ[0] / found.period_hz)
    rows = [
        _band(
            (first + part[0] - 0.5) * found.period_hz,
            (first + part[-1] + 0.5) * found.period_hz,
            float(levels[0, part].mean()),
            float(between[part].mean()),
        )
        for part in np.array_split(np.arange(n_teeth), min(n_teeth, _MAX_BANDS))
    ]
    low_hz = (first - 0.5) * found.period_hz
    x = _x("frequency (Hz)", low_hz, low_hz + n_teeth * found.period_hz)
    base = data_chart(rows)
    axis = alt.Axis(grid=False)
    above = base.mark_rect(color=ink("fake"), opacity=0.35).encode(
        x=x,
        x2="end:Q",
        y=alt.Y("off:Q", title="mean level (dB)", axis=axis),
        y2="on:Q",
        description="tooltip:N",
    )
    edges = [
        base.mark_rule(color=ink(colour), strokeWidth=2, aria=False).encode(
            x=x, x2="end:Q", y=f"{field}:Q"
        )
        for field, colour in (("off", "soft"), ("on", "fake"))
    ]
    return [above, *edges]


def _band(start_hz: float, end_hz: float, on_db: float, off_db: float) -> dict[str, object]:
    text = f"{start_hz:.0f} to {end_hz:.0f} Hz: {on_db:.1f} dB on the lines, {off_db:.1f} between"
    ends = {"hz": float(start_hz), "end": float(end_hz)}
    return {**ends, "on": on_db, "off": off_db, "tooltip": text}


def _teeth(found: SpectralLines) -> list[alt.Chart]:
    """Return the stretch of the spectrum whose teeth stand out most, with dashed lines at them."""
    residual, period_hz = found
    hz = np.arange(len(residual)) * _BIN_HZ
    teeth = np.arange(np.ceil(comb.BAND_HZ[0] / period_hz), hz[-1] // period_hz) * period_hz
    n_shown = min(_N_SHOWN, len(teeth))
    before, level, after = (
        np.interp(teeth + side * period_hz / 2, hz, residual) for side in (-1, 0, 1)
    )
    # a note is louder than both its neighbours only once; a comb is everywhere
    height = np.clip(level - np.maximum(before, after), -3, 3)
    start = int(np.argmax(np.convolve(height, np.ones(n_shown), mode="valid")))
    shown = teeth[start : start + n_shown]
    low_hz, high_hz = float(shown[0] - period_hz / 2), float(shown[-1] + period_hz / 2)
    inside = (hz >= low_hz) & (hz <= high_hz)
    # no more points than pixels: the highest of each group, as teeth are narrow
    size = max(1, int(inside.sum()) // _WIDTH)
    whole = int(inside.sum()) // size * size
    centres = hz[inside][:whole].reshape(-1, size).mean(axis=1)
    highest = residual[inside][:whole].reshape(-1, size).max(axis=1)
    x = _x("frequency (Hz)", low_hz, high_hz)
    y = alt.Y("db:Q", title="level (dB)", axis=alt.Axis(grid=False))
    line = data_chart(_points(centres, highest)).mark_line(
        color=ink("ink"), strokeWidth=1, aria=False
    )
    return [_rules(shown, x), line.encode(x=x, y=y)]


def _points(hz: NDArray[np.floating], levels: Iterable[float]) -> list[dict[str, float]]:
    return [{"hz": float(f), "db": float(db)} for f, db in zip(hz, levels, strict=True)]


def _rules(teeth_hz: NDArray[np.floating], x: alt.X) -> alt.Chart:
    marks = data_chart([{"hz": float(hz)} for hz in teeth_hz])
    drawn: alt.Chart = marks.mark_rule(
        color=ink("fake"), strokeWidth=1, strokeDash=[3, 3], aria=False
    ).encode(x=x)
    return drawn


def _x(title: str, low_hz: float, high_hz: float) -> alt.X:
    scale = alt.Scale(domain=[float(low_hz), float(high_hz)], nice=False)
    return alt.X(
        "hz:Q", title=title, scale=scale, axis=alt.Axis(grid=False, labelFlush=False, tickCount=10)
    )
