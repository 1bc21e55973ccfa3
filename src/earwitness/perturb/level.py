"""Gain, clipping and polarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earwitness.perturb.base import FieldsAsParameters, Samples


@dataclass(frozen=True)
class Gain(FieldsAsParameters):
    """Gain in dB, limited to full scale as a file of integers limits it."""

    gain_db: float

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return amplified samples, limited to [-1, 1]."""
        gained = samples * np.float32(10 ** (self.gain_db / 20))
        return np.clip(gained, -1, 1), sample_rate_hz


@dataclass(frozen=True)
class Clip(FieldsAsParameters):
    """Hard clipping at a share of each file's peak."""

    threshold_ratio: float

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return clipped samples."""
        limit = np.float32(self.threshold_ratio) * np.abs(samples).max()
        return np.clip(samples, -limit, limit), sample_rate_hz


@dataclass(frozen=True)
class Polarity(FieldsAsParameters):
    """Inverted polarity."""

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return negated samples."""
        return -samples, sample_rate_hz
