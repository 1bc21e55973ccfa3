"""Fakes of the made-up tracks: demonstrations of what fakes do to a spectrum.

None of these is a published system. They stand in for three families of them, cheap enough to
run in seconds, so that a workspace can show what a detector learns and where it fails:

- ``griffin256`` and ``griffin512`` invert a mel spectrogram and estimate the phase. They leave no
  periodic peaks.
- ``upsample320`` and ``upsample512`` pass a coarse code through a random decoder that upsamples
  by zero-stuffing. As Afchar et al. (ISMIR 2025, "A Fourier Explanation of AI-music Artifacts")
  explain, such a decoder leaves spectral peaks at the multiples of sample rate / stride.
- ``demo_songmaker_a`` and ``demo_songmaker_b`` are applied to music composed anew, as a generator
  of whole songs would: the first decodes with stride 320, the second works at 16 kHz with
  stride 256 and is resampled, so that it has neither the same peaks nor any highs.

Conventions: samples are ``(2, n_samples)`` float32 at 44.1 kHz. A fake is as long as its track
and, as far as the peak of -1 dBFS allows, as loud.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import resample_poly

from earwitness.core.io import atomic_write
from earwitness.demo.music import PEAK, compose
from earwitness.demo.score import SAMPLE_RATE_HZ, Samples, draw_artist

Weights = NDArray[np.float32]

_N_FFT = 2048
_HOP = 441
_CODE_BANDS = 8
_CHANNELS = 6


def match_level(fake: Samples, track: Samples) -> Samples:
    """Scale ``fake`` to the RMS of ``track``; a limiter rounds what would pass -1 dBFS."""
    gain = float(np.sqrt(np.mean(track * track) / (np.mean(fake * fake) + 1e-12)))
    loud = np.abs(fake) * gain
    knee = 0.8 * PEAK
    over = np.maximum(loud - knee, 0) / (PEAK - knee)
    limited = np.minimum(loud, knee) + (PEAK - knee) * np.tanh(over)
    return np.asarray(np.sign(fake) * limited, dtype=np.float32)


def _frames(samples: Samples, n_fft: int, hop: int) -> Samples:
    """Cut mono samples, with half a frame of reflection at both ends, into Hann frames."""
    padded = np.pad(samples, (n_fft // 2, n_fft // 2 + hop), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    return np.asarray(views * _hann(n_fft))


def _hann(n_fft: int) -> Samples:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def _overlap_add(frames: Samples, hop: int) -> Samples:
    """Sum ``(n_frames, length)`` frames ``hop`` apart."""
    n_frames, length = frames.shape
    n_slots = -(-length // hop)
    slots = np.pad(frames, ((0, 0), (0, n_slots * hop - length))).reshape(n_frames, n_slots, hop)
    total = np.zeros((n_frames + n_slots - 1, hop), dtype=np.float32)
    for slot in range(n_slots):
        total[slot : slot + n_frames] += slots[:, slot]
    return total.ravel()


def mel_bands(n_mels: int, n_fft: int = _N_FFT) -> Weights:
    """Triangular bands at equal distances on the HTK mel scale, 0 Hz to the Nyquist frequency.

    Returns:
        ``(n_mels, n_fft // 2 + 1)`` float32 weights, 1 at each band's middle.
    """
    top_mel = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, n_mels + 2) / 2595) - 1)
    bins_hz = np.arange(n_fft // 2 + 1) * SAMPLE_RATE_HZ / n_fft
    rising = (bins_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / np.diff(edges_hz)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@lru_cache(maxsize=4)
def _mel_and_back(n_mels: int) -> tuple[Weights, Weights]:
    """Bands and their pseudo-inverse; ``rcond`` drops bands that hardly touch a bin."""
    mel = mel_bands(n_mels)
    return mel, np.linalg.pinv(mel, rcond=0.01).astype(np.float32)


def draw_turns(rng: np.random.Generator, n_samples: int) -> Samples:
    """Draw the phases that Griffin-Lim starts from, in turns, ``(n_frames, n_bins)``."""
    return rng.random((n_samples // _HOP + 2, _N_FFT // 2 + 1), dtype=np.float32)


def griffin_lim(track: Samples, turns: Samples, *, n_mels: int, n_iterations: int = 4) -> Samples:
    """Go to a mel spectrogram and back, the phase estimated as Griffin and Lim (1984) did.

    A demonstration. The published reconstructions take n_fft 17 640, window 4 410, hop 441 and
    32 iterations, over a minute for 20 s of music; this takes n_fft 2 048 and a few iterations.
    Both go back from the mel bands by the pseudo-inverse and both are mono, here on two channels.

    Args:
        track: ``(2, n_samples)`` float32 at 44.1 kHz.
        turns: First phases, from ``draw_turns``.
        n_mels: Mel bands.
        n_iterations: Rounds of phase estimation.
    """
    mono = track.mean(axis=0)
    mel, back = _mel_and_back(n_mels)
    magnitude = np.maximum(np.abs(rfft(_frames(mono, _N_FFT, _HOP))) @ mel.T @ back.T, 0)
    spectrum = magnitude * np.exp(2j * np.pi * turns)
    for _ in range(n_iterations):
        guess = rfft(_frames(_from_frames(spectrum, mono.size), _N_FFT, _HOP))
        spectrum = magnitude * guess / (np.abs(guess) + 1e-9)
    rebuilt = _from_frames(spectrum, mono.size)
    return match_level(np.stack([rebuilt, rebuilt]), track)


def _from_frames(spectrum: NDArray[np.complex64], n_samples: int) -> Samples:
    """Least-squares inverse of ``_frames`` followed by ``rfft``."""
    window = _hann(_N_FFT)
    total = _overlap_add(irfft(spectrum, _N_FFT) * window, _HOP)
    weight = _overlap_add(np.tile(window * window, (spectrum.shape[0], 1)), _HOP)
    middle = slice(_N_FFT // 2, _N_FFT // 2 + n_samples)
    return np.asarray(total[middle] / np.maximum(weight[middle], 1e-3), dtype=np.float32)


class Layer(NamedTuple):
    """A transposed convolution.

    Attributes:
        stride: Samples out per sample in.
        kernel: ``(channels_in, channels_out, 2 * stride)``.
        bias: ``(channels_out,)``.
    """

    stride: int
    kernel: Weights
    bias: Weights


@lru_cache(maxsize=8)
def _decoder(strides: tuple[int, ...], seed: int) -> tuple[Layer, ...]:
    """Draw the fixed weights of a decoder, widest stride first, one channel out."""
    rng = np.random.default_rng((seed, *strides))
    layers, n_in = [], _CODE_BANDS
    for i, stride in enumerate(strides):
        n_out = 1 if i == len(strides) - 1 else _CHANNELS
        fall = np.exp(-np.arange(2 * stride, dtype=np.float32))
        kernel = fall * (0.6 + 0.5 * rng.standard_normal((n_in, n_out, 2 * stride), np.float32))
        bias = 0.3 * rng.standard_normal(n_out, dtype=np.float32)
        layers.append(Layer(stride, kernel, bias))
        n_in = n_out
    return tuple(layers)


def upsample(code: Samples, layers: tuple[Layer, ...]) -> Samples:
    """Run a decoder: at each layer zero-stuff, filter with a short kernel, add a bias, rectify.

    Filtering a zero-stuffed signal is the same as adding up one scaled kernel per input sample,
    which is how it is computed.

    Args:
        code: ``(n_frames, n_bands)``.
        layers: The decoder.

    Returns:
        ``(n_frames * product of strides,)``, differenced (the lows would be heard first) and of
        RMS 1.
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


def encode(mono: Samples, stride: int, *, step_db: float = 3.0) -> Samples:
    """Keep a coarse code: the level of a few bands per frame, quantised.

    Returns:
        ``(n_frames, n_bands)`` float32 around 1, one frame per ``stride`` samples.
    """
    power = np.abs(rfft(_frames(mono, 1024, stride)))[:, 1:513] ** 2
    bands = power.reshape(power.shape[0], _CODE_BANDS, -1).mean(axis=2)
    level_db = step_db * np.round(10 * np.log10(bands + 1e-6) / step_db)
    return np.asarray(1 + level_db / 60, dtype=np.float32)


def neural_codec(
    track: Samples,
    *,
    strides: tuple[int, ...],
    decoder: int,
    artefact_db: float = -40.0,
    n_levels: int = 1024,
) -> Samples:
    """Imitate a neural codec: the track quantised, and softly what a strided decoder adds.

    A demonstration: the weights are random, so the decoder's output is no music; it lies
    ``artefact_db`` below the track, where it is barely heard and its peaks are still seen.

    Args:
        track: ``(2, n_samples)`` float32.
        strides: Strides of the decoder's layers; their product is the hop of the code.
        decoder: Seed of the decoder's weights, which are part of the "system".
        artefact_db: RMS of the decoder's output against the track's.
        n_levels: Levels of the mu-law quantiser.
    """
    n_samples = track.shape[1]
    stride = int(np.prod(strides))
    decoded = upsample(encode(track.mean(axis=0), stride), _decoder(strides, decoder))
    level = 10.0 ** (artefact_db / 20) * float(np.sqrt(np.mean(track * track)))
    return match_level(_quantise(track, n_levels) + level * decoded[:n_samples], track)


def _quantise(samples: Samples, n_levels: int) -> Samples:
    """Quantise on a mu-law scale (mu = 255), finer where the music is soft."""
    step = math.log(256) / (n_levels / 2)
    rounded = step * np.round(np.log1p(255 * np.abs(samples)) / step)
    return np.asarray(np.sign(samples) * np.expm1(rounded) / 255, dtype=np.float32)


def narrow_codec(track: Samples, *, strides: tuple[int, ...], decoder: int) -> Samples:
    """``neural_codec`` at 16 kHz, resampled back to 44.1 kHz: nothing is left above 8 kHz."""
    narrow = resample_poly(track, 160, 441, axis=1).astype(np.float32)
    coded = neural_codec(narrow, strides=strides, decoder=decoder)
    wide = resample_poly(coded, 441, 160, axis=1).astype(np.float32)
    return match_level(wide[:, : track.shape[1]], track)


_DECODERS: dict[str, Callable[[Samples], Samples]] = {
    "upsample320": partial(neural_codec, strides=(8, 5, 4, 2), decoder=1),
    "upsample512": partial(neural_codec, strides=(8, 8, 4, 2), decoder=1),
    "demo_songmaker_a": partial(neural_codec, strides=(8, 5, 4, 2), decoder=2),
    "demo_songmaker_b": partial(narrow_codec, strides=(8, 8, 2, 2), decoder=2),
}
_MELS = {"griffin256": 256, "griffin512": 512}

ENCODERS = ("griffin256", "griffin512", "upsample320", "upsample512")
"""Fakes that rebuild a given track."""

SONGMAKERS = ("demo_songmaker_a", "demo_songmaker_b")
"""Fakes that are given music of their own."""


def make_fake(kind: str, track: Samples, *, seed: int | tuple[int, ...]) -> Samples:
    """Make the fake of a track.

    Args:
        kind: One of ``ENCODERS`` or ``SONGMAKERS``.
        track: ``(2, n_samples)`` float32 at 44.1 kHz, at least 0.1 s.
        seed: Seed of what the kind draws for each track (Griffin-Lim's first phases; the
            decoders draw nothing).

    Returns:
        The fake, as long as the track.

    Raises:
        ValueError: No such kind.
    """
    if kind in _MELS:
        turns = draw_turns(np.random.default_rng(seed), track.shape[1])
        return griffin_lim(track, turns, n_mels=_MELS[kind])
    if kind not in _DECODERS:
        raise ValueError(f"fake {kind!r}, expected one of {', '.join((*ENCODERS, *SONGMAKERS))}")
    return _DECODERS[kind](track)


CLIP_RATE_HZ = 16_000
"""Rate of FakeMusicCaps clips, which are mono."""


class Copy(NamedTuple):
    """One file of a recording.

    Attributes:
        path: Where it is written.
        fake: Kind of fake, ``None`` for the real recording.
        narrow: Whether it is written in mono at 16 kHz.
    """

    path: Path
    fake: str | None = None
    narrow: bool = False


@dataclass(frozen=True)
class Recording:
    """A track to be composed and its copies.

    Attributes:
        title: What to call it when it is done.
        seed: Seed of the track.
        artist: Seed of the artist.
        length_s: Length in seconds.
        copies: Files made of it.
    """

    title: str
    seed: tuple[int, ...]
    artist: tuple[int, ...]
    length_s: float
    copies: tuple[Copy, ...]


def make_recording(recording: Recording) -> str:
    """Compose the track, make and write its copies; return its title."""
    artist = draw_artist(np.random.default_rng(recording.artist), recording.title)
    track = compose(recording.seed, artist, length_s=recording.length_s)
    for i, (path, fake, narrow) in enumerate(recording.copies):
        seed = (*recording.seed, i)
        write_samples(path, make_fake(fake, track, seed=seed) if fake else track, narrow=narrow)
    return recording.title


def write_samples(path: Path, samples: Samples, *, narrow: bool = False) -> None:
    """Write ``(2, n_samples)`` at 44.1 kHz as an audio file; its folder is made.

    Args:
        path: MP3, WAV or FLAC, by its suffix.
        samples: What to write.
        narrow: Write the mean of the channels at 16 kHz.

    Raises:
        RunError: The disk is full, or refuses the file for another reason.
    """
    rate = CLIP_RATE_HZ if narrow else SAMPLE_RATE_HZ
    if narrow:
        samples = resample_poly(samples.mean(axis=0, keepdims=True), 160, 441, axis=1)
    settings: dict[str, Any] = (
        {"bitrate_mode": "VARIABLE", "compression_level": 0.4}
        if path.suffix == ".mp3"
        else {"subtype": "PCM_16"}
    )
    content = io.BytesIO()  # libsndfile does not say what a disk refuses
    soundfile.write(content, samples.T, rate, format=path.suffix[1:], **settings)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())
