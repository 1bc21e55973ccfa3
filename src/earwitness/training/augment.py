"""Changes to spectrogram images that leave it open who made the music.

Conventions: a change is drawn first and then applied, purely; images are ``(height, width)`` or
``(height, width, 3)`` uint8 with time to the right. Nothing is mirrored: neither time nor frequency
runs backwards in music.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_MOST_SHIFT = 0.5
_MOST_TIME, _MOST_BAND = 0.15, 0.12
_MOST_GAIN = 20


@dataclass(frozen=True)
class Augmentation:
    """One change.

    Attributes:
        shift: Columns that the image is moved to the right by; what falls out comes in at the left.
        gain: Added to every pixel that is not black: levels of 255.
        columns: From where to where time is masked, by the image's mean.
        rows: From where to where frequency is masked.
    """

    shift: int
    gain: int
    columns: tuple[int, int]
    rows: tuple[int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int]) -> Self:
        """Draw a change for images of this height and width."""
        height, width = size
        return cls(
            shift=int(rng.integers(0, max(1, int(_MOST_SHIFT * width)) + 1)),
            gain=int(rng.integers(-_MOST_GAIN, _MOST_GAIN + 1)),
            columns=_stretch(rng, width, _MOST_TIME),
            rows=_stretch(rng, height, _MOST_BAND),
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a changed copy."""
        moved = np.roll(image, self.shift, axis=1)
        louder = np.clip(moved.astype(np.int16) + self.gain, 0, 255).astype(np.uint8)
        changed = np.where(moved > 0, louder, moved)
        middle = np.uint8(changed.mean())
        changed[:, slice(*self.columns)] = middle
        changed[slice(*self.rows)] = middle
        return changed


def _stretch(rng: np.random.Generator, length: int, share: float) -> tuple[int, int]:
    n = int(rng.integers(0, int(share * length) + 1))
    start = int(rng.integers(0, length - n + 1))
    return start, start + n
