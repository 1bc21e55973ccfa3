"""Mel spectrograms in decibels, many clips at a time.

Conventions: the mel scale is HTK's (2595 log10(1 + f / 700)); filters are triangles of height 1,
neither normalised to equal area nor rounded to bins. Frames are centred, the clip mirrored at
both ends. Whatever is relative (``top_db``, mean, spread) is taken clip by clip, so a clip's
spectrogram does not depend on the clips beside it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

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
    low, high = (2595 * np.log10(1 + hz / 700) for hz in band_hz)
    corners_hz = 700 * (10 ** (np.linspace(low, high, n_mels + 2) / 2595) - 1)
    bins_hz = np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)[:, None]
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
    spectrum = torch.stft(
        samples,
        n_fft=n_fft,
        hop_length=hop,
        win_length=len(window),
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2) @ filters
    levels = power.clamp_(min=_POWER_FLOOR).log10_().mul_(10).transpose(1, 2)
    return (levels - levels.amax(dim=(1, 2), keepdim=True)).clamp_(min=-top_db)


def standardise(images: torch.Tensor) -> torch.Tensor:
    """Return every image with mean 0 and (unbiased) standard deviation 1; a flat one becomes 0.

    Args:
        images: ``(n, height, width)``.
    """
    spread, mean = torch.std_mean(images, dim=(1, 2), keepdim=True)
    return (images - mean) / (spread + _SPREAD_FLOOR)
