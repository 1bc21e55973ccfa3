"""Level, loudness, silence, clipping, bandwidth and stereo field of audio.

Samples are ``(n_channels, n_samples)`` in [-1, 1]; decibels are of power, relative to full scale or
to the signal's own power; ``None`` is undefined (the crest factor of silence).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

LOWEST_DB = -160.0
"""Lower bound of any relative power."""

_STEPS_PER_S = 10

Floats = NDArray[np.float64]


class Channel(NamedTuple):
    """Measures of one recording; docs/audit-json.md defines them."""

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
    """Return the measures of at least one channel and one sample."""
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
        # below -80 dB is rounding noise
        quiet_db=max(_relative_db(quiet, whole), -80.0) if whole > 0 else None,
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


def mean_power_spectrum(samples: NDArray[np.float32]) -> Floats:
    """Return the power spectrum ``(1025,)``, mean over channels and non-overlapping frames.

    The Blackman-Harris window limits leakage above the end of the band.
    """
    n_fft, batch = 2048, 256
    short = max(0, n_fft - samples.shape[1])
    padded = np.pad(samples, ((0, 0), (0, short))) if short else samples
    n_frames = padded.shape[1] // n_fft
    window = signal.windows.blackmanharris(n_fft, sym=False).astype(np.float32)
    total = np.zeros(n_fft // 2 + 1)
    for channel in padded:
        frames = channel[: n_frames * n_fft].reshape(n_frames, n_fft)
        for start in range(0, n_frames, batch):
            spectrum = fft.rfft(frames[start : start + batch] * window, axis=1)
            total += (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
    total /= n_frames * len(padded)
    return total


def _band(
    power: Floats, sample_rate_hz: int
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return bandwidth, power above 8 and 16 kHz, and the floor of the uppermost band."""
    whole = float(power.sum())
    if whole == 0:
        return None, None, None, None
    nyquist_hz = sample_rate_hz / 2
    bins_hz = np.linspace(0, nyquist_hz, len(power))
    edge = power.max() * 10 ** (-80 / 10)
    uppermost = power[(bins_hz >= 0.75 * nyquist_hz) & (bins_hz <= 0.95 * nyquist_hz)]
    return (
        float(bins_hz[np.flatnonzero(power >= edge)[-1]]),
        _relative_db(float(power[bins_hz > 8_000].sum()), whole),
        _relative_db(float(power[bins_hz > 16_000].sum()), whole),
        _relative_db(float(np.quantile(uppermost, 0.1)), whole),
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

    Frames of 20 ms are silent below -60 dBFS around their mean: a DC offset is silence.
    """
    length = max(1, round(0.02 * sample_rate_hz))
    n_frames = max(1, samples.shape[1] // length)
    starts = np.arange(n_frames) * length  # the last frame takes what is left over
    sizes = np.diff([*starts, samples.shape[1]])
    powers = np.zeros(len(starts))
    for channel in samples:
        powers += np.add.reduceat(np.square(channel), starts, dtype=np.float64) / sizes
        powers -= (np.add.reduceat(channel, starts, dtype=np.float64) / sizes) ** 2
    powers = np.maximum(powers / len(samples), 0)
    quiet = float(np.quantile(powers, 0.05))
    silent = powers < 10 ** (-60 / 10)
    sounding = np.flatnonzero(~silent)
    if not len(sounding):
        whole_s = samples.shape[1] / sample_rate_hz
        return whole_s, whole_s, 1.0, quiet
    lead = float(sizes[: sounding[0]].sum()) / sample_rate_hz
    trail = float(sizes[sounding[-1] + 1 :].sum()) / sample_rate_hz
    return lead, trail, float(sizes[silent].sum() / sizes.sum()), quiet


def _clipped_share(samples: NDArray[np.float32]) -> float:
    """Return the share of samples in runs of three or more at full scale."""
    n_clipped = 0
    for channel in samples:
        at_top = np.abs(channel) >= 0.999
        if not at_top.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([False], at_top, [False]))))
        runs = edges[1::2] - edges[::2]
        n_clipped += int(runs[runs >= 3].sum())
    return n_clipped / samples.size


def _correlation(samples: NDArray[np.float32]) -> float | None:
    if len(samples) < 2:
        return None
    left, right = (one - np.float32(one.mean(dtype=np.float64)) for one in samples[:2])
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(np.clip((left @ right) / scale, -1, 1)) if scale > 0 else None


def integrated_loudness(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4).

    Blocks of 400 ms overlap by three quarters. Blocks below -70 LUFS are excluded, then those more
    than 10 LU below the mean of the rest. NaN without any, and below 8 kHz, where the K-weighting
    is too near the Nyquist frequency.
    """
    n_steps, steps_per_block = samples.shape[1] * _STEPS_PER_S // sample_rate_hz, 4
    if sample_rate_hz < 8_000 or n_steps < steps_per_block:
        return math.nan
    weights = (1.0,) * len(samples)
    if len(samples) in (5, 6):  # left, right, centre, (low-frequency effects,) surrounds
        weights = (1.0, 1.0, 1.0, *(0.0,) * (len(samples) - 5), 1.41, 1.41)
    filters = weighting_filters(sample_rate_hz)
    steps = np.zeros(n_steps)
    for weight, channel in zip(weights, samples, strict=True):
        if weight:
            steps += weight * _step_powers(channel, filters, sample_rate_hz, n_steps)
    blocks = np.convolve(steps, np.full(steps_per_block, 1 / steps_per_block), mode="valid")
    offset_db = -0.691
    loud = blocks[blocks > 10 ** ((-70 - offset_db) / 10)]
    if not len(loud):
        return math.nan
    gate = loud.mean() * 10 ** (-10 / 10)
    return offset_db + 10 * math.log10(loud[loud > gate].mean())


def weighting_filters(sample_rate_hz: int) -> Floats:
    """Return the K-weighting as second-order sections ``(2, 6)``: a high shelf and a high-pass.

    At 48 kHz the coefficients are those of the recommendation.
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


def _step_powers(
    channel: NDArray[np.float32], filters: Floats, sample_rate_hz: int, n_steps: int
) -> Floats:
    """Return the weighted power of every 100 ms, filtered 10 s at a time."""
    state = np.zeros((len(filters), 2))
    powers = []
    chunk = 10 * _STEPS_PER_S
    for first in range(0, n_steps, chunk):
        steps = np.arange(first, min(n_steps, first + chunk) + 1, dtype=np.int64)
        edges = steps * sample_rate_hz // _STEPS_PER_S
        weighted, state = signal.sosfilt(filters, channel[edges[0] : edges[-1]], zi=state)
        sums = np.add.reduceat(weighted * weighted, edges[:-1] - edges[0])
        powers.append(sums / np.diff(edges))
    return np.concatenate(powers)


def bit_depth(samples: NDArray[np.float32]) -> int | None:
    """Return the number of bits in use; ``None`` for silence and samples on no integer grid.

    Decoded lossy audio is not on a grid of 24 bits; 16-bit audio in a 24-bit file uses 16.
    """
    used, deepest = 0, 24
    for channel in samples:
        if max(channel.max(), -channel.min()) > 64:  # would overflow 32 bits
            return None
        scaled = channel * np.float32(2 ** (deepest - 1))
        whole = np.rint(scaled)
        if not np.array_equal(scaled, whole):
            return None
        used |= int(np.bitwise_or.reduce(whole.astype(np.int32)))
    return deepest - ((used & -used).bit_length() - 1) if used else None


def constant_runs(samples: NDArray[np.float32]) -> tuple[int, float]:
    """Return the equal samples at the start, and the share of samples in digital silence.

    Digital silence is 32 samples or more that repeat in all channels, at any level, so that a DC
    offset does not hide it.
    """
    same = np.ones(samples.shape[1] - 1, dtype=bool)
    for channel in samples:
        same &= channel[1:] == channel[:-1]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    starts, runs = edges[::2], edges[1::2] - edges[::2] + 1
    lead = int(runs[0]) if len(starts) and starts[0] == 0 else 0
    silent = int(runs[runs >= 32].sum())
    return (lead if lead >= 32 else 0), silent / samples.shape[1]


def band_edge_hz(power: NDArray[np.float64], sample_rate_hz: int) -> float | None:
    """Return the frequency of the steepest fall of a power spectrum from 2 kHz up.

    The fall is the mean level of the 500 Hz below less that of the 500 Hz above.
    """
    n_bins, top_hz = len(power), sample_rate_hz / 2
    span = max(1, round(500 / top_hz * (n_bins - 1)))
    first = max(span, math.ceil(2_000 / top_hz * (n_bins - 1)))
    places = np.arange(first, n_bins - span)
    if not len(places) or power.max() <= 0:
        return None
    level = 10 * np.log10(np.maximum(power / power.max(), 10 ** (-100 / 10)))
    sums = np.concatenate(([0.0], np.cumsum(level)))
    falls = 2 * sums[places] - sums[places - span] - sums[places + span]
    return float(places[np.argmax(falls)] / (n_bins - 1) * top_hz)


def low_power(samples: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Return the mean power below 40 Hz around the mean, from means of 2.5 ms."""
    length = max(1, round(sample_rate_hz / 400))
    n_blocks = samples.shape[1] // length
    if n_blocks < 2:
        return 0.0
    blocks = samples[:, : n_blocks * length].reshape(len(samples), n_blocks, length)
    spectrum = np.abs(fft.rfft(blocks.mean(axis=2, dtype=np.float64), axis=1)) ** 2
    bins_hz = fft.rfftfreq(n_blocks, length / sample_rate_hz)
    low = spectrum[:, (bins_hz > 0) & (bins_hz < 40)]
    return float(2 * low.sum() / n_blocks**2 / len(samples))


def stereo_width_db(samples: NDArray[np.float32]) -> float | None:
    """Return the side/mid power ratio that a tenth of the loud spectral bins exceed, within ±80 dB.

    Of at most 1 000 frames; a bin is loud within 30 dB of the mean. ``None`` for one channel or
    silence.
    """
    n_fft = 2048
    if len(samples) < 2:
        return None
    short = max(0, n_fft - samples.shape[1])
    padded = np.pad(samples[:2], ((0, 0), (0, short))) if short else samples[:2]
    n_frames = padded.shape[1] // n_fft
    chosen = np.unique(np.linspace(0, n_frames - 1, min(n_frames, 1_000)).astype(np.int64))
    frames = padded[:, : n_frames * n_fft].reshape(2, n_frames, n_fft)[:, chosen]
    window = np.hanning(n_fft)
    left, right = (fft.rfft(one.astype(np.float64) * window, axis=1)[:, 1:] for one in frames)
    middle, side = np.abs(left + right) ** 2, np.abs(left - right) ** 2
    whole = middle + side
    loud = whole > whole.mean() * 10 ** (-30 / 10)
    if not loud.any():
        return None
    share = np.quantile(side[loud] / whole[loud], 0.9)  # rises with side by middle
    lowest = 10 ** (-80 / 10)
    return 10 * math.log10(max(share, lowest) / max(1 - share, lowest))
