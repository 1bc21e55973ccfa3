"""Clips: which stretches of a file a detector is given, and the samples of one.

Conventions: positions and lengths are samples at the clips' rate: the detector's, or the file's
own where its contract says so. A file shorter than a clip is zero-padded at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.core.cards import ClipContract, CropPolicy

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
