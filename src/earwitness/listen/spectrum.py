"""The image of a decoder's comb that a detector found in a song."""

from __future__ import annotations

from pathlib import Path

from earwitness.detectors.loading import find_explain
from earwitness.listen.results import SongResult, found_lines
from earwitness.listen.text import printable_name
from earwitness.report.charts.comb import comb_picture
from earwitness.report.charts.renderer import save_chart


def plot_comb(song: SongResult, path: Path) -> Path | None:
    """Draw the comb that a detector found in a song as ``<stem>-comb``, if one did."""
    found = next(iter(found_lines(song.opinions)), None)
    if found is None or (explain := find_explain(found.card)) is None:
        return None
    path = path.with_name(f"{path.stem}-comb{path.suffix}")
    lines = explain(song.path, found.details, found.card)
    title = printable_name(song.path.name)
    save_chart(comb_picture(lines, found.details, title=title), path)
    return path
