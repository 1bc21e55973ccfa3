"""Charts of a decoder's comb: a song's residual spectrum folded by the period, and some teeth.

Conventions: residuals are mean levels over the running median in dB. An offset is a distance from
the nearest multiple of the period, in Hz.
"""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import read_slice
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AudioError
from earwitness.core.predictions import Details
from earwitness.detectors import comb
from earwitness.report.charts.style import (
    break_lines,
    configure_picture,
    data_chart,
    heading,
    ink,
    printable,
)

_WIDTH = 760
_N_SHOWN = 12
"""Teeth in the lower chart, which starts where they are strongest."""


def comb_chart(path: Path, details: Details, card: DetectorCard) -> alt.VConcatChart:
    """Draw the comb of a file: its spectrum folded by the period, over a stretch of its teeth.

    Args:
        path: The scored file, which is read again.
        details: The detector's columns of this file, with a ``decoder_period_hz``.
        card: The detector's card.

    Raises:
        AudioError: The file cannot be read, or its spectrum is empty.
    """
    contract, period_hz = card.contract, float(details["decoder_period_hz"] or 0)
    rate_hz = contract.sample_rate_hz
    samples = read_slice(path, 0, contract.max_samples or 0, sample_rate_hz=rate_hz, mono=True)
    residual = comb.flatten(comb.comb_spectrum_db(np.atleast_2d(samples)))
    if residual is None:
        raise AudioError(str(path), "spectrum is empty, expected content from 1000 to 3000 Hz")
    n_teeth, guess = details.get("n_teeth"), details.get("decoder_guess")
    subtitle = (
        f"Above, the spectrum between all lines laid over each other: a spike at 0 is a comb every "
        f"{period_hz:.4g} Hz; music without one is level. Below, some of its lines"
        + (f" ({n_teeth} in all)." if n_teeth else ".")
        + (f" Such a comb is left by {guess}." if guess else "")
    )
    lines = break_lines(printable(path.name), 84), break_lines(subtitle, 104)
    rows = _folded(residual, period_hz), _stretch(residual, period_hz)
    chart: alt.VConcatChart = alt.vconcat(*rows, spacing=20).properties(
        padding=16, title=heading(*lines, frame="bounds")
    )
    return configure_picture(chart, font_px=12)


def _folded(residual: NDArray[np.float32], period_hz: float) -> alt.LayerChart:
    """Draw the mean over all teeth of each offset, with 0 in the middle."""
    means = comb.fold(residual, period_hz).mean(axis=1, dtype=np.float64)
    offsets_hz = np.arange(len(means) + 1) / len(means) * period_hz - period_hz / 2
    around = np.roll(means, len(means) // 2)
    middle = float(np.median(around))
    rows = [
        {"hz": float(hz), "db": float(db) - middle}
        for hz, db in zip(offsets_hz, [*around, around[0]], strict=True)
    ]
    x = _x("distance from the nearest line (Hz)", -period_hz / 2, period_hz / 2)
    levels = [row["db"] for row in rows]
    # on a scale of their own, small random levels would look like lines
    scale = alt.Scale(domain=[min(-0.75, *levels), max(1.5, *levels)])
    title = ["mean over the", "median (dB)"]
    y = alt.Y("db:Q", title=title, axis=alt.Axis(grid=False), scale=scale)
    area = data_chart(rows).mark_area(
        color=ink("fake"), opacity=0.35, line={"color": ink("fake"), "strokeWidth": 1.5}
    )
    return _sized(alt.LayerChart(layer=[area.encode(x=x, y=y)]), height=190)


def _stretch(residual: NDArray[np.float32], period_hz: float) -> alt.LayerChart:
    """Draw the stretch of the spectrum with the strongest teeth, which are marked."""
    hz = np.arange(len(residual)) * comb.SAMPLE_RATE_HZ / comb.N_FFT
    teeth = np.arange(np.ceil(comb.BAND_HZ[0] / period_hz), hz[-1] // period_hz) * period_hz
    n_shown = min(_N_SHOWN, len(teeth))
    levels = np.interp(teeth, hz, residual)
    start = int(np.argmax(np.convolve(levels, np.ones(n_shown), mode="valid")))
    shown = teeth[start : start + n_shown]
    low_hz, high_hz = float(shown[0] - period_hz / 2), float(shown[-1] + period_hz / 2)
    inside = (hz >= low_hz) & (hz <= high_hz)
    # no more points than pixels: the highest of each group, as teeth are narrow
    size = max(1, int(inside.sum()) // _WIDTH)
    whole = int(inside.sum()) // size * size
    centres = hz[inside][:whole].reshape(-1, size).mean(axis=1)
    highest = residual[inside][:whole].reshape(-1, size).max(axis=1)
    curve = [{"hz": float(f), "db": float(db)} for f, db in zip(centres, highest, strict=True)]
    x = _x("frequency (Hz)", low_hz, high_hz)
    y = alt.Y("db:Q", title=["over the running", "median (dB)"], axis=alt.Axis(grid=False))
    marks = data_chart([{"hz": float(f)} for f in shown]).mark_rule(
        color=ink("fake"), strokeWidth=1, strokeDash=[3, 3]
    )
    line = data_chart(curve).mark_line(color=ink("ink"), strokeWidth=1)
    return _sized(alt.LayerChart(layer=[marks.encode(x=x), line.encode(x=x, y=y)]), height=130)


def _sized(chart: alt.LayerChart, *, height: int) -> alt.LayerChart:
    made: alt.LayerChart = chart.properties(width=_WIDTH, height=height)
    return made


def _x(title: str, low_hz: float, high_hz: float) -> alt.X:
    scale = alt.Scale(domain=[low_hz, high_hz], nice=False)
    return alt.X("hz:Q", title=title, scale=scale, axis=alt.Axis(grid=False))
