"""Timelines: the scores of one song over time, as a PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import altair as alt

from earwitness.core.errors import UsageError
from earwitness.core.io import distinct_stems, file_stem
from earwitness.evaluation.windows import (
    Segment,
    merge_windows,
)
from earwitness.listen.results import (
    SongResult,
    compare_verdicts,
)
from earwitness.listen.text import (
    describe_score,
    describe_song,
    describe_verdict,
    printable_name,
    tick_seconds,
)
from earwitness.report.charts.renderer import PICTURE_SUFFIXES, save_chart
from earwitness.report.charts.style import break_lines, configure_picture, data_chart, heading, ink

_WIDTH_PX, _HEIGHT_PX, _LINE_UNITS = 760, 84, 84
_FAKE_BACKGROUND, _REAL_BACKGROUND = "#fdf1e8", "#eaf3fa"
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '')"
    " + (datum.value >= 3600 ? format(floor(datum.value % 3600 / 60), '02d')"
    " : floor(datum.value / 60)) + ':' + format(datum.value % 60, '02d')"
)


def choose_images(songs: Sequence[Path], save: Path) -> list[Path]:
    """Return the image path of each song; ``save`` is a file for a single song, else a folder."""
    if save.suffix.lower() in PICTURE_SUFFIXES and not save.is_dir():
        if len(songs) > 1:
            raise UsageError(f"--save {save}: one image for {len(songs)} songs, expected a folder")
        return [save]
    if save.is_file() or (save.suffix and not save.is_dir() and len(songs) == 1):
        raise UsageError(f"--save {save}: expected a .png or .svg file, or a folder")
    stems = distinct_stems(file_stem(printable_name(song.stem)) for song in songs)
    return [save / f"{stem}.png" for stem in stems]


def plot_hearing(song: SongResult, path: str | Path) -> Path:
    """Draw the scores of a song over time.

    Args:
        song: Results with at least one verdict.
        path: The image, ``.png`` or ``.svg``; its folder is created if it is missing.

    Raises:
        UsageError: Another suffix, or there is no verdict.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(PICTURE_SUFFIXES)}")
    if song.duration_s is None or not song.has_verdict:
        raise UsageError(f"{song.path}: no detector gave a verdict, so there is nothing to draw")
    bands = [
        Band(
            f"{result.card.name} {describe_verdict(result)}, {describe_score(result)}",
            merge_windows(result.windows),
            result.card.threshold,
        )
        for result in song.opinions
        if result.verdict is not None
    ]
    title = printable_name(song.path.name)
    subtitle = f"{describe_song(song)}. {compare_verdicts(song.opinions) or ''}".rstrip()
    save_chart(
        timeline_chart(bands, title=title, subtitle=subtitle, duration_s=song.duration_s), path
    )
    return path


class Band(NamedTuple):
    """One detector's scores, without overlaps, and its verdict as the title."""

    title: str
    segments: Sequence[Segment]
    threshold: float


def timeline_chart(
    bands: Sequence[Band], *, title: str, subtitle: str, duration_s: float
) -> alt.VConcatChart:
    """Draw scores over time, one band per detector."""
    last = len(bands) - 1
    rows = [_row(band, duration_s, is_last=at == last) for at, band in enumerate(bands)]
    lines = break_lines(title, _LINE_UNITS), break_lines(subtitle, _LINE_UNITS + 16)
    chart = alt.vconcat(*rows, spacing=22).properties(
        padding=16, title=heading(*lines, frame="bounds")
    )
    return configure_picture(chart, font_px=13)


def _row(band: Band, duration_s: float, *, is_last: bool) -> alt.LayerChart:
    time_axis = alt.Axis(
        values=tick_seconds(duration_s),
        labelExpr=_CLOCK,
        labels=is_last,
        title="time" if is_last else None,
        grid=False,
        domain=False,
        tickColor="#999999",
        labelPadding=6,
    )
    score_axis = alt.Axis(
        values=[0, 1],
        labelExpr="datum.value ? 'fake' : 'real'",
        title=None,
        grid=False,
        ticks=False,
        domain=False,
        labelPadding=8,
    )
    title = alt.TitleParams(
        text=break_lines(band.title, _LINE_UNITS + 10),
        anchor="start",
        frame="group",
        fontSize=14,
        fontWeight="bold",
        color=ink("ink"),
        offset=6,
    )
    threshold = (
        data_chart([{"threshold": band.threshold}])
        .mark_rule(color=ink("ink"), strokeWidth=1)
        .encode(x=alt.X(), y="threshold:Q")
    )
    chart: alt.LayerChart = (
        alt.layer(*_backgrounds(band, duration_s), _bars(band), threshold)
        .encode(
            x=alt.X("from:Q", scale=alt.Scale(domain=[0, duration_s], nice=False), axis=time_axis),
            y=alt.Y("base:Q", scale=alt.Scale(domain=[0, 1]), axis=score_axis),
        )
        .properties(width=_WIDTH_PX, height=_HEIGHT_PX, title=title)
    )
    return chart


def _backgrounds(band: Band, duration_s: float) -> list[alt.Chart]:
    halves = ((band.threshold, 1.0, _FAKE_BACKGROUND), (0.0, band.threshold, _REAL_BACKGROUND))
    return [
        data_chart([{"from": 0, "to": duration_s, "low": low, "high": high}])
        .mark_rect(color=color)
        .encode(x="from:Q", x2="to:Q", y="low:Q", y2="high:Q")
        for low, high, color in halves
    ]


def _bars(band: Band) -> alt.Chart:
    rows = [
        {
            "from": segment.start_s,
            "to": segment.end_s,
            "base": band.threshold,
            "score": segment.prob,
            "color": ink("fake" if segment.prob >= band.threshold else "real"),
        }
        for segment in band.segments
    ]
    chart: alt.Chart = (
        data_chart(rows)
        .mark_rect(strokeWidth=0.5)
        .encode(
            x="from:Q",
            x2="to:Q",
            y="base:Q",
            y2="score:Q",
            color=alt.Color("color:N", scale=None),
            stroke=alt.Stroke("color:N", scale=None),
        )
    )
    return chart
