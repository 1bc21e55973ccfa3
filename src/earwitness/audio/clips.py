"""Clips: which stretches of a file a detector is given, and the samples of one.

Conventions: positions and lengths are samples at the clips' rate: the detector's, or the file's
own where its contract says so. A file shorter than a clip is zero-padded at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.core.cards import ClipContract, ContentNeed, CropPolicy

Windows = int | Literal["published", "all"]
"""Clips taken of a file: the published single one, so many spread evenly, or one after another."""


class Window(NamedTuple):
    """A stretch of a file, in samples at the clips' rate."""

    start: int
    n_samples: int


@dataclass(frozen=True, eq=False)
class Clip:
    """Samples of one window.

    Attributes:
        samples: ``(n_channels, n_samples)`` float32, nominally in [-1, 1].
        sample_rate_hz: Rate of the samples.
        window: Where it lies in its file, padding left out; ``None`` where that is not known.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    window: Window | None = None

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return int(self.samples.shape[1])


def place_windows(
    n_samples: int, contract: ClipContract, windows: Windows = "published"
) -> list[Window]:
    """Return where the clips of a file lie.

    ``published`` is the one clip of the contract's crop policy. A number spreads clips evenly: one
    lies in the centre; of several the first starts at the start of the file, the last ends at its
    end, and they overlap where the file is short of room. ``all`` puts one clip after another; the
    last ends at the end of the file and overlaps the one before it by what is left over. A file no
    longer than a clip gives one window, whatever was asked for.

    Args:
        n_samples: Length of the file at the clips' rate.
        contract: What the detector wants.
        windows: Which clips, see above; a number is at least 1.

    Returns:
        Windows that lie inside the file, in time order; none is longer than the file.
    """
    length = contract.clip_samples or contract.max_samples or n_samples
    if length >= n_samples:
        return [Window(0, n_samples)]
    starts = np.unique(_starts(n_samples - length, length, contract.crop, windows))
    return [Window(int(start), length) for start in starts]


def _starts(room: int, length: int, crop: CropPolicy, windows: Windows) -> NDArray[np.int64]:
    """Return first samples from 0 to ``room``."""
    if windows == "published" and crop == "three_quarters":
        return np.array([3 * room // 4])
    if windows in ("published", 1):
        return np.array([room // 2])
    if windows == "all":
        return np.append(np.arange(0, room, length), room)
    return np.linspace(0, room, int(windows)).round().astype(np.int64)


def pad_clip(samples: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """Return ``(n_channels, n_samples)``: ``samples`` with zeros after its end."""
    missing = n_samples - samples.shape[1]
    if missing <= 0:
        return samples
    return np.pad(samples, ((0, 0), (0, missing)))


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
    for start in _probe_starts(samples.shape[1], size):
        stretch = samples[:, start : start + size].astype(np.float64)
        stretch -= stretch.mean(axis=1, keepdims=True)
        spectrum = np.fft.rfft(stretch * window, axis=1)[:, inside]
        power = 2 * np.square(np.abs(spectrum)).sum(axis=1) / (size * np.square(window).sum())
        loudest = max(loudest, float(power.max()))
        if _dbfs(loudest) >= enough_dbfs:
            break
    return _dbfs(loudest)


def _probe_starts(n_samples: int, size: int) -> list[int]:
    """Return where stretches begin: they overlap by half, and the last ends with the clip."""
    last = n_samples - size
    return [*range(0, last, max(size // 2, 1)), last]


def _dbfs(power: float) -> float:
    return max(_LOWEST_DBFS, 10 * math.log10(power)) if power > 0 else _LOWEST_DBFS
