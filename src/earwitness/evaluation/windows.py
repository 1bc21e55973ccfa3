"""Scores over time: windows of one file, and segments without overlap.

Times are seconds from the start of the file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import expit

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


class Segment(NamedTuple):
    """A segment of a song and its score, as a logit and between 0 and 1."""

    start_s: float
    end_s: float
    logit: float
    prob: float


def probability_of(logit: float) -> float:
    """Return the logistic function of a logit."""
    return float(expit(logit))


def merge_windows(windows: Sequence[Segment]) -> list[Segment]:
    """Return segments without overlap, in time order, with overlapping windows averaged."""
    edges = sorted({edge for window in windows for edge in window[:2]})
    starting = sorted(windows, key=lambda window: window.start_s)
    open_windows: list[Segment] = []
    segments, at = [], 0
    for start_s, end_s in itertools.pairwise(edges):
        while at < len(starting) and starting[at].start_s <= start_s:
            open_windows.append(starting[at])
            at += 1
        open_windows = [window for window in open_windows if window.end_s > start_s]
        if open_windows:
            logit = math.fsum(w.logit for w in open_windows) / len(open_windows)
            segments.append(Segment(start_s, end_s, logit, probability_of(logit)))
    return segments


def covered_s(windows: Sequence[Segment]) -> float:
    """Return the number of seconds that windows cover, each counted once."""
    return math.fsum(s.end_s - s.start_s for s in merge_windows(windows))


def tick_seconds(duration_s: float, n_max: int = 10) -> list[int]:
    """Return at most ``n_max`` round times within a song, from 0."""
    step = next((s for s in _STEPS_S if duration_s / s < n_max), None)
    step = step or math.ceil(duration_s / n_max / _STEPS_S[-1]) * _STEPS_S[-1]
    return list(range(0, math.floor(duration_s) + 1, step))
