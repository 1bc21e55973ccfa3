from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from earwitness.detectors.fakeprint import fakeprint, mean_spectrum_db

CASES = {
    "stereo44k1_20s_5k-16k": ("stereo44k1_20s.flac", 44_100, (5_000.0, 16_000.0)),
    "mono44k1_8s_5k-16k": ("mono44k1_8s.flac", 44_100, (5_000.0, 16_000.0)),
    "stereo48k_10s_5k-16k": ("stereo48k_10s.wav", 44_100, (5_000.0, 16_000.0)),
    "mono16k_130s_sr16000_1k-8k": ("mono16k_130s.flac", 16_000, (1_000.0, 8_000.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_published_fakeprints(shared: Path, case: str) -> None:
    name, rate, band = CASES[case]
    samples, native = soundfile.read(shared / "golden" / "audio" / name, always_2d=True)
    if native != rate:
        samples = soxr.resample(samples, native, rate, quality="HQ")
    vector = fakeprint(
        samples.T.astype(np.float32), sample_rate_hz=rate, band_hz=band, n_fft=16_384
    )
    expected = np.load(shared / "golden" / "fakeprint" / "expected.npz")[case]
    assert vector.shape == expected.shape
    assert np.abs(vector - expected).mean() < 2e-3


def tone(hz: float, rate: int, n: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(n) / rate).astype(np.float32)[None]


def test_a_tone_is_a_peak_at_its_frequency() -> None:
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal((1, 2**20)).astype(np.float32)
    vector = fakeprint(
        noise + 0.01 * tone(9_000, 44_100, 2**20),
        sample_rate_hz=44_100,
        band_hz=(5_000, 16_000),
        n_fft=16_384,
    )
    frequencies = np.linspace(0, 22_050, 8_193)
    inside = frequencies[(frequencies > 5_000) & (frequencies < 16_000)]
    assert abs(inside[vector.argmax()] - 9_000) < 8  # bins are 2.7 Hz apart
    assert vector.max() <= 1


@pytest.mark.parametrize("n_samples", [1_800, 40_000])
def test_the_spectrum_is_the_mean_of_the_levels_of_frames(n_samples: int) -> None:
    samples = np.random.default_rng(1).standard_normal((2, n_samples)).astype(np.float32)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    padded = np.pad(samples.astype(np.float64), ((0, 0), (256, 256)), mode="reflect")
    starts = range(0, padded.shape[1] - 511, 256)
    frames = np.concatenate([padded[:, at : at + 512] for at in starts])
    expected = (10 * np.log10(np.abs(np.fft.rfft(frames * window)) ** 2)).mean(axis=0)
    for dtype in (np.float32, np.float64):
        spectrum = mean_spectrum_db(samples, n_fft=512, hop=256, dtype=dtype)
        np.testing.assert_allclose(spectrum, expected, atol=1e-3)


def test_the_spectrum_of_a_full_scale_tone() -> None:
    """A periodic Hann window passes half of a tone's amplitude: |X| = n_fft / 4 on its bin."""
    spectrum = mean_spectrum_db(tone(44_100 / 512 * 64, 44_100, 512_000), n_fft=512, hop=256)
    assert spectrum.argmax() == 64
    assert abs(spectrum.max() - 20 * np.log10(512 / 4)) < 0.05


def test_silence_has_no_fakeprint() -> None:
    vector = fakeprint(
        np.zeros((1, 20_000), np.float32), sample_rate_hz=44_100, band_hz=(5e3, 16e3), n_fft=16_384
    )
    assert vector.max() == 0
