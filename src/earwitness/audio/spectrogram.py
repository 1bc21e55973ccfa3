"""Log-power spectrograms, many clips at a time.

Conventions: time runs along the second axis and frequency along the third. Samples, window and
result are float32; between them power is taken in double precision, since in single precision
a quiet bin beside a loud one holds rounding noise that differs from machine to machine.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool1d

from earwitness.core.spectrogram import ColourMap, FrequencyScale, SpectrogramContract


def log_power_spectrogram(
    samples: torch.Tensor,
    *,
    n_fft: int,
    hop: int,
    n_bins: int,
    floor: float,
    ceiling: float,
    mean: float = 0.0,
    spread: float = 1.0,
) -> torch.Tensor:
    """Return ``(log10(clip(|STFT|², floor, ceiling)) - mean) / spread``.

    The window is a periodic Hann window of ``n_fft`` samples. Frames are wholly inside the clip:
    the first starts at its first sample, and samples after the last whole frame are left out.

    Args:
        samples: ``(n_clips, n_samples)``, at least ``n_fft`` samples, on any device.
        n_fft: Length of window and transform, in samples.
        hop: Samples between the starts of frames.
        n_bins: Bins kept, from 0 Hz upwards; at most ``n_fft // 2 + 1``.
        floor: Lowest power; what is below is raised to it.
        ceiling: Highest power; what is above is lowered to it.
        mean: Subtracted from the logarithm.
        spread: What the difference is divided by.

    Returns:
        ``(n_clips, n_frames, n_bins)`` float32 on the same device.
    """
    window = torch.hann_window(n_fft, periodic=True, dtype=torch.float32)
    window = window.to(samples.device, torch.float64)
    power = _power(samples.to(torch.float64), window, n_fft=n_fft, hop=hop, center=False)
    level = power[:, :n_bins].clamp(floor, ceiling).log10_()
    return level.sub_(mean).div_(spread).to(torch.float32).transpose(1, 2)


def _power(
    samples: torch.Tensor, window: torch.Tensor, *, n_fft: int, hop: int, center: bool
) -> torch.Tensor:
    """Return ``|STFT|²``, ``(n_clips, n_fft // 2 + 1, n_frames)``; centred frames are mirrored."""
    spectrum = torch.stft(
        samples,
        n_fft=n_fft,
        hop_length=hop,
        win_length=len(window),
        window=window,
        center=center,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.real.square() + spectrum.imag.square()


_POWER_FLOOR = 1e-10
_SPREAD_FLOOR = 1e-6


def mel_filters(
    *, n_fft: int, n_mels: int, sample_rate_hz: int, band_hz: tuple[float, float]
) -> NDArray[np.float32]:
    """Return triangular filters that are evenly spaced on the mel scale.

    Args:
        n_fft: Length of the transform whose bins are summed.
        n_mels: Filters.
        sample_rate_hz: Rate of the samples.
        band_hz: Foot of the first filter and foot of the last.

    Returns:
        ``(n_fft // 2 + 1, n_mels)`` float32 in [0, 1].
    """
    corners_hz, bins_hz = _corners_and_bins("mel", n_fft, n_mels, sample_rate_hz, band_hz)
    left, peak, right = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    rising, falling = (bins_hz - left) / (peak - left), (right - bins_hz) / (right - peak)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def mel_levels(
    samples: torch.Tensor,
    *,
    window: torch.Tensor,
    filters: torch.Tensor,
    n_fft: int,
    hop: int,
    top_db: float,
) -> torch.Tensor:
    """Return the power in each mel band in decibels below the clip's loudest.

    Args:
        samples: ``(n_clips, n_samples)`` float32, more than ``n_fft // 2`` samples.
        window: ``(win_length,)``, no longer than ``n_fft``.
        filters: ``(n_fft // 2 + 1, n_mels)``, as ``mel_filters`` gives them.
        n_fft: Length of the transform.
        hop: Samples between the centres of frames.
        top_db: Levels further than this below the loudest are raised to it.

    Returns:
        ``(n_clips, n_mels, n_samples // hop + 1)`` float32 in [-top_db, 0].
    """
    power = _power(samples, window, n_fft=n_fft, hop=hop, center=True)
    bands = power.transpose(1, 2) @ filters
    levels = bands.clamp_(min=_POWER_FLOOR).log10_().mul_(10).transpose(1, 2)
    return (levels - levels.amax(dim=(1, 2), keepdim=True)).clamp_(min=-top_db)


def standardise(images: torch.Tensor) -> torch.Tensor:
    """Return every image with mean 0 and (unbiased) standard deviation 1; a flat one becomes 0.

    Args:
        images: ``(n, height, width)``.
    """
    spread, mean = torch.std_mean(images, dim=(1, 2), keepdim=True)
    return (images - mean) / (spread + _SPREAD_FLOOR)


_IMAGE_POWER_FLOOR = 1e-20
_QUIETEST_PEAK_DB = -80.0
_N_LEVELS = 256

_ANCHORS = {
    "viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
    "magma": "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf",
}
"""Colours at even distances along a map; between them it is straight."""


def draw_levels(samples: torch.Tensor, contract: SpectrogramContract) -> torch.Tensor:
    """Return the grey images of clips.

    Args:
        samples: ``(n, contract.clip_samples)``, nominally in [-1, 1].
        contract: How to draw.

    Returns:
        ``(n, height, width)`` uint8 on the same device.
    """
    window = torch.hann_window(contract.n_fft, dtype=torch.float64, device=samples.device)
    window /= window.sum()
    power = _power(
        samples.to(torch.float64), window, n_fft=contract.n_fft, hop=contract.hop, center=True
    )
    bands = power.transpose(1, 2) @ torch.from_numpy(_filters_of(contract)).to(samples.device)
    levels_db = bands.clamp_(min=_IMAGE_POWER_FLOOR).log10_().mul_(10)
    if contract.n_frames is not None:
        levels_db = adaptive_avg_pool1d(levels_db.transpose(1, 2), contract.width).transpose(1, 2)
    peak_db = levels_db.amax(dim=(1, 2), keepdim=True).clamp(min=_QUIETEST_PEAK_DB)
    shares = (levels_db - peak_db).div_(contract.top_db).add_(1).clamp_(min=0)
    pixels = shares.mul_(_N_LEVELS - 1).round_().to(torch.uint8)
    return pixels.transpose(1, 2).flip(1)


def colour_table(colours: ColourMap) -> NDArray[np.uint8]:
    """Return what each level of grey becomes, ``(256, 3)``."""
    levels = np.arange(_N_LEVELS)
    if colours == "grey":
        return np.repeat(levels.astype(np.uint8)[:, None], 3, axis=1)
    anchors = np.array([list(bytes.fromhex(text)) for text in _ANCHORS[colours].split()])
    places = np.linspace(0, _N_LEVELS - 1, len(anchors))
    channels = [np.interp(levels, places, channel) for channel in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def band_filters(
    scale: FrequencyScale,
    *,
    n_fft: int,
    n_bands: int,
    sample_rate_hz: int,
    band_hz: tuple[float, float],
) -> NDArray[np.float64]:
    """Return triangular filters whose peaks are evenly spaced on a scale.

    A triangle is never narrower than two bins: where bands are closer together than bins, it takes
    what is between two bins from both, so that no band is empty.

    Args:
        scale: What the spacing is even on.
        n_fft: Length of the transform whose bins are summed.
        n_bands: Filters.
        sample_rate_hz: Rate of the samples.
        band_hz: Foot of the first filter and foot of the last.

    Returns:
        ``(n_fft // 2 + 1, n_bands)`` in [0, 1], the lowest band first.
    """
    corners, bins = _corners_and_bins(scale, n_fft, n_bands, sample_rate_hz, band_hz)
    peaks, step = corners[1:-1], sample_rate_hz / n_fft
    rising = 1 - (peaks - bins) / np.maximum(peaks - corners[:-2], step)
    falling = 1 - (bins - peaks) / np.maximum(corners[2:] - peaks, step)
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return filters


@functools.lru_cache(maxsize=8)
def _filters_of(contract: SpectrogramContract) -> NDArray[np.float64]:
    return band_filters(
        contract.scale,
        n_fft=contract.n_fft,
        n_bands=contract.height,
        sample_rate_hz=contract.sample_rate_hz,
        band_hz=contract.band_hz,
    )


def _corners_and_bins(
    scale: FrequencyScale,
    n_fft: int,
    n_bands: int,
    sample_rate_hz: int,
    band_hz: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return corners of triangles, evenly spaced on a scale, and bins ``(n, 1)``, in hertz."""
    low, high = (_to_scale(np.array(hz), scale) for hz in band_hz)
    corners = _from_scale(np.linspace(low, high, n_bands + 2), scale)
    return corners, np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)[:, None]


def _to_scale(hz: NDArray[np.float64], scale: FrequencyScale) -> NDArray[np.float64]:
    if scale == "linear":
        return hz
    return np.asarray(np.log2(hz) if scale == "log" else 2595 * np.log10(1 + hz / 700))


def _from_scale(values: NDArray[np.float64], scale: FrequencyScale) -> NDArray[np.float64]:
    if scale == "linear":
        return values
    return np.asarray(2**values if scale == "log" else 700 * (10 ** (values / 2595) - 1))
