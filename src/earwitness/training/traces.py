"""Pairs of spectra that differ in the trace of a random decoder alone.

Conventions: both spectra of a pair pass the same chain of equaliser, resampling, level and codec.
Every draw follows from the seed, the file's SHA-256 and the number of the pair.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import resample
from earwitness.audio.decode import probe_audio, read_slice
from earwitness.audio.encode import write_coded
from earwitness.detectors.comb import SAMPLE_RATE_HZ, comb_spectrum_db
from earwitness.training.random_decoders import DecoderPlan, draw_decoder, run_decoder

LENGTHS_S = (12.0, 45.0)
"""Range of excerpts, on a logarithmic scale."""
_CODERS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "mp3": (".mp3", "libmp3lame", (40, 48, 64, 96, 128)),
    "aac": (".m4a", "aac", (40, 56, 72, 96)),
    "opus": (".opus", "libopus", (24, 32, 48, 64, 96)),
}
"""Codec → suffix, encoder and bit rates in kbit/s of one channel."""


class Chain(NamedTuple):
    """A chain of processing: gains of the equaliser in dB, rate, codec and bit rate, level."""

    equaliser_db: tuple[float, ...]
    sample_rate_hz: int
    codec: str | None
    kbps: int
    peak: float


class Mix(NamedTuple):
    """How a decoder's output is mixed under the music.

    Attributes:
        level_db: Its level against the music.
        shaped: Whether it gets the music's spectral envelope first.
    """

    level_db: float
    shaped: bool


class Excerpt(NamedTuple):
    """The draws of a pair: start and length as shares of a file, decoder, mix and chain."""

    start: float
    length_s: float
    decoder: DecoderPlan
    mix: Mix
    chain: Chain


class Spectrum(NamedTuple):
    """Mean spectrum of ``comb_spectrum_db`` and the codec of its file."""

    spectrum_db: NDArray[np.float32]
    codec: str | None


def draw_chain(rng: np.random.Generator) -> Chain:
    """Draw a chain of processing."""
    is_flat, keeps_rate, is_coded = rng.random(3) < (0.5, 0.8, 0.6)
    codec = str(rng.choice(list(_CODERS))) if is_coded else None
    return Chain(
        tuple((rng.normal(0, 4, 8) * (not is_flat)).tolist()),
        SAMPLE_RATE_HZ if keeps_rate else int(rng.choice([22_050, 24_000, 32_000, 48_000])),
        codec,
        int(rng.choice(_CODERS[codec][2])) if codec else 0,
        float(rng.uniform(0.1, 0.95)),
    )


def draw_excerpt(rng: np.random.Generator) -> Excerpt:
    """Draw a pair."""
    is_shaped = bool(rng.random() < 0.5)
    return Excerpt(
        start=float(rng.random()),
        length_s=float(np.exp(rng.uniform(*np.log(LENGTHS_S)))),
        decoder=draw_decoder(rng),
        mix=Mix(float(rng.uniform(-30, 0) if is_shaped else rng.uniform(-50, -15)), is_shaped),
        chain=draw_chain(rng),
    )


def read_excerpt(path: Path, start: float, length_s: float) -> NDArray[np.float32]:
    """Return ``(n_samples,)`` of a file, mono at 44.1 kHz."""
    info = probe_audio(path)
    total = int(info.n_samples * SAMPLE_RATE_HZ / info.sample_rate_hz)
    length = min(total, int(length_s * SAMPLE_RATE_HZ))
    at = int(start * (total - length))
    samples = read_slice(path, at, length, sample_rate_hz=SAMPLE_RATE_HZ, mono=True)
    return samples.reshape(-1)


def make_pair(path: Path, excerpt: Excerpt) -> tuple[Spectrum, Spectrum]:
    """Return the spectra of an excerpt without and with the trace of its decoder."""
    music, marked = mark(path, excerpt)
    return process(music, excerpt.chain), process(marked, excerpt.chain)


def mark(path: Path, excerpt: Excerpt) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the samples of an excerpt, ``(n_samples,)``, without and with the trace."""
    music = read_excerpt(path, excerpt.start, excerpt.length_s)
    plan = excerpt.decoder
    native = resample(music[None], SAMPLE_RATE_HZ, plan.sample_rate_hz)[0]
    decoded = resample(run_decoder(plan, native)[None], plan.sample_rate_hz, SAMPLE_RATE_HZ)[0]
    decoded = np.pad(decoded, (0, max(0, len(music) - len(decoded))))[: len(music)]
    return music, mix_under(music, decoded, excerpt.mix)


