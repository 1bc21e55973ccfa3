"""Normalization to a loudness (ITU-R BS.1770-4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import FieldsAsParameters, Samples

_BLOCK_S = 0.4  # one block of the gated measurement
_MAX_CHANNELS = 5  # of BS.1770 without the low-frequency channel


@dataclass(frozen=True)
class Loudness(FieldsAsParameters):
    """One gain that gives the whole file an integrated loudness, limited to full scale."""

    loudness_lufs: float

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return amplified samples; audio that is all below the gate of -70 LUFS stays as it is."""
        try:
            import pyloudnorm
        except ImportError:
            raise PerturbationError(
                "loudness: pyloudnorm is not installed, expected pip install 'earwitness[perturb]'"
            ) from None
        if samples.shape[0] > _MAX_CHANNELS:
            raise PerturbationError(
                f"loudness: {samples.shape[0]} channels, expected at most {_MAX_CHANNELS}"
            )
        if samples.shape[1] <= _BLOCK_S * sample_rate_hz:
            raise PerturbationError(f"loudness: {samples.shape[1]} samples, expected over 0.4 s")
        if not samples.any():
            return samples.copy(), sample_rate_hz
        meter = pyloudnorm.Meter(sample_rate_hz, block_size=_BLOCK_S)
        measured = meter.integrated_loudness(samples.T.astype(np.float64))
        if not np.isfinite(measured):
            return samples.copy(), sample_rate_hz
        gain = np.float32(10 ** ((self.loudness_lufs - measured) / 20))
        return np.clip(samples * gain, -1, 1), sample_rate_hz
