"""Level, loudness, silence, clipping, bandwidth and stereo field of a sound.

Samples are ``(n_channels, n_samples)`` in [-1, 1]; decibels are of power, relative to full scale or
to the sound itself; ``None`` is undefined (the crest factor of silence, the correlation of one
channel).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from earwitness.audit.traces import (
    LOWEST_DB,
    band_edge_hz,
    bit_depth,
    constant_runs,
    low_power,
    stereo_width_db,
)

SILENT_DBFS = -60.0
"""A 20 ms frame below this is silent."""

CLIPPED = 0.999
"""Three consecutive samples from here up are clipped."""

QUIETEST_DB = -80.0
"""Lower bound of the level of quiet passages; below it is rounding noise."""

BAND_EDGE_DB = -80.0
"""The band ends where the mean power of a bin falls this far below the strongest bin."""

_FRAME_S = 0.02
_RUN = 3
_N_FFT = 2048
_FRAMES_AT_ONCE = 256
_FLOOR_BAND = (0.75, 0.95)
_FLOOR_QUANTILE = 0.1
_QUIET_QUANTILE = 0.05


class Channel(NamedTuple):
    """Measures of one sound.

    Attributes:
        peak_dbfs: Largest magnitude.
        loudness_lufs: Integrated loudness, ITU-R BS.1770.
        crest_db: Peak above the mean power.
        dc_offset: Magnitude of a channel's mean by the root of its mean power, the largest.
        clipped_share: Samples that are clipped.
        lead_silence_s: Silence before the first sound.
        trail_silence_s: Silence after the last sound.
        silence_share: Silent frames.
        lead_zeros_s: Digital silence at the very start; see ``traces.constant_runs``.
        zero_share: Samples in digital silence.
        bit_depth: Bits that the samples use; ``None`` where they are on no grid.
        quiet_db: Power of the quietest frames (the lowest twentieth), relative to all power.
        bandwidth_hz: Highest frequency with energy.
        band_edge_hz: Where the spectrum falls most steeply.
        below_40_db: Power below 40 Hz around the mean, relative to all.
        above_8k_db: Power above 8 kHz, relative to all.
        above_16k_db: Power above 16 kHz, relative to all.
        floor_db: Quiet bins (the lowest tenth) of the uppermost band, relative to all power.
        stereo_correlation: Correlation of the first two channels.
        stereo_width_db: Side by mid; see ``traces.stereo_width_db``.
        balance_db: Power of the first channel by that of the second.
    """

    peak_dbfs: float | None
    loudness_lufs: float | None
    crest_db: float | None
    dc_offset: float | None
    clipped_share: float
    lead_silence_s: float
    trail_silence_s: float
    silence_share: float
    lead_zeros_s: float
    zero_share: float
    bit_depth: int | None
    quiet_db: float | None
    bandwidth_hz: float | None
    band_edge_hz: float | None
    below_40_db: float | None
    above_8k_db: float | None
    above_16k_db: float | None
    floor_db: float | None
    stereo_correlation: float | None
    stereo_width_db: float | None
    balance_db: float | None


def measure_channel(samples: NDArray[np.float32], sample_rate_hz: int) -> Channel:
    """Measure a sound.

    Args:
        samples: ``(n_channels, n_samples)``, at least one of each.
        sample_rate_hz: Their rate.
    """
    peak = max(float(channel.max()) for channel in (samples, -samples))
    powers = [_mean_power(channel) for channel in samples]
    power = float(np.mean(powers))
    loudness = integrated_loudness(samples, sample_rate_hz)
    means = [float(channel.mean(dtype=np.float64)) for channel in samples]
    moving = [power - mean**2 for power, mean in zip(powers, means, strict=True)]
    whole = max(float(np.mean(moving)), 0.0)
    lead, trail, share, quiet = _silences(samples, sample_rate_hz)
    spectrum = mean_power_spectrum(samples)
    band = _band(spectrum, sample_rate_hz)
    n_equal, zero_share = constant_runs(samples)
    return Channel(
        peak_dbfs=20 * math.log10(peak) if peak > 0 else None,
        loudness_lufs=None if math.isnan(loudness) else loudness,
        crest_db=20 * math.log10(peak) - 10 * math.log10(power) if power > 0 else None,
        dc_offset=_dc_offset(means, powers),
        clipped_share=_clipped_share(samples),
        lead_silence_s=lead,
        trail_silence_s=trail,
        silence_share=share,
        lead_zeros_s=n_equal / sample_rate_hz,
        zero_share=zero_share,
        bit_depth=bit_depth(samples),
        quiet_db=max(_relative_db(quiet, whole), QUIETEST_DB) if whole > 0 else None,
        bandwidth_hz=band[0],
        band_edge_hz=band_edge_hz(spectrum, sample_rate_hz),
        below_40_db=_relative_db(low_power(samples, sample_rate_hz), whole) if whole > 0 else None,
        above_8k_db=band[1],
        above_16k_db=band[2],
        floor_db=band[3],
        stereo_correlation=_correlation(samples),
        stereo_width_db=stereo_width_db(samples),
        balance_db=_balance_db(moving),
    )


def mean_power_spectrum(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean over frames and channels of the power spectrum.

    Frames of 2048 samples do not overlap; a Blackman-Harris window limits leakage above the end of
    the band.

    Args:
        samples: ``(n_channels, n_samples)``; a sound shorter than a frame is padded with zeros.

    Returns:
        ``(1025,)`` powers.
    """
    short = max(0, _N_FFT - samples.shape[1])
    padded = np.pad(samples, ((0, 0), (0, short))) if short else samples
    n_frames = padded.shape[1] // _N_FFT
    window = signal.windows.blackmanharris(_N_FFT, sym=False).astype(np.float32)
    total = np.zeros(_N_FFT // 2 + 1)
    for channel in padded:
        frames = channel[: n_frames * _N_FFT].reshape(n_frames, _N_FFT)
        for start in range(0, n_frames, _FRAMES_AT_ONCE):
            spectrum = fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * window, axis=1)
            total += (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
    total /= n_frames * len(padded)
    return total


def _band(
    power: NDArray[np.float64], sample_rate_hz: int
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return bandwidth, power above 8 and 16 kHz, and the floor of the uppermost band."""
    whole = float(power.sum())
    if whole == 0:
        return None, None, None, None
    nyquist_hz = sample_rate_hz / 2
    bins_hz = np.linspace(0, nyquist_hz, len(power))
    edge = power.max() * 10 ** (BAND_EDGE_DB / 10)
    low, high = (share * nyquist_hz for share in _FLOOR_BAND)
    uppermost = power[(bins_hz >= low) & (bins_hz <= high)]
    return (
        float(bins_hz[np.flatnonzero(power >= edge)[-1]]),
        _relative_db(float(power[bins_hz > 8_000].sum()), whole),
        _relative_db(float(power[bins_hz > 16_000].sum()), whole),
        _relative_db(float(np.quantile(uppermost, _FLOOR_QUANTILE)), whole),
    )


def _relative_db(power: float, whole: float) -> float:
    return 10 * math.log10(max(power / whole, 10 ** (LOWEST_DB / 10)))


def _mean_power(channel: NDArray[np.float32]) -> float:
    return float(np.mean(np.square(channel), dtype=np.float64))


def _dc_offset(means: list[float], powers: list[float]) -> float | None:
    both = zip(means, powers, strict=True)
    return max((abs(mean) / math.sqrt(power) for mean, power in both if power > 0), default=None)


def _balance_db(powers: list[float]) -> float | None:
    if len(powers) < 2 or min(powers[:2]) <= 0:
        return None
    return 10 * math.log10(powers[0] / powers[1])


def _silences(
    samples: NDArray[np.float32], sample_rate_hz: int
) -> tuple[float, float, float, float]:
    """Return silence at both ends, the share of silent frames, and the power of quiet ones.

    Power is that around the mean of each channel's frame: a DC offset is no sound.
    """
    length = max(1, round(_FRAME_S * sample_rate_hz))
    n_frames = max(1, samples.shape[1] // length)
    starts = np.arange(n_frames) * length  # the last frame takes what is left over
    sizes = np.diff([*starts, samples.shape[1]])
    powers = np.zeros(len(starts))
    for channel in samples:
        powers += np.add.reduceat(np.square(channel), starts, dtype=np.float64) / sizes
        powers -= (np.add.reduceat(channel, starts, dtype=np.float64) / sizes) ** 2
    powers = np.maximum(powers / len(samples), 0)
    quiet = float(np.quantile(powers, _QUIET_QUANTILE))
    silent = powers < 10 ** (SILENT_DBFS / 10)
    sounding = np.flatnonzero(~silent)
    if not len(sounding):
        whole_s = samples.shape[1] / sample_rate_hz
        return whole_s, whole_s, 1.0, quiet
    lead = float(sizes[: sounding[0]].sum()) / sample_rate_hz
    trail = float(sizes[sounding[-1] + 1 :].sum()) / sample_rate_hz
    return lead, trail, float(sizes[silent].sum() / sizes.sum()), quiet


def _clipped_share(samples: NDArray[np.float32]) -> float:
    """Return the share of samples in runs at full scale."""
    n_clipped = 0
    for channel in samples:
        at_top = np.abs(channel) >= CLIPPED
        if not at_top.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([False], at_top, [False]))))
        runs = edges[1::2] - edges[::2]
        n_clipped += int(runs[runs >= _RUN].sum())
    return n_clipped / samples.size


def _correlation(samples: NDArray[np.float32]) -> float | None:
    if len(samples) < 2:
        return None
    left, right = (one - np.float32(one.mean(dtype=np.float64)) for one in samples[:2])
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(np.clip((left @ right) / scale, -1, 1)) if scale > 0 else None


LOWEST_RATE_HZ = 8_000
"""Below it the shelf of the K-weighting is too near the Nyquist frequency."""

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
    """Return the weighted power of every 100 ms, filtering some seconds at a time."""
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
