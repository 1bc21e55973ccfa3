"""A perturbation: audio coded and decoded again by a neural codec.

This one has two random convolutions instead of trained weights: it shows where yours goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from earwitness.perturb.base import FieldsAsParameters, Samples

STRIDE = 8


@dataclass(frozen=True)
class Recode(FieldsAsParameters):
    """Latents of every ``STRIDE`` samples, rounded to ``levels`` values and decoded."""

    levels: int
    weights_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, *, levels: int = 64) -> Self:
        """Return a codec whose weights have a random seed."""
        return cls(levels, int(rng.integers(1 << 31)))

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return as many samples, at the same rate."""
        draw = torch.Generator().manual_seed(self.weights_seed)
        basis = torch.linalg.qr(torch.randn(STRIDE, STRIDE, generator=draw)).Q[:, None]
        n_channels, n_samples = samples.shape
        padded = np.pad(samples, ((0, 0), (0, -n_samples % STRIDE)))
        inputs = torch.from_numpy(padded).reshape(n_channels, 1, -1)
        latents = torch.conv1d(inputs, basis, stride=STRIDE)
        rounded = torch.round(latents * self.levels) / self.levels
        decoded = torch.conv_transpose1d(rounded, basis, stride=STRIDE)
        return decoded.reshape(n_channels, -1)[:, :n_samples].contiguous().numpy(), sample_rate_hz
