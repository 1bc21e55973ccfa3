"""The image of a decoder's comb that a detector found in a song."""

from __future__ import annotations

from pathlib import Path

from earwitness.listen.results import SongResult
from earwitness.listen.text import printable_name
from earwitness.report.charts.comb import comb_picture, read_comb
from earwitness.report.charts.renderer import save_chart


def plot_comb(song: SongResult, path: Path) -> Path | None:
    """Draw the comb that a detector found in a song as ``<stem>-comb``, if one did."""
    found = next((each for each in song.opinions if each.details.get("decoder_period_hz")), None)
    if found is None:
        return None
    path = path.with_name(f"{path.stem}-comb{path.suffix}")
    comb = read_comb(song.path, found.details, found.card)
    title = printable_name(song.path.name)
    save_chart(comb_picture(comb, found.details, title=title), path)
    return path
