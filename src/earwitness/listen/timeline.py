"""Timelines: the scores of one song over time, as a PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from earwitness.core.errors import UsageError
from earwitness.core.io import distinct_stems, file_stem
from earwitness.evaluation.windows import (
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
)
from earwitness.report.charts.renderer import PICTURE_SUFFIXES, save_chart
from earwitness.report.charts.timeline import Band, timeline_chart


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
            result.card.one_sided,
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
