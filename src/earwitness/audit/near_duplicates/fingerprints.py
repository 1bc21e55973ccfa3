"""Sub-fingerprints: a 32-bit word every few milliseconds that survives coding.

Conventions: one word a frame, ``uint32``; bit 31 is the lowest band. A word is the signs of how the
energy differences of neighbouring bands change over time (Haitsma and Kalker, ISMIR 2002, "A Highly
Robust Audio Fingerprinting System"), taken of the mean over channels. 0 marks a frame that is
silent and has no word.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

RATE_HZ = 5_500
FRAME = 2_048
HOP = 64
BAND_HZ = (300.0, 2_000.0)
N_BITS = 32
_BLOCK = 512
_SILENCE = 1e-9
"""Mean power of the band below which a frame is silent (full scale is 1)."""

Words = NDArray[np.uint32]


def fingerprint(samples: NDArray[np.float32]) -> Words:
    """Return the words of a sound.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``, nominally in [-1, 1].

    Returns:
        One word fewer than there are frames, none where the sound is shorter than two.
    """
    energies = band_energies(samples)
    if len(energies) < 2:
        return np.zeros(0, dtype=np.uint32)
    slopes = np.diff(energies, axis=1)
    signs = slopes[1:] < slopes[:-1]
    words = np.packbits(signs, axis=1).view(">u4").astype(np.uint32).ravel()
    loud = energies.sum(axis=1) > _SILENCE
    words[~(loud[1:] & loud[:-1])] = 0
    return words


def band_energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energy of every frame in ``N_BITS + 1`` bands, logarithmically spaced.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``.

    Returns:
        ``(n_frames, N_BITS + 1)``; frames are wholly inside the sound, ``HOP`` apart.
    """
    if len(samples) < FRAME:
        return np.zeros((0, N_BITS + 1), dtype=np.float32)
    window, edges = _window(), _edges()
    frames = sliding_window_view(samples, FRAME)[::HOP]
    energies = np.empty((len(frames), N_BITS + 1), dtype=np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        inside = spectrum[:, edges[0] : edges[-1]]
        power = inside.real**2 + inside.imag**2
        energies[start : start + _BLOCK] = np.add.reduceat(power, edges[:-1] - edges[0], axis=1)
    return energies


@cache
def _window() -> NDArray[np.float32]:
    """A Hann window with unit energy, so that band energies are mean powers."""
    window = np.hanning(FRAME + 1)[:-1]
    unit: NDArray[np.float32] = (window / np.sqrt(FRAME * (window**2).sum() / 2)).astype(np.float32)
    return unit


@cache
def _edges() -> NDArray[np.int64]:
    """First bins of the bands, and the end of the last."""
    hz = np.geomspace(*BAND_HZ, N_BITS + 2)
    return np.rint(hz * FRAME / RATE_HZ).astype(np.int64)


CHROMA_FRAME = 4_096
CHROMA_HOP = 688
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
    if len(samples) < CHROMA_FRAME:
        return np.zeros((0, N_CLASSES))
    frames = sliding_window_view(samples, CHROMA_FRAME)[::CHROMA_HOP]
    window = np.hanning(CHROMA_FRAME + 1)[:-1].astype(np.float32)
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
    hz = np.arange(CHROMA_FRAME // 2 + 1) * RATE_HZ / CHROMA_FRAME
    inside = np.flatnonzero((hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1]))
    place = N_CLASSES * np.log2(hz[inside] / _A_HZ)
    apart = place[:, None] - np.arange(N_CLASSES)
    distance = np.abs((apart + N_CLASSES / 2) % N_CLASSES - N_CLASSES / 2)
    return int(inside[0]), np.clip(1 - distance, 0, None).astype(np.float32)
