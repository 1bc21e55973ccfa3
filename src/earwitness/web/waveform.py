"""The waveform of a song as the outline of an SVG, with the scores of each detector below it.

Conventions: x is seconds; the waveform is within -1 and 1, one bar being the peak of its samples.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import Span, probe_audio, read_spans
from earwitness.evaluation.windows import merge_windows
from earwitness.listen.answer import clock
from earwitness.listen.results import DetectorResult, SongResult, fake_segments

N_BARS = 400
"""Bars of a waveform; shorter audio has one for each sample."""
_MAX_VALUES = 30_000_000
"""Values that are read at most; of more, the beginning of each bar is."""
_N_RANGES = 8


@dataclass(frozen=True)
class Lane:
    """The scores of a detector below a waveform.

    Attributes:
        detector: Its name.
        ranges: Where its scores reach its threshold, in words.
        parts: Start and length in seconds, and ``fake``, ``real`` or ``ghost`` (no trace).
    """

    detector: str
    ranges: str
    parts: list[tuple[float, float, str]]


@dataclass(frozen=True)
class Waveform:
    """What is drawn of a song.

    Attributes:
        duration_s: Its length.
        outline: Path of its samples.
        lanes: Scores of the detectors that gave a verdict.
    """

    duration_s: float
    outline: str
    lanes: list[Lane]


def draw_waveform(path: Path, result: SongResult) -> Waveform:
    """Return the waveform of a song; ``AudioError`` if it cannot be read."""
    peaks = read_peaks(path)
    duration_s = probe_audio(path).duration_s
    lanes = [_lane(one) for one in result.opinions if one.verdict is not None]
    return Waveform(duration_s, _outline(peaks, duration_s), lanes)


def read_peaks(path: Path, *, n_bars: int = N_BARS) -> NDArray[np.float32]:
    """Return the largest absolute sample of each of equal parts of a file, ``(n_bars,)``.

    Of audio with over 30 million samples in all channels, some five minutes, only the beginning of
    each part is read, so that memory stays bounded.

    Raises:
        AudioError: The file cannot be read.
    """
    info = probe_audio(path)
    n_bars = min(n_bars, info.n_samples)
    edges = np.linspace(0, info.n_samples, n_bars + 1).astype(int).tolist()
    longest = max(1, _MAX_VALUES // (n_bars * info.n_channels))
    spans = [Span(a, min(b, a + longest)) for a, b in itertools.pairwise(edges)]
    return np.array([np.abs(part).max(initial=0) for part in read_spans(info, spans)], np.float32)


def _outline(peaks: NDArray[np.float32], duration_s: float) -> str:
    """Return a closed path: the peaks from left to right, and their negatives back."""
    # A quiet song fills half of the height, and a silent one is a line.
    height = np.clip(peaks / max(0.5, float(peaks.max(initial=0))), 0.01, 1)
    x = (np.arange(len(peaks)) + 0.5) * duration_s / len(peaks)
    there = [f"{a:.2f} {-b:.3f}" for a, b in zip(x, height, strict=True)]
    back = [f"{a:.2f} {b:.3f}" for a, b in zip(x[::-1], height[::-1], strict=True)]
    return f"M0 0L{'L'.join(there)}L{duration_s:.2f} 0L{'L'.join(back)}Z"


def _lane(result: DetectorResult) -> Lane:
    threshold = result.card.threshold
    below = "ghost" if result.card.one_sided else "real"
    parts = [
        (one.start_s, one.end_s - one.start_s, "fake" if one.prob >= threshold else below)
        for one in merge_windows(result.windows)
    ]
    ranges = [f"{clock(a)}–{clock(b)}" for a, b in fake_segments(result.windows, threshold)]
    text = ", ".join(ranges[:_N_RANGES]) or "nowhere"
    if len(ranges) > _N_RANGES:
        text += f" and {len(ranges) - _N_RANGES} more"
    return Lane(result.card.name, text, parts)