def mix_under(
    music: NDArray[np.float32], decoded: NDArray[np.float32], mix: Mix
) -> NDArray[np.float32]:
    """Return music with a decoder's output under it, ``(n_samples,)``."""
    if mix.shaped:
        decoded = _shape_like(decoded, music)
    gain = 10 ** (mix.level_db / 20) * music.std() / (decoded.std() + 1e-9)
    mixed: NDArray[np.float32] = (music + gain * decoded).astype(np.float32)
    return mixed


def _shape_like(samples: NDArray[np.float32], model: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples with the spectral envelope of others in 48 bands of equal ratio."""
    edges = np.geomspace(40, SAMPLE_RATE_HZ / 2, 49)
    levels = []
    for each in (samples, model):
        power = np.abs(_transform(each)) ** 2
        at = np.rint(edges * (len(power) - 1) / edges[-1]).astype(int)
        sums = np.add.reduceat(power, at[:-1]) / np.maximum(np.diff(at), 1)
        levels.append(10 * np.log10(sums + 1e-12))
    return _filter(samples, np.sqrt(edges[1:] * edges[:-1]), levels[1] - levels[0])


def _transform(samples: NDArray[np.float32]) -> NDArray[np.complex64]:
    from scipy import fft

    spectrum: NDArray[np.complex64] = fft.rfft(samples, fft.next_fast_len(len(samples), real=True))
    return spectrum


def _filter(
    samples: NDArray[np.float32], centres_hz: NDArray[np.float64], gains_db: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return samples with gains that are interpolated over the logarithm of frequency."""
    from scipy import fft

    spectrum = _transform(samples)
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum))
    gain = 10 ** (np.interp(np.log(hz + 1), np.log(centres_hz), gains_db) / 20)
    n_samples = fft.next_fast_len(len(samples), real=True)
    filtered: NDArray[np.float32] = fft.irfft(spectrum * gain.astype(np.float32), n_samples)
    return filtered[: len(samples)]


def process(samples: NDArray[np.float32], chain: Chain) -> Spectrum:
    """Return the spectrum of mono samples at 44.1 kHz after a chain of processing."""
    return Spectrum(comb_spectrum_db(run_chain(samples, chain)).astype(np.float32), chain.codec)


def run_chain(samples: NDArray[np.float32], chain: Chain) -> NDArray[np.float32]:
    """Return mono samples at 44.1 kHz after a chain of processing, ``(1, n_samples)``."""
    if any(chain.equaliser_db):
        centres_hz = np.geomspace(60, 16_000, len(chain.equaliser_db))
        samples = _filter(samples, centres_hz, np.array(chain.equaliser_db))
    samples = samples * np.float32(chain.peak / (np.abs(samples).max() + 1e-9))
    there = resample(samples[None], SAMPLE_RATE_HZ, chain.sample_rate_hz)
    if chain.codec is None:
        return resample(there, chain.sample_rate_hz, SAMPLE_RATE_HZ)
    suffix, encoder, _ = _CODERS[chain.codec]
    with TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        write_coded(path, there, chain.sample_rate_hz, codec=encoder, kbps=chain.kbps)
        n_samples = len(samples) + 8_192  # a codec may add some
        back = read_slice(path, 0, n_samples, sample_rate_hz=SAMPLE_RATE_HZ, mono=True)
    return np.atleast_2d(back)
