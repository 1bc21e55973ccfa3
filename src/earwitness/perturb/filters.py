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
        from scipy import fft

        n_samples = samples.shape[1]
        n_fft = fft.next_fast_len(2 * n_samples, real=True)  # prime factors can cost ten times
        frequencies_hz = np.maximum(fft.rfftfreq(n_fft, 1 / sample_rate_hz), 31.25)
        spectrum = fft.rfft(samples.astype(np.float64), n_fft)
        spectrum *= 10 ** (self.tilt_db_per_octave * np.log2(frequencies_hz / 1000) / 20)
        tilted = fft.irfft(spectrum, n_fft)[:, :n_samples]
        return tilted.astype(np.float32), sample_rate_hz
