"""Resampling to a lower rate and back, and a change of speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from earwitness.audio.clips import resample
from earwitness.perturb.base import FieldsAsParameters, Samples

Resampler = Literal["soxr", "sinc", "swresample"]


@dataclass(frozen=True)
class Resample(FieldsAsParameters):
    """Resampling to a rate and back to the first, to the same length.

    ``soxr`` is soxr HQ; ``sinc`` a windowed sinc of linear phase with six zero crossings, the
    method of torchaudio's default; ``swresample`` FFmpeg's.
    """

    rate_hz: int
    resampler: Resampler = "soxr"

    def __post_init__(self) -> None:
        if self.resampler not in _RESAMPLERS:
            raise ValueError(f"resampler {self.resampler!r}, expected {', '.join(_RESAMPLERS)}")

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples at their own rate, unchanged if it is the rate between."""
        if sample_rate_hz == self.rate_hz:
            return samples.copy(), sample_rate_hz
        convert = _RESAMPLERS[self.resampler]
        between = convert(samples, sample_rate_hz, self.rate_hz)
        back = convert(between, self.rate_hz, sample_rate_hz)
        return fit_length(back, samples.shape[1]), sample_rate_hz


@dataclass(frozen=True)
class Speed(FieldsAsParameters):
    """Playback at another speed, which changes pitch and tempo together."""

    speed_ratio: float

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return samples at the same rate; their length is divided by the ratio."""
        played_hz = round(sample_rate_hz * self.speed_ratio)
        faster = resample(samples, played_hz, sample_rate_hz)
        return fit_length(
            faster, max(1, round(samples.shape[1] / self.speed_ratio))
        ), sample_rate_hz


def fit_length(samples: Samples, n_samples: int) -> Samples:
    """Return the first ``n_samples``, with silence at the end if there are fewer."""
    fitted = np.zeros((samples.shape[0], n_samples), np.float32)
    fitted[:, : samples.shape[1]] = samples[:, :n_samples]
    return fitted


def _resample_sinc(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    from scipy import signal

    common = int(np.gcd(from_hz, to_hz))
    up, down = to_hz // common, from_hz // common
    longest = max(up, down)
    taps = signal.firwin(2 * 6 * longest + 1, 0.99 / longest, window="hann")
    resampled: Samples = signal.resample_poly(samples, up, down, axis=-1, window=taps)
    return resampled.astype(np.float32)


def _resample_swresample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    import av

    rows = []
    for channel in samples:  # one by one: FFmpeg names no layout for some counts
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(channel[None]), format="fltp", layout="mono"
        )
        frame.sample_rate = from_hz
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=to_hz)
        parts = [*resampler.resample(frame), *resampler.resample(None)]
        rows.append(np.concatenate([part.to_ndarray()[0] for part in parts] or [np.zeros(1)]))
    return np.stack(rows).astype(np.float32)


_RESAMPLERS = {"soxr": resample, "sinc": _resample_sinc, "swresample": _resample_swresample}
