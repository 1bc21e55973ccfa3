"""Low-pass, high-pass and tilt filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import Parameters, Samples


@dataclass(frozen=True)
class PassFilter:
    """Butterworth low-pass or high-pass, run once forwards: -3.01 dB at the cut-off."""

    side: Literal["low", "high"]
    cutoff_hz: float
    order: int

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,  # noqa: ARG003 - not random
        *,
        side: Literal["low", "high"],
        cutoff_hz: float,
        order: int = 8,
    ) -> Self:
        """Return a filter; its slope is 6 dB an octave times the order."""
        return cls(side, cutoff_hz, order)

    @property
    def parameters(self) -> Parameters:
        """The side that passes, the cut-off and the order."""
        return {"side": self.side, "cutoff_hz": self.cutoff_hz, "order": self.order}

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
class Tilt:
    """A straight line of gain over octaves, 0 dB at 1 kHz, in one multiplication of the spectrum.

    Below 31.25 Hz the gain stays what it is there.
    """

    tilt_db_per_octave: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, tilt_db_per_octave: float) -> Self:  # noqa: ARG003
        """Return a tilt."""
        return cls(tilt_db_per_octave)

    @property
    def parameters(self) -> Parameters:
        """The slope."""
        return {"tilt_db_per_octave": self.tilt_db_per_octave}

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
