"""Fingerprints and time–chroma of recordings, and the inverted index that finds shared ones.

A fingerprint is a 32-bit word a frame: the signs of how the energy differences of neighbouring
bands change over time (Haitsma and Kalker, ISMIR 2002). Bit 31 is the lowest band; 0 is a silent
frame. Time–chroma is the energy of the twelve pitch classes a frame, relative to its neighbourhood.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

RATE_HZ = 5_500
FRAME, HOP, N_BITS = 2_048, 64, 32
CHROMA_FRAME, CHROMA_HOP, N_CLASSES = 4_096, 688, 12

_BLOCK = 512  # frames transformed at once

Words = NDArray[np.uint32]
Chroma = NDArray[np.int8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fingerprint(samples: NDArray[np.float32]) -> Words:
    """Return the words of a recording, one fewer than frames; none below two frames.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``, nominally in [-1, 1].
    """
    energies = _band_energies(samples)
    if len(energies) < 2:
        return np.zeros(0, dtype=np.uint32)
    slopes = np.diff(energies, axis=1)
    signs = slopes[1:] < slopes[:-1]
    words = np.packbits(signs, axis=1).view(">u4").astype(np.uint32).ravel()
    loud = energies.sum(axis=1) > 1e-9  # mean power of the band, relative to full scale
    words[~(loud[1:] & loud[:-1])] = 0
    return words


def _band_energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energy in ``N_BITS + 1`` logarithmically spaced bands of every whole frame."""
    if len(samples) < FRAME:
        return np.zeros((0, N_BITS + 1), dtype=np.float32)
    window, edges = _band_window(), _band_edges()
    frames = sliding_window_view(samples, FRAME)[::HOP]
    energies = np.empty((len(frames), N_BITS + 1), dtype=np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        inside = spectrum[:, edges[0] : edges[-1]]
        power = inside.real**2 + inside.imag**2
        energies[start : start + _BLOCK] = np.add.reduceat(power, edges[:-1] - edges[0], axis=1)
    return energies


@cache
def _band_window() -> NDArray[np.float32]:
    """Return a Hann window with unit energy, so that band energies are mean powers."""
    window = np.hanning(FRAME + 1)[:-1]
    unit: NDArray[np.float32] = (window / np.sqrt(FRAME * (window**2).sum() / 2)).astype(np.float32)
    return unit


@cache
def _band_edges() -> Ints:
    """Return the first bin of each band, and the end of the last."""
    hz = np.geomspace(300.0, 2_000.0, N_BITS + 2)
    return np.rint(hz * FRAME / RATE_HZ).astype(np.int64)


def time_chroma(samples: NDArray[np.float32]) -> Chroma:
    """Return the time–chroma of a recording, 0 in silence and where it is constant.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``.

    Returns:
        ``(n_frames, N_CLASSES)``, in 1/32 of the standard deviation of each class, clipped to ±127.
    """
    energies = _class_energies(samples)
    if len(energies) == 0:
        return np.zeros((0, N_CLASSES), dtype=np.int8)
    floor = 1e-6  # energy as a share of the recording's mean
    silent = energies.sum(axis=1) <= floor * energies.sum(axis=1).mean()
    level = np.log10(energies + floor * energies.mean() + np.finfo(np.float32).tiny)
    level -= level.mean(axis=1, keepdims=True)
    level -= uniform_filter1d(level, 32, axis=0)  # 4 s
    level -= level[~silent].mean(axis=0) if not silent.all() else 0
    level[silent] = 0
    spread = np.sqrt((level**2).sum(axis=0) / max(int((~silent).sum()), 1))
    level *= 32 / np.where(spread > 1e-6, spread, np.inf)
    stored: Chroma = np.rint(level).clip(-127, 127).astype(np.int8)
    return stored


def _class_energies(samples: NDArray[np.float32]) -> Floats:
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
    """Return the first bin from 80 to 2 400 Hz, and the weight of each bin in each class."""
    hz = np.arange(CHROMA_FRAME // 2 + 1) * RATE_HZ / CHROMA_FRAME
    inside = np.flatnonzero((hz >= 80.0) & (hz <= 2_400.0))
    place = N_CLASSES * np.log2(hz[inside] / 440.0)
    apart = place[:, None] - np.arange(N_CLASSES)
    distance = np.abs((apart + N_CLASSES / 2) % N_CLASSES - N_CLASSES / 2)
    return int(inside[0]), np.clip(1 - distance, 0, None).astype(np.float32)
