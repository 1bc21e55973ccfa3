"""Added white or pink noise at a signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from earwitness.perturb.base import FieldsAsParameters, Samples

Color = Literal["white", "pink"]


@dataclass(frozen=True)
class Noise(FieldsAsParameters):
    """Gaussian noise, independent in each channel.

    The ratio is of the powers over the whole file and all channels. Silence stays as it is.
    """

    color: Color
    snr_db: float
    noise_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, *, color: Color, snr_db: float) -> Self:
        """Return noise with a seed of its own."""
        return cls(color, snr_db, int(rng.integers(2**53)))

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples with noise, which may exceed full scale."""
        noise = self._draw_noise(*samples.shape)
        signal_power = np.mean(np.square(samples, dtype=np.float64))
        noise_power = np.mean(np.square(noise))
        if not signal_power or not noise_power:
            return samples.copy(), sample_rate_hz
        scale = np.sqrt(signal_power / noise_power) * 10 ** (-self.snr_db / 20)
        return (samples + scale * noise).astype(np.float32), sample_rate_hz

    def _draw_noise(self, n_channels: int, n_samples: int) -> NDArray[np.float64]:
        """Return noise; the power of pink noise falls by 3 dB an octave."""
        from scipy import fft

        rng = np.random.default_rng(self.noise_seed)
        if self.color == "white":
            return rng.standard_normal((n_channels, n_samples))
        n_fft = fft.next_fast_len(n_samples, real=True)
        spectrum = fft.rfft(rng.standard_normal((n_channels, n_fft)))
        spectrum[:, 1:] /= np.sqrt(np.arange(1, spectrum.shape[1]))
        spectrum[:, 0] = 0
        pink: NDArray[np.float64] = fft.irfft(spectrum, n_fft)[:, :n_samples]
        return pink
