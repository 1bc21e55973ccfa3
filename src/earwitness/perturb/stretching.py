"""Time stretch and pitch shift, by Signalsmith Stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from earwitness.core.errors import PerturbationError
from earwitness.perturb.base import FieldsAsParameters, Samples
from earwitness.perturb.resampling import fit_length


@dataclass(frozen=True)
class Stretch(FieldsAsParameters):
    """Another tempo at the same pitch, or another pitch at the same tempo."""

    tempo_ratio: float
    semitones: float
    phase_seed: int

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, tempo_ratio: float = 1.0, semitones: float = 0.0
    ) -> Self:
        """Return a stretch with the seed of its random phases; a tempo over 1 is faster."""
        return cls(tempo_ratio, semitones, int(rng.integers(2**31)))

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples in time with the input: the library removes its latency."""
        stretch = _make_stretch(self.phase_seed)
        stretch.preset(samples.shape[0], float(sample_rate_hz))
        stretch.setTimeFactor(self.tempo_ratio)
        stretch.setTransposeSemitones(self.semitones)
        n_out = max(1, round(samples.shape[1] / self.tempo_ratio))
        tail = np.zeros((samples.shape[0], stretch.inputLatency() + stretch.outputLatency()))
        padded = np.concatenate([samples, tail], axis=1, dtype=np.float32)
        changed = stretch.process(np.ascontiguousarray(padded))
        return fit_length(changed, n_out), sample_rate_hz


def _make_stretch(seed: int) -> Any:
    try:
        from python_stretch.Signalsmith import Stretch as Signalsmith
    except ImportError:
        raise PerturbationError(
            "time stretch and pitch: python-stretch is not installed, "
            "expected pip install 'earwitness[perturb]'"
        ) from None
    return Signalsmith(seed)
