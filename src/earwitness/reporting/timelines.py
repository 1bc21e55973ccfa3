"""Pictures of hearings: one song a file, PNG or SVG by its suffix.

Conventions: drawn offline and without a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from earwitness.charts.timeline import Band, Bar, timeline_chart
from earwitness.core.errors import UsageError
from earwitness.core.files import distinct_stems, file_stem
from earwitness.core.hearings import Hearing, Opinion
from earwitness.evaluation.verdicts import compare_verdicts, without_overlaps
from earwitness.reporting.drawing import PICTURE_SUFFIXES, save_chart
from earwitness.reporting.hearings import describe_score, describe_song, shown_name


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


def plot_hearing(hearing: Hearing, path: str | Path) -> Path:
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


def _band(opinion: Opinion) -> Band:
    bars = [Bar(s.start_s, s.end_s, s.prob) for s in without_overlaps(opinion.windows)]
    title = f"{opinion.card.name} {opinion.verdict}, {describe_score(opinion)}"
    return Band(title, bars, opinion.card.threshold)


def _subtitle(hearing: Hearing) -> str:
    agreement = compare_verdicts(hearing.opinions)
    return f"{describe_song(hearing)}.{f' {agreement}' if agreement else ''}"
