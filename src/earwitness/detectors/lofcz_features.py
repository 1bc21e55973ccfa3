"""Features of the lofcz detectors: a resampler, a fakeprint vector and a cepstrum.

Conventions: signals are mono float32 at 16 kHz; nothing is normalised in level, trimmed or cut into
windows beyond what the published code does. SciPy is imported when a clip is scored.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from earwitness.audio.clips import resample
from earwitness.detectors.fakeprint import mean_spectrum_db

SAMPLE_RATE_HZ = 16_000
Resampler = Literal["soxr_hq", "torchaudio_sinc"]
Kernel = Literal["float32", "float64"]


def to_mono_16k(
    samples: NDArray[np.float32], from_hz: int, resampler: Resampler, *, kernel: Kernel
) -> NDArray[np.float32]:
    """Return the mean of the channels at 16 kHz, each channel resampled before.

    Args:
        samples: ``(n_channels, n_samples)``.
        from_hz: Their rate.
        resampler: ``soxr_hq``, or ``torchaudio_sinc`` as published; unused at 16 kHz.
        kernel: Precision in which the sinc kernel is computed.
    """
    if from_hz != SAMPLE_RATE_HZ:
        resampled = [
            resample(channel[np.newaxis], from_hz, SAMPLE_RATE_HZ)[0]
            if resampler == "soxr_hq"
            else resample_sinc(channel, from_hz, SAMPLE_RATE_HZ, kernel=kernel)
            for channel in samples
        ]
        samples = np.stack(resampled)
    mono: NDArray[np.float32] = samples.mean(axis=0, dtype=np.float32)
    return mono


_ROLLOFF = 0.99
_N_ZEROS = 6
"""Zero crossings of the sinc on either side."""
_BLOCK_FRAMES = 4096


def resample_sinc(
    samples: NDArray[np.float32], from_hz: int, to_hz: int, *, kernel: Kernel
) -> NDArray[np.float32]:
    """Resample as torchaudio does by default: a sinc with a squared-cosine window.

    Args:
        samples: ``(n_samples,)``.
        from_hz: Rate of the samples.
        to_hz: Rate wanted.
        kernel: Precision in which the kernel is computed; it is stored as float32.

    Returns:
        ``(ceil(n_samples * to_hz / from_hz),)`` float32.
    """
    divisor = math.gcd(from_hz, to_hz)
    n_in, n_out = from_hz // divisor, to_hz // divisor
    kernels = _sinc_kernels(n_in, n_out, kernel)
    margin = (kernels.shape[1] - n_in) // 2
    padded = np.pad(samples, (margin, margin + n_in))
    frames = sliding_window_view(padded, kernels.shape[1])[::n_in]
    blocks = [
        frames[start : start + _BLOCK_FRAMES] @ kernels.T
        for start in range(0, len(frames), _BLOCK_FRAMES)
    ]
    resampled: NDArray[np.float32] = np.concatenate(blocks).ravel()
    return resampled[: math.ceil(len(samples) * n_out / n_in)]


@lru_cache(maxsize=8)
def _sinc_kernels(n_in: int, n_out: int, precision: Kernel) -> NDArray[np.float32]:
    """Return the filter of each output phase, ``(n_out, n_in + 2 * margin)``.

    The phase is rounded to float32 even where the rest is computed in double, as published.
    """
    base = _ROLLOFF * min(n_in, n_out)
    real = np.dtype(precision).type
    margin = math.ceil(_N_ZEROS * n_in / base)
    taps = np.arange(-margin, margin + n_in, dtype=real) / real(n_in)
    phases = -np.arange(n_out, dtype=np.float32) / np.float32(n_out)
    t = np.clip((phases[:, np.newaxis] + taps) * real(base), -_N_ZEROS, _N_ZEROS)
    window = np.cos(t * real(math.pi) / _N_ZEROS / 2) ** 2
    kernels: NDArray[np.floating] = np.sinc(t) * window * real(base / n_in)
    return kernels.astype(np.float32)


N_FFT = 8192
MAX_SAMPLES = 300 * SAMPLE_RATE_HZ
MIN_SAMPLES = N_FFT // 2 + 1
"""Fewer samples cannot be reflected at the ends."""
BAND_HZ = (1_000.0, 8_000.0)
_FIRST_BIN = 512
N_BINS = N_FFT // 2 + 1 - _FIRST_BIN
_HULL_BINS = 10
_HULL_FLOOR_DB = -45.0
_RESIDUE_CEILING_DB = 5.0


class Fakeprint(NamedTuple):
    """The feature vector of the logistic regression and its stages, ``(3585,)`` each.

    Attributes:
        spectrum_db: Mean over frames of the level in decibels, 1000 to 8000 Hz.
        hull_db: Running minimum of it, from -45 dB up.
        vector: Float32 in [0, 1]; zero wherever the spectrum is below -45 dB.
    """

    spectrum_db: NDArray[np.float64]
    hull_db: NDArray[np.float64]
    vector: NDArray[np.float32]

    @property
    def nonzero_bins(self) -> int:
        """Number of bins that are not empty."""
        return int(np.count_nonzero(self.vector))


def lofcz_fakeprint(mono: NDArray[np.float32]) -> Fakeprint:
    """Return the one fakeprint of a whole file, of its first 300 s.

    Differs from ``fakeprint.fakeprint`` in rate, band and hull: a running minimum without any
    interpolation.

    Args:
        mono: ``(n_samples,)`` at 16 kHz, at least ``MIN_SAMPLES``.
    """
    spectrum = mean_spectrum_db(mono[np.newaxis, :MAX_SAMPLES], n_fft=N_FFT, hop=N_FFT // 2)
    band = spectrum[_FIRST_BIN:]
    half = _HULL_BINS // 2
    padded = np.pad(band, (half, half - 1), mode="edge")
    lowest = sliding_window_view(padded, _HULL_BINS).min(axis=1)
    hull = np.maximum(lowest, _HULL_FLOOR_DB)
    residue = np.clip(band - hull, 0, _RESIDUE_CEILING_DB)
    vector = (residue / (residue.max() + 1e-6)).astype(np.float32)
    return Fakeprint(band, hull, vector)


SEGMENT_SAMPLES = 10 * SAMPLE_RATE_HZ
N_SEGMENTS = 5
N_CEPSTRA, N_FRAMES = 24, 313
_EDGE_SAMPLES = 5 * SAMPLE_RATE_HZ


def cut_segments(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the segments of 10 s that the CNN scores, ``(n_segments, 160000)``.

    One, zero-padded, of a file up to 10 s; otherwise five, evenly spaced, which overlap in short
    files and leave out 5 s at either end of files over 20 s.
    """
    room = len(mono) - SEGMENT_SAMPLES
    if room <= 0:
        return np.pad(mono, (0, -room))[np.newaxis]
    edge = _EDGE_SAMPLES if len(mono) > 2 * SEGMENT_SAMPLES else 0
    starts = (edge + int(i * (room - 2 * edge) / (N_SEGMENTS - 1)) for i in range(N_SEGMENTS))
    return np.stack([mono[start : start + SEGMENT_SAMPLES] for start in starts])


