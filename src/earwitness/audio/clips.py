"""Clips: which stretches of a file a detector is given, and the samples of one.

Conventions: positions and lengths are samples at the detector's rate; a file shorter than a
clip is zero-padded at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.core.cards import ClipContract


class Window(NamedTuple):
    """A stretch of a file, in samples at the detector's rate."""

    start: int
    n_samples: int


@dataclass(frozen=True, eq=False)
class Clip:
    """Samples of one window.

    Attributes:
        samples: ``(n_channels, n_samples)`` float32, nominally in [-1, 1].
        sample_rate_hz: Rate of the samples.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int

    @property
    def n_samples(self) -> int:
        """Samples per channel."""
        return int(self.samples.shape[1])


def place_windows(n_samples: int, contract: ClipContract, n_windows: int = 1) -> list[Window]:
    """Return where the clips of a file lie.

    One window lies in the centre. Several are spread evenly: the first starts at the start of
    the file, the last ends at its end, and they overlap where the file is short of room. A file
    no longer than a clip gives one window, however many were asked for.

    Args:
        n_samples: Length of the file at the contract's rate.
        contract: What the detector wants.
        n_windows: Windows wanted, at least 1.

    Returns:
        Windows that lie inside the file, in time order; none is longer than the file.
    """
    length = contract.clip_samples or contract.max_samples or n_samples
    if length >= n_samples:
        return [Window(0, n_samples)]
    room = n_samples - length
    if n_windows == 1:
        return [Window(room // 2, length)]
    starts = np.unique(np.linspace(0, room, n_windows).round().astype(np.int64))
    return [Window(int(start), length) for start in starts]


def pad_clip(samples: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
    """Return ``(n_channels, n_samples)``: ``samples`` with zeros after its end."""
    missing = n_samples - samples.shape[1]
    if missing <= 0:
        return samples
    return np.pad(samples, ((0, 0), (0, missing)))
