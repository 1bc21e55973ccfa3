"""A song's course in one line of blocks, for terminals.

Conventions: the height of a block alone tells what it stands for, colour repeats it; a blank was
not heard.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from earwitness.charts.timeline import tick_seconds
from earwitness.core.hearings import Stretch
from earwitness.evaluation.verdicts import fakeness, probability_of, without_overlaps

REAL_STYLE, FAKE_STYLE = "blue", "red"
_BLOCKS = "▁▂▃▄▅▆▇█"


def clock(seconds: float) -> str:
    """Write a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def draw_bar(
    windows: Sequence[Stretch], duration_s: float, *, threshold: float, n_cells: int
) -> Text:
    """Return a block a cell, as high as what was heard in it sounds fake.

    Args:
        windows: What was heard of a song.
        duration_s: Length of the song.
        threshold: Number between 0 and 1 that stands half way up.
        n_cells: Characters to draw.
    """
    text = Text()
    for logit in _cell_logits(without_overlaps(windows), duration_s, n_cells):
        if logit is None:
            text.append(" ")
            continue
        value = fakeness(probability_of(logit), threshold)
        block = _BLOCKS[min(int(value * len(_BLOCKS)), len(_BLOCKS) - 1)]
        text.append(block, style=FAKE_STYLE if value >= 0.5 else REAL_STYLE)
    return text


def _cell_logits(
    stretches: Sequence[Stretch], duration_s: float, n_cells: int
) -> list[float | None]:
    """Return the mean logit of what was heard in each cell, ``None`` where nothing was."""
    cell_s = duration_s / n_cells
    logits: list[float | None] = []
    for at in range(n_cells):
        inside = [(s.logit, _shared_s(s, at * cell_s, (at + 1) * cell_s)) for s in stretches]
        total_s = sum(shared_s for _, shared_s in inside)
        weighted = sum(logit * shared_s for logit, shared_s in inside)
        logits.append(weighted / total_s if total_s > 1e-6 * cell_s else None)
    return logits


def _shared_s(stretch: Stretch, start_s: float, end_s: float) -> float:
    return max(0.0, min(stretch.end_s, end_s) - max(stretch.start_s, start_s))


def write_axis(duration_s: float, n_cells: int) -> str:
    """Return times under the cells that they fall into."""
    line = ""
    for tick in tick_seconds(duration_s, n_most=max(2, n_cells // 9)):
        column = int(tick / duration_s * n_cells)
        label = clock(tick)
        if column + len(label) <= n_cells:
            line = line.ljust(column) + label
    return line