def cepstrum(segments: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first cepstral coefficients of the log CQT, ``(n_segments, 24, 313)``.

    Coefficient 0, the level, is included, so that the CNN's score depends on gain.
    """
    from scipy import fft

    log_magnitude = np.log(cqt_magnitude(segments) + 1e-6)
    coefficients: NDArray[np.float64] = fft.dct(log_magnitude, type=2, norm="ortho", axis=1)
    return coefficients[:, :N_CEPSTRA].astype(np.float32)


_LOWEST_HZ = 500.0
_PER_OCTAVE = 12
_N_OCTAVES = 4
_HOP = 512
_FILTER_SAMPLES = 128
_SPARSITY = 0.01
_TIE = 1e-6
"""Relative slack of a comparison of magnitudes that are equal but for rounding."""


def cqt_magnitude(segments: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the magnitude of a constant-Q transform as librosa computes it.

    48 bins, 12 to the octave, from 500 Hz; frames every 512 samples. Octaves are computed from the
    top, with the same twelve filters at half the rate each.

    Args:
        segments: ``(n_segments, n_samples)`` at 16 kHz.

    Returns:
        ``(n_segments, 48, 1 + n_samples // 512)``.
    """
    filters = _octave_filters()
    octaves: list[NDArray[np.float64]] = []
    signal = segments
    for octave in range(_N_OCTAVES):
        if octave:
            signal = _halve_rate(signal)
        response = _filter_frames(signal, filters * 2 ** (octave / 2), _HOP >> octave)
        octaves.insert(0, response)
    n_frames = min(octave.shape[2] for octave in octaves)
    magnitude = np.concatenate([octave[:, :, :n_frames] for octave in octaves], axis=1)
    exponents = np.arange(_N_OCTAVES * _PER_OCTAVE) / _PER_OCTAVE
    lengths = _quality() * SAMPLE_RATE_HZ / (_LOWEST_HZ * 2**exponents)
    scaled: NDArray[np.float64] = magnitude / np.sqrt(lengths)[:, np.newaxis]
    return scaled


def _filter_frames(
    signal: NDArray[np.float32], filters: NDArray[np.complex128], hop: int
) -> NDArray[np.float64]:
    """Return the magnitude of the responses, ``(n_segments, n_filters, n_frames)``."""
    padded = np.pad(signal, ((0, 0), (_FILTER_SAMPLES // 2, _FILTER_SAMPLES // 2)))
    frames = sliding_window_view(padded, _FILTER_SAMPLES, axis=1)[:, ::hop]
    spectra = np.fft.rfft(frames, axis=2)
    magnitude: NDArray[np.float64] = np.abs(filters @ spectra.transpose(0, 2, 1))
    return magnitude


def _halve_rate(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    halved = [resample(row[np.newaxis], 2, 1)[0] for row in signal]
    scaled = np.stack(halved).astype(np.float64) * math.sqrt(2)  # in double: bins near silence
    return scaled.astype(np.float32)


def _quality() -> float:
    ratio = 2 ** (2 / _PER_OCTAVE)
    return (ratio + 1) / (ratio - 1)


@lru_cache(maxsize=1)
def _octave_filters() -> NDArray[np.complex128]:
    """Return the filters of the top octave in the frequency domain, ``(12, 65)``."""
    top_hz = _LOWEST_HZ * 2.0 ** (_N_OCTAVES - 1)
    frequencies = top_hz * 2 ** (np.arange(_PER_OCTAVE) / _PER_OCTAVE)
    return np.stack([_sparse(_filter_spectrum(f / SAMPLE_RATE_HZ)) for f in frequencies])


def _filter_spectrum(frequency: float) -> NDArray[np.complex128]:
    """Return the spectrum of one filter, of a frequency in cycles per sample."""
    length = _quality() / frequency
    n = np.arange(math.floor(-length / 2), math.floor(length / 2))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(n)) / len(n))
    taps = window * np.exp(2j * np.pi * n * frequency)
    taps *= length / _FILTER_SAMPLES / np.abs(taps).sum()
    left = (_FILTER_SAMPLES - len(n)) // 2
    centred = np.pad(taps, (left, _FILTER_SAMPLES - len(n) - left))
    spectrum: NDArray[np.complex128] = np.fft.fft(centred)[: _FILTER_SAMPLES // 2 + 1]
    return spectrum


def _sparse(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Set the bins to zero that together have less than 1 % of the magnitude.

    The lowest filter has two bins of equal magnitude at the threshold: both are kept.
    """
    magnitudes = np.abs(spectrum)
    rising = np.sort(magnitudes)
    share = np.cumsum(rising) / rising.sum()
    threshold = rising[np.argmax(share >= _SPARSITY)]
    return np.where(magnitudes >= threshold * (1 - _TIE), spectrum, 0)
