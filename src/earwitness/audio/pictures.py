"""Spectrograms as images, many clips at a time.

Conventions: pixels are 8 bits, 0 is the quietest; the first row is the highest band, the first
column the start of the clip. Power is taken in double precision, so that a pixel depends neither on
the clips beside it nor on the machine. A clip whose loudest point lies below -80 dB is drawn
against that level: silence is black.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool1d

from earwitness.core.images import ColourMap, FrequencyScale, SpectrogramContract

_POWER_FLOOR = 1e-20
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
    spectrum = torch.stft(
        samples.to(torch.float64),
        n_fft=contract.n_fft,
        hop_length=contract.hop,
        window=window / window.sum(),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
    bands = power @ torch.from_numpy(_filters_of(contract)).to(samples.device)
    levels_db = bands.clamp_(min=_POWER_FLOOR).log10_().mul_(10)
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

    A triangle is never narrower than two bins: where bands lie closer together than bins, it takes
    what lies between two bins from both, so that no band is empty.

    Args:
        scale: What the spacing is even on.
        n_fft: Length of the transform whose bins are summed.
        n_bands: Filters.
        sample_rate_hz: Rate of the samples.
        band_hz: Foot of the first filter and foot of the last.

    Returns:
        ``(n_fft // 2 + 1, n_bands)`` in [0, 1], the lowest band first.
    """
    low, high = (_to_scale(np.array(hz), scale) for hz in band_hz)
    corners = _from_scale(np.linspace(low, high, n_bands + 2), scale)
    bins = np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)[:, None]
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


def _to_scale(hz: NDArray[np.float64], scale: FrequencyScale) -> NDArray[np.float64]:
    if scale == "linear":
        return hz
    return np.asarray(np.log2(hz) if scale == "log" else 2595 * np.log10(1 + hz / 700))


def _from_scale(values: NDArray[np.float64], scale: FrequencyScale) -> NDArray[np.float64]:
    if scale == "linear":
        return values
    return np.asarray(2**values if scale == "log" else 700 * (10 ** (values / 2595) - 1))
