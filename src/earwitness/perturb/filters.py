"""Low-pass, high-pass and tilt filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import FieldsAsParameters, Samples


@dataclass(frozen=True)
class PassFilter(FieldsAsParameters):
    """Butterworth low-pass or high-pass, run once forwards: -3.01 dB at the cut-off."""

    side: Literal["low", "high"]
    cutoff_hz: float
    order: int = 8

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return filtered samples; a low-pass at or above Nyquist changes nothing."""
        from scipy import signal

        if self.cutoff_hz >= sample_rate_hz / 2:
            if self.side == "low":
                return samples.copy(), sample_rate_hz
            raise PerturbationError(
                f"high-pass of {self.cutoff_hz:g} Hz: audio of {sample_rate_hz} Hz, "
                f"expected more than {2 * self.cutoff_hz:g} Hz"
            )
        sections = signal.butter(
            self.order, self.cutoff_hz, self.side, fs=sample_rate_hz, output="sos"
        )
        return signal.sosfilt(sections, samples, axis=-1).astype(np.float32), sample_rate_hz


@dataclass(frozen=True)
class Tilt(FieldsAsParameters):
    """A straight line of gain over octaves, 0 dB at 1 kHz, in one multiplication of the spectrum.

    Below 31.25 Hz the gain stays what it is there.
    """

    tilt_db_per_octave: float

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return filtered samples, which may exceed full scale."""
        n_samples = samples.shape[1]
        octaves = np.log2(
            np.maximum(np.fft.rfftfreq(2 * n_samples, 1 / sample_rate_hz), 31.25) / 1000
        )
        spectrum = np.fft.rfft(samples, n=2 * n_samples, axis=-1)
        spectrum *= 10 ** (self.tilt_db_per_octave * octaves / 20)
        tilted = np.fft.irfft(spectrum, n=2 * n_samples, axis=-1)[:, :n_samples]
        return tilted.astype(np.float32), sample_rate_hz
