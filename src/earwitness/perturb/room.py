"""Reverberation of synthetic rooms, and a loudspeaker recorded by a microphone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from earwitness.perturb.base import FieldsAsParameters, Parameters, Samples
from earwitness.perturb.filters import PassFilter
from earwitness.perturb.noise import Noise


@dataclass(frozen=True)
class Reverb(FieldsAsParameters):
    """Convolution with the direct sound and exponentially decaying noise, at the same power."""

    rt60_s: float
    wet_db: float
    room_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, *, rt60_s: float, wet_db: float = -3.0) -> Self:
        """Return a room; ``wet_db`` is the energy of its decay relative to the direct sound."""
        return cls(rt60_s, wet_db, int(rng.integers(2**53)))

    def impulse_response(self, sample_rate_hz: int) -> np.ndarray:
        """Return ``(n_samples,)`` float64: amplitude falls by 60 dB in ``rt60_s``."""
        time_s = np.arange(max(2, round(1.2 * self.rt60_s * sample_rate_hz))) / sample_rate_hz
        noise = np.random.default_rng(self.room_seed).standard_normal(len(time_s))
        response = noise * 10 ** (-3 * time_s / self.rt60_s)
        response[0] = 0
        response *= np.sqrt(10 ** (self.wet_db / 10) / np.sum(response**2))
        response[0] = 1
        return response

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples of the same length, which may exceed full scale."""
        from scipy import signal

        response = self.impulse_response(sample_rate_hz)[None]
        wet = signal.fftconvolve(samples.astype(np.float64), response, axes=-1)
        wet = wet[:, : samples.shape[1]]
        power = np.mean(wet**2)
        if power:
            wet *= np.sqrt(np.mean(np.square(samples, dtype=np.float64)) / power)
        return wet.astype(np.float32), sample_rate_hz


@dataclass(frozen=True)
class Rerecording:
    """A small loudspeaker in a room, recorded by one microphone.

    Band-pass, soft saturation, reverberation, mean over channels, then noise.
    """

    low_hz: float
    high_hz: float
    drive_ratio: float
    reverb: Reverb
    noise: Noise

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Return a chain with random cut-offs, drive, room and noise."""
        return cls(
            low_hz=float(rng.uniform(100, 200)),
            high_hz=float(rng.uniform(7_000, 12_000)),
            drive_ratio=float(rng.uniform(1, 2)),
            reverb=Reverb.draw(rng, rt60_s=float(rng.uniform(0.2, 0.6))),
            noise=Noise.draw(rng, color="pink", snr_db=float(rng.uniform(25, 40))),
        )

    @property
    def parameters(self) -> Parameters:
        """Of all steps."""
        own = {"low_hz": self.low_hz, "high_hz": self.high_hz, "drive_ratio": self.drive_ratio}
        return {**own, **self.reverb.parameters, **self.noise.parameters}

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return one channel of the same length."""
        played, _ = PassFilter("high", self.low_hz, 2).apply(samples, sample_rate_hz)
        played, _ = PassFilter("low", self.high_hz, 4).apply(played, sample_rate_hz)
        played = np.tanh(np.float32(self.drive_ratio) * played) / np.float32(self.drive_ratio)
        received, _ = self.reverb.apply(played.mean(axis=0, keepdims=True), sample_rate_hz)
        return self.noise.apply(received, sample_rate_hz)
