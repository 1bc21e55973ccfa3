"""Gain, clipping and polarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from earwitness.perturb.base import Parameters, Samples


@dataclass(frozen=True)
class Gain:
    """Gain in dB, limited to full scale as a file of integers limits it."""

    gain_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, gain_db: float) -> Self:  # noqa: ARG003 - not random
        """Return a gain."""
        return cls(gain_db)

    @property
    def parameters(self) -> Parameters:
        """The gain."""
        return {"gain_db": self.gain_db}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return amplified samples, limited to [-1, 1]."""
        gained = samples * np.float32(10 ** (self.gain_db / 20))
        return np.clip(gained, -1, 1), sample_rate_hz


@dataclass(frozen=True)
class Clip:
    """Hard clipping at a share of each file's peak."""

    threshold_ratio: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, threshold_ratio: float) -> Self:  # noqa: ARG003
        """Return clipping at a share of the peak."""
        return cls(threshold_ratio)

    @property
    def parameters(self) -> Parameters:
        """The threshold."""
        return {"threshold_ratio": self.threshold_ratio}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return clipped samples."""
        limit = np.float32(self.threshold_ratio) * np.abs(samples).max()
        return np.clip(samples, -limit, limit), sample_rate_hz


@dataclass(frozen=True)
class Polarity:
    """Inverted polarity."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:  # noqa: ARG003 - not random
        """Return an inversion."""
        return cls()

    @property
    def parameters(self) -> Parameters:
        """None."""
        return {}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return negated samples."""
        return -samples, sample_rate_hz
