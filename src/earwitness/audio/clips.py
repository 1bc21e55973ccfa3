"""Clips of a file: windows, resampling and content checks.

Positions and lengths are samples at the clips' rate. Slices are resampled in half-second blocks
with margins, on a fixed grid where input and output samples coincide, so a resampled slice equals
the same slice of the resampled file bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from earwitness.core.cards import ClipContract, ContentNeed, CropPolicy, Windows


class Window(NamedTuple):
    """A section of a file, in samples at the clips' rate."""

    start: int
    n_samples: int


@dataclass(frozen=True, eq=False)
class Clip:
    """Samples of one window.

    Attributes:
        samples: ``(n_channels, n_samples)`` float32, nominally in [-1, 1].
        sample_rate_hz: Rate of the samples.
        window: Its position in the file, without padding; ``None`` if unknown.
        codec: Codec of the file ("mp3"); ``None`` if unknown.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    window: Window | None = None
    codec: str | None = None

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return int(self.samples.shape[1])


def place_windows(
    n_samples: int, contract: ClipContract, windows: Windows = "published"
) -> list[Window]:
    """Return the windows of a file's clips.

    ``published`` is the one clip of the contract's crop policy. A number of clips is spread evenly
    from start to end, a single one is centred. ``all`` puts clips one after another; the last ends
    with the file. A file no longer than a clip, or the crop ``start``, gives one window.

    Args:
        n_samples: Length of the file at the clips' rate.
        contract: The detector's input contract.
        windows: Windows to take; a number is at least 1.

    Returns:
        Windows within the file, in time order.
    """
    length = contract.clip_samples or contract.max_samples or n_samples
    if length >= n_samples:
        return [Window(0, n_samples)]
    starts = np.unique(_starts(n_samples - length, length, contract.crop, windows))
    return [Window(int(start), length) for start in starts]


def _starts(room: int, length: int, crop: CropPolicy, windows: Windows) -> NDArray[np.int64]:
    """Return first samples from 0 to ``room``."""
    if crop == "start":
        return np.array([0])
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


_LOWEST_DBFS = -400.0


def mix_first_two(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the first two channels, or the only one, ``(n_samples,)``."""
    mixed: NDArray[np.float64] = samples[:2].mean(axis=0, dtype=np.float64)
    return mixed.astype(np.float32)


def describe_lack(
    samples: NDArray[np.float32],
    contract: ClipContract,
    *,
    band_hz: tuple[float, float] | None = None,
    needs: ContentNeed | None = None,
) -> str | None:
    """Return why a clip has nothing to analyse, or ``None``; used in scoring and training.

    Args:
        samples: ``(n_channels, n_samples)`` by the contract, without padding, finite.
        contract: The detector's input contract.
        band_hz: The detector's frequency band; by default all frequencies.
        needs: The detector's content requirements.
    """
    needs = needs or ContentNeed()
    band_hz = band_hz or (0.0, contract.sample_rate_hz / 2)
    mixed = mix_first_two(samples)[None] if needs.mix == "first_two" else samples
    is_constant = not np.ptp(mixed, axis=1).any()
    level_dbfs = _LOWEST_DBFS
    if not is_constant:
        level_dbfs = _loudest_dbfs(mixed, contract, band_hz, enough_dbfs=needs.min_level_dbfs)
    if level_dbfs >= needs.min_level_dbfs:
        return None
    if is_constant:
        return f"nothing to analyse ({'a constant level' if mixed.any() else 'digital silence'})"
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
    """Return the in-band level of the loudest frame, or of the first that is loud enough."""
    size = min(16_384, samples.shape[1])
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
    """Return starts of half-overlapping frames, the last at the end of the clip."""
    last = n_samples - size
    return [*range(0, last, max(size // 2, 1)), last]


def _dbfs(power: float) -> float:
    return max(_LOWEST_DBFS, 10 * math.log10(power)) if power > 0 else _LOWEST_DBFS


MARGIN_SAMPLES = 512
"""Margin of a block, in samples at the lower of the two rates; 256 already suffice."""


class Block(NamedTuple):
    """One block of a slice: input read, and output kept; ``out_origin`` is at ``in_start``."""

    in_start: int
    in_stop: int
    out_start: int
    out_stop: int
    out_origin: int


def resampled_length(n_samples: int, from_hz: int, to_hz: int) -> int:
    """Return the number of samples at ``to_hz``, rounded as in soxr."""
    return int(n_samples / (from_hz / to_hz) + 0.5)


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Return ``(n_channels, n_samples)`` float32 resampled in a single call of soxr."""
    if from_hz == to_hz:
        return samples
    frames = np.ascontiguousarray(samples.T, dtype=np.float32)
    resampled: NDArray[np.float32] = soxr.resample(frames, from_hz, to_hz, quality="HQ")
    return resampled.T


def plan_blocks(start: int, stop: int, *, n_samples: int, from_hz: int, to_hz: int) -> list[Block]:
    """Return the blocks of ``[start, stop)`` at ``to_hz`` of a file with ``n_samples``."""
    divisor = math.gcd(from_hz, to_hz)
    in_period, out_period = from_hz // divisor, to_hz // divisor
    periods = math.ceil(divisor / 2)
    length = periods * out_period
    margin_periods = math.ceil(MARGIN_SAMPLES * max(1.0, from_hz / to_hz) / in_period)
    blocks = []
    for index in range(start // length, (stop - 1) // length + 1):
        first = max(0, index * periods - margin_periods)
        last = (index + 1) * periods + margin_periods
        blocks.append(
            Block(
                in_start=first * in_period,
                in_stop=min(n_samples, last * in_period),
                out_start=max(start, index * length),
                out_stop=min(stop, (index + 1) * length),
                out_origin=first * out_period,
            )
        )
    return blocks


def resample_slice(
    read: Callable[[int, int], NDArray[np.float32]],
    start: int,
    stop: int,
    *,
    n_samples: int,
    from_hz: int,
    to_hz: int,
) -> NDArray[np.float32]:
    """Return ``[start, stop)`` of a file at ``to_hz``, ``(n_channels, stop - start)`` float32.

    Args:
        read: Returns ``(n_channels, length)`` for a start and a length at ``from_hz``.
        start: First sample, at ``to_hz``.
        stop: End, at most ``resampled_length(n_samples, from_hz, to_hz)``.
        n_samples: Length of the file at ``from_hz``.
        from_hz: Sample rate of the file.
        to_hz: Target sample rate.
    """
    if from_hz == to_hz:
        return read(start, stop - start)
    if start == stop:
        return read(0, 0)
    blocks = plan_blocks(start, stop, n_samples=n_samples, from_hz=from_hz, to_hz=to_hz)
    origin = blocks[0].in_start
    native = read(origin, blocks[-1].in_stop - origin)
    parts = []
    for block in blocks:
        window = native[:, block.in_start - origin : block.in_stop - origin]
        resampled = resample(window, from_hz, to_hz)
        keep = slice(block.out_start - block.out_origin, block.out_stop - block.out_origin)
        parts.append(resampled[:, keep])
    return np.concatenate(parts, axis=1)
