"""Loudness of a programme, as ITU-R BS.1770-4 measures it.

Conventions: samples are ``(n_channels, n_samples)`` in [-1, 1]; loudness is integrated and gated,
in LUFS. The recommendation gives its filters at 48 kHz; at other rates they are the bilinear
transforms of the same analogue filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import signal

LOWEST_RATE_HZ = 8_000
"""Below it the shelf of the weighting lies too near the highest frequency there is."""

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0

_OFFSET_DB = -0.691
_STEPS_PER_S = 10
_STEPS_PER_BLOCK = 4
_CHUNK_S = 10
_SURROUND = 1.41
_CHANNEL_WEIGHTS = {
    5: (1.0, 1.0, 1.0, _SURROUND, _SURROUND),
    6: (1.0, 1.0, 1.0, 0.0, _SURROUND, _SURROUND),
}
"""Left, right, centre, (low-frequency effects,) left and right surround."""

Floats = NDArray[np.float64]


def integrated_loudness(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return the integrated loudness in LUFS, NaN where every block is below the gate.

    Blocks are 400 ms long and overlap by three quarters; those below -70 LUFS are left out, and
    then those more than 10 LU below the mean of the rest.

    Args:
        samples: ``(n_channels, n_samples)``.
        sample_rate_hz: Their rate; NaN is returned below ``LOWEST_RATE_HZ``.
    """
    n_steps = samples.shape[1] * _STEPS_PER_S // sample_rate_hz
    if sample_rate_hz < LOWEST_RATE_HZ or n_steps < _STEPS_PER_BLOCK:
        return math.nan
    weights = _CHANNEL_WEIGHTS.get(len(samples), (1.0,) * len(samples))
    filters = weighting_filters(sample_rate_hz)
    steps = np.zeros(n_steps)
    for weight, channel in zip(weights, samples, strict=True):
        if weight:
            steps += weight * _step_powers(channel, filters, sample_rate_hz, n_steps)
    blocks = np.convolve(steps, np.full(_STEPS_PER_BLOCK, 1 / _STEPS_PER_BLOCK), mode="valid")
    loud = blocks[blocks > _power_at(ABSOLUTE_GATE_LUFS)]
    if not len(loud):
        return math.nan
    gate = loud.mean() * 10 ** (RELATIVE_GATE_LU / 10)
    return _OFFSET_DB + 10 * math.log10(loud[loud > gate].mean())


def weighting_filters(sample_rate_hz: int) -> Floats:
    """Return the K-weighting as second-order sections: a high shelf, then a high-pass.

    Args:
        sample_rate_hz: Rate of the samples.

    Returns:
        ``(2, 6)``: ``b0, b1, b2, 1, a1, a2`` of each; at 48 kHz those of the recommendation.
    """
    shelf_hz, shelf_db, shelf_q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    top = 10 ** (shelf_db / 20)
    middle = top**0.4996667741545416
    k = math.tan(math.pi * shelf_hz / sample_rate_hz)
    a0 = 1 + k / shelf_q + k * k
    b = [top + middle * k / shelf_q + k * k, 2 * (k * k - top), top - middle * k / shelf_q + k * k]
    shelf = [*(value / a0 for value in b), *_poles(k, shelf_q)]
    high_pass = [1, -2, 1, *_poles(math.tan(math.pi * pass_hz / sample_rate_hz), pass_q)]
    return np.array([shelf, high_pass])


def _poles(k: float, q: float) -> list[float]:
    a0 = 1 + k / q + k * k
    return [1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]


def _power_at(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_DB) / 10))


def _step_powers(
    channel: NDArray[np.float32], filters: Floats, sample_rate_hz: int, n_steps: int
) -> Floats:
    """Return the weighted power of every 100 ms, filtering a stretch at a time."""
    state = np.zeros((len(filters), 2))
    powers = []
    for edges in _edges(sample_rate_hz, n_steps):
        weighted, state = signal.sosfilt(filters, channel[edges[0] : edges[-1]], zi=state)
        sums = np.add.reduceat(weighted * weighted, edges[:-1] - edges[0])
        powers.append(sums / np.diff(edges))
    return np.concatenate(powers)


def _edges(sample_rate_hz: int, n_steps: int) -> Iterator[NDArray[np.int64]]:
    """Yield where steps begin and the last one ends, some seconds at a time."""
    chunk = _CHUNK_S * _STEPS_PER_S
    for first in range(0, n_steps, chunk):
        steps = np.arange(first, min(n_steps, first + chunk) + 1, dtype=np.int64)
        yield steps * sample_rate_hz // _STEPS_PER_S
