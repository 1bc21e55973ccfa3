"""Traces of production in a sound: bit depth, digital silence, filter edge, stereo width.

Samples are ``(n_channels, n_samples)`` in [-1, 1]; ``None`` is undefined (the width of mono).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

LOWEST_DB = -160.0
"""Lower bound of any relative power."""

LOWEST_WIDTH_DB = -80.0
"""Lower bound of the stereo width (mono); its negative is the upper bound."""

DIGITAL_RUN = 32
"""Minimum number of consecutive equal samples that count as digital silence."""

_DEEPEST_BITS = 24
_HIGHEST = 64
_EDGE_SPAN_HZ = 500
_EDGE_FROM_HZ = 2_000
_EDGE_FLOOR_DB = -100.0
_N_FFT = 2048
_LOW_RATE_HZ = 400
_LOW_HZ = 40
_MOST_FRAMES = 1_000
_LOUD_DB = -30.0
_WIDTH_QUANTILE = 0.9


def bit_depth(samples: NDArray[np.float32]) -> int | None:
    """Return how many bits the samples use; ``None`` for silence and samples on no integer grid.

    Decoded lossy audio is not on a grid of 24 bits; 16-bit audio in a 24-bit file uses 16.
    """
    used = 0
    for channel in samples:
        if max(channel.max(), -channel.min()) > _HIGHEST:
            return None
        scaled = channel * np.float32(2 ** (_DEEPEST_BITS - 1))
        whole = np.rint(scaled)
        if not np.array_equal(scaled, whole):
            return None
        used |= int(np.bitwise_or.reduce(whole.astype(np.int32)))
    return _DEEPEST_BITS - ((used & -used).bit_length() - 1) if used else None


def constant_runs(samples: NDArray[np.float32]) -> tuple[int, float]:
    """Return the equal samples at the start, and the share of samples in digital silence.

    Digital silence is ``DIGITAL_RUN`` samples or more that repeat in all channels, at any level, so
    that a DC offset does not hide it.
    """
    same = np.ones(samples.shape[1] - 1, dtype=bool)
    for channel in samples:
        same &= channel[1:] == channel[:-1]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    starts, runs = edges[::2], edges[1::2] - edges[::2] + 1
    lead = int(runs[0]) if len(starts) and starts[0] == 0 else 0
    silent = int(runs[runs >= DIGITAL_RUN].sum())
    return (lead if lead >= DIGITAL_RUN else 0), silent / samples.shape[1]


def band_edge_hz(power: NDArray[np.float64], sample_rate_hz: int) -> float | None:
    """Return the frequency of the steepest fall of the spectrum from 2 kHz up, as of a low-pass.

    The fall is the mean level of the 500 Hz below less that of the 500 Hz above.

    Args:
        power: ``(n_bins,)`` mean power spectrum from 0 Hz to half the rate.
        sample_rate_hz: Rate of the samples.
    """
    n_bins, top_hz = len(power), sample_rate_hz / 2
    span = max(1, round(_EDGE_SPAN_HZ / top_hz * (n_bins - 1)))
    first = max(span, math.ceil(_EDGE_FROM_HZ / top_hz * (n_bins - 1)))
    places = np.arange(first, n_bins - span)
    if not len(places) or power.max() <= 0:
        return None
    level = 10 * np.log10(np.maximum(power / power.max(), 10 ** (_EDGE_FLOOR_DB / 10)))
    sums = np.concatenate(([0.0], np.cumsum(level)))
    falls = 2 * sums[places] - sums[places - span] - sums[places + span]
    return float(places[np.argmax(falls)] / (n_bins - 1) * top_hz)


def low_power(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return the mean power below 40 Hz, around the mean, of all channels.

    Taken from means of 2.5 ms, whose own spectrum reaches 200 Hz.
    """
    length = max(1, round(sample_rate_hz / _LOW_RATE_HZ))
    n_blocks = samples.shape[1] // length
    if n_blocks < 2:
        return 0.0
    blocks = samples[:, : n_blocks * length].reshape(len(samples), n_blocks, length)
    spectrum = np.abs(fft.rfft(blocks.mean(axis=2, dtype=np.float64), axis=1)) ** 2
    bins_hz = fft.rfftfreq(n_blocks, length / sample_rate_hz)
    low = spectrum[:, (bins_hz > 0) & (bins_hz < _LOW_HZ)]
    return float(2 * low.sum() / n_blocks**2 / len(samples))


def stereo_width_db(samples: NDArray[np.float32]) -> float | None:
    """Return the side/mid power ratio that a tenth of the loud spectral bins exceed.

    At most 1000 non-overlapping frames of 2048 samples, spread over the sound; a bin is loud within
    30 dB of the mean. ``None`` for one channel or silence.
    """
    if len(samples) < 2:
        return None
    short = max(0, _N_FFT - samples.shape[1])
    padded = np.pad(samples[:2], ((0, 0), (0, short))) if short else samples[:2]
    n_frames = padded.shape[1] // _N_FFT
    chosen = np.unique(np.linspace(0, n_frames - 1, min(n_frames, _MOST_FRAMES)).astype(np.int64))
    frames = padded[:, : n_frames * _N_FFT].reshape(2, n_frames, _N_FFT)[:, chosen]
    window = np.hanning(_N_FFT)
    left, right = (fft.rfft(one.astype(np.float64) * window, axis=1)[:, 1:] for one in frames)
    middle, side = np.abs(left + right) ** 2, np.abs(left - right) ** 2
    whole = middle + side
    loud = whole > whole.mean() * 10 ** (_LOUD_DB / 10)
    if not loud.any():
        return None
    share = np.quantile(side[loud] / whole[loud], _WIDTH_QUANTILE)  # rises with side by middle
    lowest = 10 ** (LOWEST_WIDTH_DB / 10)
    return 10 * math.log10(max(share, lowest) / max(1 - share, lowest))
