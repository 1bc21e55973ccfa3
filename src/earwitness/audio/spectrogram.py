"""Log-power and mel spectrograms of batches of clips.

Log power is computed in float64: in float32 quiet bins beside loud ones hold rounding noise that
differs between machines.
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

    The window is a periodic Hann window. Frames are not padded.

    Args:
        samples: ``(n_clips, n_samples)``, at least ``n_fft`` samples, on any device.
        n_fft: Length of window and transform, in samples.
        hop: Step between frames, in samples.
        n_bins: Number of bins from 0 Hz, at most ``n_fft // 2 + 1``.
        floor: Minimum power.
        ceiling: Maximum power.
        mean: Subtracted from the logarithm.
        spread: Divisor.

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
    """Return ``|STFT|²``, ``(n_clips, n_fft // 2 + 1, n_frames)``; centred: reflection padding."""
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


def mel_filters(
    *, n_fft: int, n_mels: int, sample_rate_hz: int, band_hz: tuple[float, float]
) -> NDArray[np.float32]:
    """Return triangular mel filters over a band, ``(n_fft // 2 + 1, n_mels)`` float32."""
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
    """Return mel band power in decibels relative to the clip's maximum.

    Args:
        samples: ``(n_clips, n_samples)`` float32, more than ``n_fft // 2`` samples.
        window: ``(win_length,)``, at most ``n_fft``.
        filters: ``(n_fft // 2 + 1, n_mels)``, see ``mel_filters``.
        n_fft: Length of the transform.
        hop: Step between frames, in samples.
        top_db: Dynamic range; lower levels are clipped.

    Returns:
        ``(n_clips, n_mels, n_samples // hop + 1)`` float32 in [-top_db, 0].
    """
    power = _power(samples, window, n_fft=n_fft, hop=hop, center=True)
    bands = power.transpose(1, 2) @ filters
    levels = bands.clamp_(min=1e-10).log10_().mul_(10).transpose(1, 2)
    return (levels - levels.amax(dim=(1, 2), keepdim=True)).clamp_(min=-top_db)


def standardise(images: torch.Tensor) -> torch.Tensor:
    """Return images ``(n, height, width)`` with mean 0 and (unbiased) standard deviation 1 each."""
    spread, mean = torch.std_mean(images, dim=(1, 2), keepdim=True)
    return (images - mean) / (spread + 1e-6)


def draw_levels(samples: torch.Tensor, contract: SpectrogramContract) -> torch.Tensor:
    """Return spectrogram images of clips ``(n, clip_samples)``, ``(n, height, width)`` uint8."""
    window = torch.hann_window(contract.n_fft, dtype=torch.float64, device=samples.device)
    window /= window.sum()
    power = _power(
        samples.to(torch.float64), window, n_fft=contract.n_fft, hop=contract.hop, center=True
    )
    bands = power.transpose(1, 2) @ torch.from_numpy(_filters_of(contract)).to(samples.device)
    levels_db = bands.clamp_(min=1e-20).log10_().mul_(10)
    if contract.n_frames is not None:
        levels_db = adaptive_avg_pool1d(levels_db.transpose(1, 2), contract.width).transpose(1, 2)
    peak_db = levels_db.amax(dim=(1, 2), keepdim=True).clamp(min=-80.0)
    shares = (levels_db - peak_db).div_(contract.top_db).add_(1).clamp_(min=0)
    pixels = shares.mul_(255).round_().to(torch.uint8)
    return pixels.transpose(1, 2).flip(1)


def colour_table(colours: ColourMap) -> NDArray[np.uint8]:
    """Return the colour of each grey level, ``(256, 3)``, interpolated between anchors."""
    maps = {
        "viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
        "magma": "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf",
    }
    levels = np.arange(256)
    if colours == "grey":
        return np.repeat(levels.astype(np.uint8)[:, None], 3, axis=1)
    anchors = np.array([list(bytes.fromhex(text)) for text in maps[colours].split()])
    places = np.linspace(0, 255, len(anchors))
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
    """Return triangular filters evenly spaced on a scale, ``(n_fft // 2 + 1, n_bands)``.

    Triangles are at least two bins wide, so that no band is empty.
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
