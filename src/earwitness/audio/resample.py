"""Resampling: one resampler (soxr, HQ), for whole files and for slices of them.

Conventions: samples are ``(n_channels, n_samples)`` float32. A slice equals the same slice of
the whole file bit for bit, since both are put together from the same blocks: half-second
blocks on a fixed grid, each resampled with a margin on both sides that is thrown away. Blocks
begin where an input sample and an output sample coincide. A single soxr call over everything
differs from the blocks by its own float32 rounding, up to 2e-6 at full scale; two single
calls that begin at different samples differ by as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

MARGIN_SAMPLES = 512
"""Margin of a block, in samples at the lower of the two rates; 256 already suffice."""


class Block(NamedTuple):
    """One block of a slice; a stop is one past the last sample.

    Attributes:
        in_start: First sample read, at the rate resampled from.
        in_stop: End of what is read.
        out_start: First sample kept, at the rate resampled to.
        out_stop: End of what is kept.
        out_origin: Sample at the rate resampled to that coincides with ``in_start``.
    """

    in_start: int
    in_stop: int
    out_start: int
    out_stop: int
    out_origin: int


def resampled_length(n_samples: int, from_hz: int, to_hz: int) -> int:
    """Return how many samples a file of ``n_samples`` has at ``to_hz``.

    Halves round as they come out in soxr's own arithmetic: the ratio of the rates is rounded first.
    """
    return int(n_samples / (from_hz / to_hz) + 0.5)


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Resample in a single call of soxr.

    Args:
        samples: ``(n_channels, n_samples)`` float32 at ``from_hz``.
        from_hz: Rate of the samples.
        to_hz: Rate wanted.

    Returns:
        ``(n_channels, resampled_length(n_samples, from_hz, to_hz))`` float32.
    """
    if from_hz == to_hz:
        return samples
    frames = np.ascontiguousarray(samples.T, dtype=np.float32)
    resampled: NDArray[np.float32] = soxr.resample(frames, from_hz, to_hz, quality="HQ")
    return resampled.T


def plan_blocks(start: int, stop: int, *, n_samples: int, from_hz: int, to_hz: int) -> list[Block]:
    """Return the blocks that make up ``[start, stop)`` of a resampled file.

    Args:
        start: First sample wanted, at ``to_hz``.
        stop: End of what is wanted, past ``start`` and not past the file's end.
        n_samples: Length of the file at ``from_hz``.
        from_hz: Rate of the file.
        to_hz: Rate wanted.
    """
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
    """Return ``[start, stop)`` of a file at ``to_hz``, reading no more than it needs.

    Args:
        read: Given a start and a length at ``from_hz``, returns ``(n_channels, length)``.
        start: First sample wanted, at ``to_hz``.
        stop: End of what is wanted, not past ``resampled_length(n_samples, from_hz, to_hz)``.
        n_samples: Length of the file at ``from_hz``.
        from_hz: Rate of the file.
        to_hz: Rate wanted.

    Returns:
        ``(n_channels, stop - start)`` float32.
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
