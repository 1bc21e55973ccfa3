"""Features of whole stretches of sound.

Conventions: samples are ``(n_channels, n_samples)`` in [-1, 1]; spectra are power spectra in
decibels, without reference; frequencies are in Hz.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, interpolate

_POWER_FLOOR = 1e-10
_POWER_CEILING = 1e6
_HULL_BINS = 10
_HULL_FLOOR_DB = -45.0
_RESIDUE_CEILING_DB = 5.0


def mean_spectrum_db(
    samples: NDArray[np.float32], *, n_fft: int, hop: int, block_frames: int = 64
) -> NDArray[np.float64]:
    """Return the mean over frames and channels of the power spectrum in decibels.

    Frames are centred, with reflected ends, under a periodic Hann window; power is clipped to
    [1e-10, 1e6] before the logarithm. Memory does not grow with the length of the sound.

    Args:
        samples: ``(n_channels, n_samples)``, more than ``n_fft // 2`` samples long.
        n_fft: Window and transform length, in samples.
        hop: Step between frames, in samples.
        block_frames: Frames that are transformed at once.

    Returns:
        ``(n_fft // 2 + 1,)`` decibels.
    """
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    total = np.zeros(n_fft // 2 + 1)
    n_frames = 0
    for channel in samples:
        padded = np.pad(channel, n_fft // 2, mode="reflect")
        frames = sliding_window_view(padded, n_fft)[::hop]
        for start in range(0, len(frames), block_frames):
            block = frames[start : start + block_frames] * window
            power = np.abs(fft.rfft(block, axis=1)).astype(np.float64) ** 2
            total += (10 * np.log10(np.clip(power, _POWER_FLOOR, _POWER_CEILING))).sum(axis=0)
            n_frames += len(block)
    return total / n_frames


def fakeprint(
    samples: NDArray[np.float32], *, sample_rate_hz: int, band_hz: tuple[float, float], n_fft: int
) -> NDArray[np.float64]:
    """Return the peaks that stand out of the mean spectrum: the fakeprint.

    Up-sampling layers of neural decoders leave evenly spaced spectral peaks. The fakeprint is
    the mean spectrum in the band minus its lower hull (the minima of every 10 neighbouring
    bins, joined by a quadratic spline and kept above -45 dB), clipped to [0, 5] dB and divided
    by its maximum (Afchar et al., ISMIR 2025, "A Fourier Explanation of AI-music Artifacts").

    Args:
        samples: ``(n_channels, n_samples)``, more than ``n_fft // 2`` samples long.
        sample_rate_hz: Rate of the samples.
        band_hz: Band whose bins are taken, both ends excluded.
        n_fft: Window and transform length; frames overlap by half.

    Returns:
        ``(n_bins,)`` in [0, 1].
    """
    spectrum = mean_spectrum_db(samples, n_fft=n_fft, hop=n_fft // 2)
    frequencies = np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    inside = (frequencies > band_hz[0]) & (frequencies < band_hz[1])
    curve, positions = spectrum[inside], frequencies[inside]
    residue = np.clip(curve - _lower_hull(positions, curve), 0, _RESIDUE_CEILING_DB)
    vector: NDArray[np.float64] = residue / (residue.max() + 1e-6)
    return vector


def _lower_hull(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    windows = sliding_window_view(y, _HULL_BINS)
    lowest = np.argmin(windows, axis=1) + np.arange(len(windows))
    knots = np.unique(np.concatenate(([0], lowest, [len(y) - 1])))
    hull = interpolate.make_interp_spline(x[knots], y[knots], k=2)(x)
    floored: NDArray[np.float64] = np.maximum(hull, _HULL_FLOOR_DB)
    return floored
