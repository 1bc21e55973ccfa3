"""Time–chroma: which of the twelve pitch classes come forward, eight times a second.

Conventions: one row a frame, one column a pitch class from A upwards. A value says how far a class
stands above its own neighbourhood in time and above the other classes of its frame, in units of
its spread over the sound: neither loudness nor timbre nor a slow fade moves it, so that it outlives
what re-synthesis does to music.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

from earwitness.audio.fingerprint import RATE_HZ

FRAME = 4_096
HOP = 688
N_CLASSES = 12
UNIT = 32
"""What a value of one spread is stored as; values are clipped to ±127."""

_BAND_HZ = (80.0, 2_400.0)
_A_HZ = 440.0
_FLOOR = 1e-6
"""Energy, as a share of the sound's mean, below which frames are alike."""

_CONTEXT = 32
"""Frames of the neighbourhood in time."""

_BLOCK = 512

Chroma = NDArray[np.int8]


def time_chroma(samples: NDArray[np.float32]) -> Chroma:
    """Return the time–chroma of a sound.

    Args:
        samples: ``(n_samples,)`` at ``fingerprint.RATE_HZ``.

    Returns:
        ``(n_frames, N_CLASSES)`` int8, no frame where the sound is shorter than one; 0 in silence
        and where it never changes.
    """
    energies = _class_energies(samples)
    if len(energies) == 0:
        return np.zeros((0, N_CLASSES), dtype=np.int8)
    silent = energies.sum(axis=1) <= _FLOOR * energies.sum(axis=1).mean()
    level = np.log10(energies + _FLOOR * energies.mean() + np.finfo(np.float32).tiny)
    level -= level.mean(axis=1, keepdims=True)
    level -= uniform_filter1d(level, _CONTEXT, axis=0)
    level -= level[~silent].mean(axis=0) if not silent.all() else 0
    level[silent] = 0
    spread = np.sqrt((level**2).sum(axis=0) / max(int((~silent).sum()), 1))
    level *= UNIT / np.where(spread > 1e-6, spread, np.inf)
    stored: Chroma = np.rint(level).clip(-127, 127).astype(np.int8)
    return stored


def _class_energies(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    if len(samples) < FRAME:
        return np.zeros((0, N_CLASSES))
    frames = sliding_window_view(samples, FRAME)[::HOP]
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    first, weights = _class_weights()
    energies = np.empty((len(frames), N_CLASSES))
    for start in range(0, len(frames), _BLOCK):
        spectrum = fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        inside = spectrum[:, first : first + len(weights)]
        energies[start : start + _BLOCK] = (inside.real**2 + inside.imag**2) @ weights
    return energies


@cache
def _class_weights() -> tuple[int, NDArray[np.float32]]:
    """Return the first bin of the band, and how much each bin counts for each class."""
    hz = np.arange(FRAME // 2 + 1) * RATE_HZ / FRAME
    inside = np.flatnonzero((hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1]))
    place = N_CLASSES * np.log2(hz[inside] / _A_HZ)
    apart = place[:, None] - np.arange(N_CLASSES)
    distance = np.abs((apart + N_CLASSES / 2) % N_CLASSES - N_CLASSES / 2)
    return int(inside[0]), np.clip(1 - distance, 0, None).astype(np.float32)
