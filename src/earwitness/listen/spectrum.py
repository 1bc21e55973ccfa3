"""Images of a decoder's comb: the residual spectrum of a song with the teeth marked."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import numpy as np

from earwitness.audio.decode import read_slice
from earwitness.core.errors import UsageError
from earwitness.detectors import comb
from earwitness.listen.results import DetectorResult, SongResult
from earwitness.listen.text import printable_name
from earwitness.report.charts.renderer import save_chart
from earwitness.report.charts.style import FONT, break_lines, data_chart, heading, ink

_N_SHOWN = 16
"""Teeth in the image, which starts where they are strongest."""


def plot_comb(song: SongResult, path: Path) -> Path | None:
    """Draw the comb that a detector found in a song as ``<stem>-comb``, if one did."""
    found = next((each for each in song.opinions if each.details.get("decoder_guess")), None)
    if found is None:
        return None
    path = path.with_name(f"{path.stem}-comb{path.suffix}")
    save_chart(comb_chart(song.path, found), path)
    return path


def comb_chart(song: Path, result: DetectorResult) -> alt.LayerChart:
    """Draw the residual spectrum over the most prominent stretch of teeth."""
    contract, period_hz = result.card.contract, float(result.details["decoder_period_hz"])
    rate_hz = contract.sample_rate_hz
    samples = read_slice(song, 0, contract.max_samples or 0, sample_rate_hz=rate_hz, mono=True)
    residual = comb.flatten(comb.comb_spectrum_db(np.atleast_2d(samples)))
    if residual is None:
        raise UsageError(f"{song}: its spectrum is empty, expected that of the analysed file")
    hz = np.arange(len(residual)) * rate_hz / comb.N_FFT
    teeth = np.arange(np.ceil(comb.BAND_HZ[0] / period_hz), hz[-1] // period_hz) * period_hz
    levels = np.interp(teeth, hz, residual)
    n_shown = min(_N_SHOWN, len(teeth))
    start = int(np.argmax(np.convolve(levels, np.ones(n_shown), mode="valid")))
    shown = teeth[start : start + n_shown]
    low_hz, high_hz = shown[0] - period_hz / 2, shown[-1] + period_hz / 2
    inside = (hz >= low_hz) & (hz <= high_hz)
    curve = [
        {"hz": float(f), "db": float(db)}
        for f, db in zip(hz[inside], residual[inside], strict=True)
    ]
    x = alt.X(
        "hz:Q",
        title="frequency (Hz)",
        scale=alt.Scale(domain=[low_hz, high_hz], nice=False),
        axis=alt.Axis(grid=False),
    )
    y = alt.Y("db:Q", title="over the running median (dB)", axis=alt.Axis(grid=False))
    marks = data_chart([{"hz": float(f)} for f in shown]).mark_rule(
        color=ink("fake"), strokeWidth=1, strokeDash=[3, 3]
    )
    line = data_chart(curve).mark_line(color=ink("ink"), strokeWidth=1)
    subtitle = (
        f"Mean spectrum, teeth every {period_hz:.4g} Hz (dashed; {n_shown} of "
        f"{result.details['n_teeth']}), as from {result.details['decoder_guess']}."
    )
    lines = break_lines(printable_name(song.name), 84), break_lines(subtitle, 100)
    chart: alt.LayerChart = (
        alt.layer(marks.encode(x=x), line.encode(x=x, y=y))
        .properties(width=760, height=260, padding=16, title=heading(*lines, frame="bounds"))
        .configure(font=FONT, background=ink("paper"))
        .configure_view(stroke=None)
    )
    return chart
