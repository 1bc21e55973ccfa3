"""Pictures of hearings: one song a file, PNG or SVG by its suffix.

Conventions: drawn offline and without a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt

from earwitness.core.errors import UsageError
from earwitness.core.io import distinct_stems, file_stem
from earwitness.listen.text import describe_score, describe_song, shown_name, tick_seconds
from earwitness.listen.types import DetectorResult, SongResult
from earwitness.listen.verdicts import compare_verdicts, without_overlaps
from earwitness.report.charts.renderer import PICTURE_SUFFIXES, save_chart
from earwitness.report.charts.style import FONT, break_lines, ink


def choose_pictures(songs: Sequence[Path], save: Path) -> list[Path]:
    """Return where the picture of each song goes.

    Args:
        songs: The files.
        save: A ``.png`` or ``.svg`` file for a single song, else a folder for PNGs.

    Raises:
        UsageError: One picture for several songs, or a suffix that is no picture's.
    """
    if save.suffix.lower() in PICTURE_SUFFIXES and not save.is_dir():
        if len(songs) > 1:
            raise UsageError(
                f"--save {save}: one picture for {len(songs)} songs, expected a folder"
            )
        return [save]
    if save.is_file() or (save.suffix and not save.is_dir() and len(songs) == 1):
        raise UsageError(f"--save {save}: expected a .png or .svg file, or a folder")
    stems = distinct_stems(file_stem(shown_name(song.stem)) for song in songs)
    return [save / f"{stem}.png" for stem in stems]


def plot_hearing(hearing: SongResult, path: str | Path) -> Path:
    """Draw what was heard over the course of a song.

    Args:
        hearing: One that at least one detector judged.
        path: The picture, ``.png`` or ``.svg``; its folder is made if it is missing.

    Raises:
        UsageError: Another suffix, or nothing to draw.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(PICTURE_SUFFIXES)}")
    if hearing.duration_s is None or not hearing.is_judged:
        raise UsageError(f"{hearing.path}: no detector judged it, so there is nothing to draw")
    chart = timeline_chart(
        [_band(opinion) for opinion in hearing.opinions if opinion.verdict is not None],
        title=shown_name(hearing.path.name),
        subtitle=_subtitle(hearing),
        duration_s=hearing.duration_s,
    )
    save_chart(chart, path)
    return path


def _band(opinion: DetectorResult) -> Band:
    bars = [Bar(s.start_s, s.end_s, s.prob) for s in without_overlaps(opinion.windows)]
    title = f"{opinion.card.name} {opinion.verdict}, {describe_score(opinion)}"
    return Band(title, bars, opinion.card.threshold)


def _subtitle(hearing: SongResult) -> str:
    agreement = compare_verdicts(hearing.opinions)
    return f"{describe_song(hearing)}.{f' {agreement}' if agreement else ''}"


_WIDTH_PX, _HEIGHT_PX = 760, 84
_LINE_UNITS = 84
_FAKE, _REAL = ink("fake"), ink("real")
_FAKE_GROUND, _REAL_GROUND = "#fdf1e8", "#eaf3fa"
_INK, _GREY_INK = ink("ink"), ink("soft")
_CLOCK = (
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' : '')"
    " + (datum.value >= 3600 ? format(floor(datum.value % 3600 / 60), '02d')"
    " : floor(datum.value / 60)) + ':' + format(datum.value % 60, '02d')"
)


class Bar(NamedTuple):
    """A stretch of a song, seconds from its start, and its score between 0 and 1."""

    start_s: float
    end_s: float
    score: float


class Band(NamedTuple):
    """One detector's scores.

    Attributes:
        title: What it said, over the band.
        bars: Its scores, without overlaps.
        threshold: Score from which on it calls a stretch fake.
    """

    title: str
    bars: Sequence[Bar]
    threshold: float


def timeline_chart(
    bands: Sequence[Band], *, title: str, subtitle: str, duration_s: float
) -> alt.VConcatChart:
    """Draw scores over time.

    Args:
        bands: One a detector.
        title: Over all of them; broken into lines where it is long.
        subtitle: Under the title.
        duration_s: Length of the song.
    """
    last = len(bands) - 1
    rows = [_row(band, duration_s, is_last=at == last) for at, band in enumerate(bands)]
    chart: alt.VConcatChart = (
        alt.vconcat(*rows, spacing=22)
        .properties(padding=16, title=_heading(title, subtitle))
        .configure(font=FONT, background=ink("paper"))
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=_INK, titleColor=_INK)
    )
    return chart


def _row(band: Band, duration_s: float, *, is_last: bool) -> alt.LayerChart:
    chart: alt.LayerChart = (
        alt.layer(*_grounds(band, duration_s), _bars(band), _threshold(band))
        .encode(x=_time(duration_s, is_last=is_last), y=_score())
        .properties(width=_WIDTH_PX, height=_HEIGHT_PX, title=_row_title(band.title))
    )
    return chart


def _grounds(band: Band, duration_s: float) -> list[alt.Chart]:
    halves = ((band.threshold, 1.0, _FAKE_GROUND), (0.0, band.threshold, _REAL_GROUND))
    return [
        alt.Chart(_values([{"from": 0, "to": duration_s, "low": low, "high": high}]))
        .mark_rect(color=color)
        .encode(x="from:Q", x2="to:Q", y="low:Q", y2="high:Q")
        for low, high, color in halves
    ]


def _bars(band: Band) -> alt.Chart:
    rows = [
        {
            "from": bar.start_s,
            "to": bar.end_s,
            "base": band.threshold,
            "score": bar.score,
            "color": _FAKE if bar.score >= band.threshold else _REAL,
        }
        for bar in band.bars
    ]
    chart: alt.Chart = (
        alt.Chart(_values(rows))
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


def _threshold(band: Band) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(_values([{"threshold": band.threshold}]))
        .mark_rule(color=_INK, strokeWidth=1)
        .encode(x=alt.X(), y="threshold:Q")
    )
    return chart


def _time(duration_s: float, *, is_last: bool) -> alt.X:
    axis = alt.Axis(
        values=tick_seconds(duration_s),
        labelExpr=_CLOCK,
        labels=is_last,
        title="time" if is_last else None,
        grid=False,
        domain=False,
        tickColor="#999999",
        labelPadding=6,
    )
    return alt.X("from:Q", scale=alt.Scale(domain=[0, duration_s], nice=False), axis=axis)


def _score() -> alt.Y:
    axis = alt.Axis(
        values=[0, 1],
        labelExpr="datum.value ? 'fake' : 'real'",
        title=None,
        grid=False,
        ticks=False,
        domain=False,
        labelPadding=8,
    )
    return alt.Y("base:Q", scale=alt.Scale(domain=[0, 1]), axis=axis)


def _row_title(text: str) -> alt.TitleParams:
    return alt.TitleParams(
        text=break_lines(text, _LINE_UNITS + 10),
        anchor="start",
        frame="group",
        fontSize=14,
        fontWeight="bold",
        color=_INK,
        offset=6,
    )


def _heading(title: str, subtitle: str) -> alt.TitleParams:
    return alt.TitleParams(
        text=break_lines(title, _LINE_UNITS),
        subtitle=break_lines(subtitle, _LINE_UNITS + 16),
        anchor="start",
        fontSize=17,
        fontWeight="bold",
        color=_INK,
        subtitleFontSize=13,
        subtitleColor=_GREY_INK,
        subtitlePadding=6,
        offset=14,
    )


def _values(rows: list[Any]) -> alt.InlineData:
    return alt.InlineData(values=rows)
