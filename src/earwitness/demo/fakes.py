"""Synthetic fakes: cheap imitations of three families of generators, none a published system.

- ``griffin256`` and ``griffin512`` invert a mel spectrogram: no periodic spectral peaks.
- ``upsample320`` and ``upsample512`` add a random decoder that upsamples by zero-stuffing, which
  leaves peaks at multiples of sample rate / stride (Afchar et al., ISMIR 2025, "A Fourier
  Explanation of AI-music Artifacts").
- ``demo_songmaker_a`` and ``demo_songmaker_b`` are applied to songs of their own: stride 320, and
  stride 256 at 16 kHz, resampled, which has other peaks and nothing above 8 kHz.

Conventions: samples are ``(2, n_samples)`` float32 at 44.1 kHz; a fake is as long and as loud as
its track.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import resample_poly

from earwitness.core.io import atomic_write
from earwitness.demo.music import PEAK, SAMPLE_RATE_HZ, Samples, compose, draw_artist

ENCODERS = ("griffin256", "griffin512", "upsample320", "upsample512")
"""Fakes that reconstruct a given track."""
SONGMAKERS = ("demo_songmaker_a", "demo_songmaker_b")
"""Fakes of songs of their own."""

_N_FFT, _HOP = 2048, 441
_CODE_BANDS = 8


def make_fake(kind: str, track: Samples, *, seed: int | tuple[int, ...]) -> Samples:
    """Return the fake of a track of at least 0.1 s; only the Griffin-Lim phases are random."""
    match kind:
        case "griffin256" | "griffin512":
            n_frames, n_bins = track.shape[1] // _HOP + 2, _N_FFT // 2 + 1
            turns = np.random.default_rng(seed).random((n_frames, n_bins), dtype=np.float32)
            return griffin_lim(track, turns, n_mels=int(kind[-3:]))
        case "upsample320":
            return neural_codec(track, strides=(8, 5, 4, 2), decoder=1)
        case "upsample512":
            return neural_codec(track, strides=(8, 8, 4, 2), decoder=1)
        case "demo_songmaker_a":
            return neural_codec(track, strides=(8, 5, 4, 2), decoder=2)
        case "demo_songmaker_b":
            narrow = resample_poly(track, 160, 441, axis=1).astype(np.float32)
            coded = neural_codec(narrow, strides=(8, 8, 2, 2), decoder=2)
            wide = resample_poly(coded, 441, 160, axis=1).astype(np.float32)
            return match_level(wide[:, : track.shape[1]], track)
    raise ValueError(f"fake {kind!r}, expected one of {', '.join((*ENCODERS, *SONGMAKERS))}")


def match_level(fake: Samples, track: Samples) -> Samples:
    """Return ``fake`` at the RMS of ``track``, with a soft limiter at -1 dBFS."""
    gain = float(np.sqrt(np.mean(track * track) / (np.mean(fake * fake) + 1e-12)))
    loud = np.abs(fake) * gain
    knee = 0.8 * PEAK
    over = np.maximum(loud - knee, 0) / (PEAK - knee)
    limited = np.minimum(loud, knee) + (PEAK - knee) * np.tanh(over)
    return np.asarray(np.sign(fake) * limited, dtype=np.float32)


def _frames(samples: Samples, n_fft: int, hop: int) -> Samples:
    """Return Hann frames of mono samples, with half a frame of reflection at both ends."""
    padded = np.pad(samples, (n_fft // 2, n_fft // 2 + hop), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.asarray(views * _hann(n_fft))


def _hann(n_fft: int) -> Samples:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def _overlap_add(frames: Samples, hop: int) -> Samples:
    """Return the sum of ``(n_frames, length)`` frames that are ``hop`` apart."""
    n_frames, length = frames.shape
    n_slots = -(-length // hop)
    slots = np.pad(frames, ((0, 0), (0, n_slots * hop - length))).reshape(n_frames, n_slots, hop)
    total = np.zeros((n_frames + n_slots - 1, hop), dtype=np.float32)
    for slot in range(n_slots):
        total[slot : slot + n_frames] += slots[:, slot]
    return total.ravel()


def mel_bands(n_mels: int, n_fft: int = _N_FFT) -> Samples:
    """Return triangular bands ``(n_mels, n_fft // 2 + 1)`` up to Nyquist on the HTK mel scale."""
    # not audio.spectrogram.mel_filters: it would import torch into every worker process
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, n_mels + 2) / 2595) - 1)
    bins_hz = np.arange(n_fft // 2 + 1) * SAMPLE_RATE_HZ / n_fft
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@lru_cache(maxsize=4)
def _mel_and_inverse(n_mels: int) -> tuple[Samples, Samples]:
    mel = mel_bands(n_mels)
    return mel, np.linalg.pinv(mel, rcond=0.01).astype(np.float32)


def griffin_lim(track: Samples, turns: Samples, *, n_mels: int) -> Samples:
    """Return a track inverted from its mel spectrogram (Griffin and Lim, 1984).

    Published reconstructions take n_fft 17 640, window 4 410 and 32 iterations, over a minute for
    20 s of music; this takes n_fft 2 048 and 4 iterations. Both are mono.

    Args:
        track: ``(2, n_samples)``.
        turns: Initial phases in turns, ``(n_frames, n_bins)``.
        n_mels: Mel bands.
    """
    mono = track.mean(axis=0)
    mel, inverse = _mel_and_inverse(n_mels)
    magnitude = np.maximum(np.abs(rfft(_frames(mono, _N_FFT, _HOP))) @ mel.T @ inverse.T, 0)
    spectrum = magnitude * np.exp(2j * np.pi * turns)
    for _ in range(4):
        guess = rfft(_frames(_invert(spectrum, mono.size), _N_FFT, _HOP))
        spectrum = magnitude * guess / (np.abs(guess) + 1e-9)
    rebuilt = _invert(spectrum, mono.size)
    return match_level(np.stack([rebuilt, rebuilt]), track)


def _invert(spectrum: NDArray[np.complex64], n_samples: int) -> Samples:
    """Return the least-squares inverse of ``_frames`` followed by ``rfft``."""
    window = _hann(_N_FFT)
    total = _overlap_add(irfft(spectrum, _N_FFT) * window, _HOP)
    weight = _overlap_add(np.tile(window * window, (spectrum.shape[0], 1)), _HOP)
    middle = slice(_N_FFT // 2, _N_FFT // 2 + n_samples)
    return np.asarray(total[middle] / np.maximum(weight[middle], 1e-3), dtype=np.float32)


class Layer(NamedTuple):
    """Transposed convolution: kernel ``(channels_in, channels_out, 2 * stride)`` and bias."""

    stride: int
    kernel: Samples
    bias: Samples


@lru_cache(maxsize=8)
def _decoder(strides: tuple[int, ...], seed: int) -> tuple[Layer, ...]:
    """Return a decoder with random weights and one output channel."""
    rng = np.random.default_rng((seed, *strides))
    layers, n_in = [], _CODE_BANDS
    for i, stride in enumerate(strides):
        n_out = 1 if i == len(strides) - 1 else 6
        fall = np.exp(-np.arange(2 * stride, dtype=np.float32))
        kernel = fall * (0.6 + 0.5 * rng.standard_normal((n_in, n_out, 2 * stride), np.float32))
        bias = 0.3 * rng.standard_normal(n_out, dtype=np.float32)
        layers.append(Layer(stride, kernel, bias))
        n_in = n_out
    return tuple(layers)


def upsample(code: Samples, layers: tuple[Layer, ...]) -> Samples:
    """Return a code ``(n_frames, n_bands)`` decoded: ``(n_frames * product of strides,)``, RMS 1.

    Each layer stuffs zeros, filters, adds a bias and rectifies; the filter is computed as one
    scaled kernel per input sample. The output is differenced, which weakens low frequencies.
    """
    signal = code
    for layer in layers:
        n_in, n_out, length = layer.kernel.shape
        pieces = (signal @ layer.kernel.reshape(n_in, -1)).reshape(-1, n_out, length)
        channels = [_overlap_add(pieces[:, c], layer.stride) for c in range(n_out)]
        filtered = np.stack(channels, axis=1)[: signal.shape[0] * layer.stride] + layer.bias
        signal = np.maximum(filtered, 0.1 * filtered)
    decoded = np.diff(signal[:, 0], prepend=signal[:1, 0])
    return np.asarray(decoded / (decoded.std() + 1e-9))


def encode(mono: Samples, stride: int) -> Samples:
    """Return band levels in steps of 3 dB, scaled to around 1: a row per ``stride`` samples."""
    power = np.abs(rfft(_frames(mono, 1024, stride)))[:, 1:513] ** 2
    bands = power.reshape(power.shape[0], _CODE_BANDS, -1).mean(axis=2)
    level_db = 3.0 * np.round(10 * np.log10(bands + 1e-6) / 3.0)
    return np.asarray(1 + level_db / 60, dtype=np.float32)


def neural_codec(track: Samples, *, strides: tuple[int, ...], decoder: int) -> Samples:
    """Return a quantised track plus a decoder's output at -40 dB.

    The decoder's weights are random, drawn from the seed ``decoder``, so its output is no music;
    at this level it is hardly audible, and its spectral peaks are still visible.
    """
    n_samples = track.shape[1]
    stride = int(np.prod(strides))
    decoded = upsample(encode(track.mean(axis=0), stride), _decoder(strides, decoder))
    level = 10.0 ** (-40.0 / 20) * float(np.sqrt(np.mean(track * track)))
    return match_level(_quantise(track, 1024) + level * decoded[:n_samples], track)


def _quantise(samples: Samples, n_levels: int) -> Samples:
    """Return samples quantised on a mu-law scale (mu = 255)."""
    step = math.log(256) / (n_levels / 2)
    rounded = step * np.round(np.log1p(255 * np.abs(samples)) / step)
    return np.asarray(np.sign(samples) * np.expm1(rounded) / 255, dtype=np.float32)


class Copy(NamedTuple):
    """A file to write: the track (``fake`` is ``None``) or a fake; ``narrow`` is 16 kHz mono."""

    path: Path
    fake: str | None = None
    narrow: bool = False


class Recording(NamedTuple):
    """A track to compose, by the seeds of song and artist, and the files to make of it."""

    title: str
    seed: tuple[int, ...]
    artist: tuple[int, ...]
    length_s: float
    copies: tuple[Copy, ...]


def make_recording(recording: Recording) -> str:
    """Compose a track, write its copies, and return its title."""
    artist = draw_artist(np.random.default_rng(recording.artist))
    track = compose(recording.seed, artist, length_s=recording.length_s)
    for i, (path, fake, narrow) in enumerate(recording.copies):
        seed = (*recording.seed, i)
        write_samples(path, make_fake(fake, track, seed=seed) if fake else track, narrow=narrow)
    return recording.title


def write_samples(path: Path, samples: Samples, *, narrow: bool = False) -> None:
    """Write samples as MP3, WAV or FLAC, by the suffix; ``narrow`` writes 16 kHz mono."""
    rate_hz = SAMPLE_RATE_HZ
    if narrow:
        rate_hz = 16_000
        samples = resample_poly(samples.mean(axis=0, keepdims=True), 160, 441, axis=1)
    settings: dict[str, Any] = {"subtype": "PCM_16"}
    if path.suffix == ".mp3":
        settings = {"bitrate_mode": "VARIABLE", "compression_level": 0.4}
    content = io.BytesIO()  # libsndfile does not report why a disk refuses
    soundfile.write(content, samples.T, rate_hz, format=path.suffix[1:], **settings)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())
