"""The image of a decoder's comb that a detector found in a song."""

from __future__ import annotations

from pathlib import Path

from earwitness.listen.results import SongResult
from earwitness.report.charts.comb import comb_chart
from earwitness.report.charts.renderer import save_chart


def plot_comb(song: SongResult, path: Path) -> Path | None:
    """Draw the comb that a detector found in a song as ``<stem>-comb``, if one did."""
    found = next((each for each in song.opinions if each.details.get("decoder_guess")), None)
    if found is None:
        return None
    path = path.with_name(f"{path.stem}-comb{path.suffix}")
    save_chart(comb_chart(song.path, found.details, found.card), path)
    return path
