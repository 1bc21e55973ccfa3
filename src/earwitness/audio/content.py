"""Whether a clip holds anything to analyse: digital silence, DC and denormals do not.

Conventions: levels are in dBFS, 0 dBFS being an RMS of 1; a full-scale sine has -3 dBFS. What is
measured is the loudest stretch of a clip, so that one second of music in a minute of silence is
content, after taking off its mean, so that DC is none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earwitness.core.cards import ClipContract, ContentNeed

_STRETCH_SAMPLES = 16_384
_LOWEST_DBFS = -400.0


def mix_first_two(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the first two channels, or the only one.

    Args:
        samples: ``(n_channels, n_samples)``, at least one channel.

    Returns:
        ``(n_samples,)`` float32.
    """
    mixed: NDArray[np.float64] = samples[:2].mean(axis=0, dtype=np.float64)
    return mixed.astype(np.float32)


def describe_lack(
    samples: NDArray[np.float32],
    contract: ClipContract,
    *,
    band_hz: tuple[float, float] | None = None,
    needs: ContentNeed | None = None,
) -> str | None:
    """Return why a detector can say nothing of a clip, or ``None`` where it can.

    This alone decides what detectors abstain from and what is left out of training.

    Args:
        samples: ``(n_channels, n_samples)`` by the contract, without padding, finite.
        contract: What the clip was cut by.
        band_hz: The detector's band; all there is by default.
        needs: What the detector needs; by default what most of them do.
    """
    needs = needs or ContentNeed()
    band_hz = band_hz or (0.0, contract.sample_rate_hz / 2)
    heard = mix_first_two(samples)[None] if needs.mix == "first_two" else samples
    is_constant = not np.ptp(heard, axis=1).any()
    level_dbfs = _LOWEST_DBFS
    if not is_constant:
        level_dbfs = _loudest_dbfs(heard, contract, band_hz, enough_dbfs=needs.min_level_dbfs)
    if level_dbfs >= needs.min_level_dbfs:
        return None
    if is_constant:
        return f"nothing to analyse ({'a constant level' if heard.any() else 'digital silence'})"
    return (
        f"nothing to analyse (at most {level_dbfs:.0f} dBFS from {band_hz[0]:g} to "
        f"{band_hz[1]:g} Hz, needs {needs.min_level_dbfs:g} dBFS)"
    )


def _loudest_dbfs(
    samples: NDArray[np.float32],
    contract: ClipContract,
    band_hz: tuple[float, float],
    *,
    enough_dbfs: float,
) -> float:
    """Return the level of the loudest stretch in the band, or of the first that is enough."""
    size = min(_STRETCH_SAMPLES, samples.shape[1])
    window = np.hanning(size + 2)[1:-1]
    hz = np.fft.rfftfreq(size, 1 / contract.sample_rate_hz)
    inside = (hz >= band_hz[0]) & (hz <= band_hz[1])
    loudest = 0.0
    for start in _starts(samples.shape[1], size):
        stretch = samples[:, start : start + size].astype(np.float64)
        stretch -= stretch.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(stretch * window, axis=1)[:, inside]
        power = 2 * np.square(np.abs(spectrum)).sum(axis=1) / (size * np.square(window).sum())
        loudest = max(loudest, float(power.max()))
        if _dbfs(loudest) >= enough_dbfs:
            break
    return _dbfs(loudest)


def _starts(n_samples: int, size: int) -> list[int]:
    """Return where stretches begin: they overlap by half, and the last ends with the clip."""
    last = n_samples - size
    return [*range(0, last, max(size // 2, 1)), last]


def _dbfs(power: float) -> float:
    return max(_LOWEST_DBFS, 10 * math.log10(power)) if power > 0 else _LOWEST_DBFS
