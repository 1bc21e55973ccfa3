"""Trims, pads, shifts and mono mixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from earwitness.audio.clips import Window
from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import FieldsAsParameters, Samples


@dataclass(frozen=True)
class Edit(FieldsAsParameters):
    """Audio removed (negative) or silence added (positive) at either end."""

    start_s: float = 0.0
    end_s: float = 0.0

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return edited samples; ``PerturbationError`` if none would be left."""
        start, end = (round(s * sample_rate_hz) for s in (self.start_s, self.end_s))
        n_samples = samples.shape[1]
        if n_samples + min(start, 0) + min(end, 0) <= 0:
            lack = f"{-min(start, 0) - min(end, 0)} samples to remove"
            raise PerturbationError(f"edit: {lack} of {n_samples}, expected fewer")
        kept = samples[:, max(-start, 0) : n_samples - max(-end, 0)]
        return np.pad(kept, ((0, 0), (max(start, 0), max(end, 0)))), sample_rate_hz


@dataclass(frozen=True)
class Crop(FieldsAsParameters):
    """A part of random position."""

    share: float
    position: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, share: float) -> Self:
        """Return a crop to a share of the length, at a random position in [0, 1)."""
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}, expected over 0, at most 1")
        return cls(share, float(rng.random()))

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return at least one sample."""
        length = max(1, round(self.share * samples.shape[1]))
        start = int(self.position * (samples.shape[1] - length + 1))
        return samples[:, start : start + length].copy(), sample_rate_hz


@dataclass(frozen=True)
class Mono(FieldsAsParameters):
    """One channel: the mean over channels, or the first."""

    mix: Literal["mean", "left"]

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return one channel."""
        from earwitness.audio.decode import mix_down

        mixed = mix_down(samples) if self.mix == "mean" else samples[:1].copy()
        return mixed, sample_rate_hz


@dataclass(frozen=True)
class WindowOffset(FieldsAsParameters):
    """A detector's windows moved by a share of their length; those that leave the file go."""

    offset_ratio: float

    def move(self, windows: Sequence[Window], n_samples: int) -> list[Window]:
        """Return the windows that are still within the file, whole."""
        moved = [Window(w.start + round(self.offset_ratio * w.n_samples), w[1]) for w in windows]
        return [w for w in moved if 0 <= w.start <= n_samples - w.n_samples]
