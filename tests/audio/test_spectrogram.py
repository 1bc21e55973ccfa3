from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.audio.clips import mix_first_two
from earwitness.audio.spectrogram import log_power_spectrogram

SMALL = {"n_fft": 64, "hop": 16, "n_bins": 33, "floor": 1e-10, "ceiling": 1e6}


def spectrogram(samples, **changes):
    return log_power_spectrogram(torch.as_tensor(samples), **SMALL | changes).numpy()


def noise(n_clips, n_samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (n_clips, n_samples)).astype(np.float32)


def slow_log_power(samples, *, n_fft, hop, n_bins, floor, ceiling):
    """One clip by the definition of the discrete Fourier transform."""
    n = np.arange(n_fft)
    window = np.sin(np.pi * n / n_fft) ** 2
    waves = np.exp(-2j * np.pi * np.outer(n, np.arange(n_bins)) / n_fft)
    starts = range(0, len(samples) - n_fft + 1, hop)
    frames = np.stack([samples[s : s + n_fft] * window for s in starts])
    return np.log10(np.clip(np.abs(frames @ waves) ** 2, floor, ceiling))


def test_is_what_the_definition_gives():
    samples = noise(3, 333)
    expected = np.stack([slow_log_power(row, **SMALL) for row in samples.astype(np.float64)])
    found = spectrogram(samples)
    assert found.shape == (3, 17, 33)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mean_spread_and_bins():
    samples = noise(1, 128)
    scaled = spectrogram(samples, mean=-4.0, spread=3.0, n_bins=5)
    np.testing.assert_allclose(scaled, (spectrogram(samples)[..., :5] + 4) / 3, atol=1e-6)


def test_floor_and_ceiling():
    clips = np.stack([np.zeros(64), np.full(64, 1e30)]).astype(np.float32)
    silent, loud = spectrogram(clips)
    assert (silent == -10).all()
    assert loud[0, 0] == 6
    assert np.isfinite(loud).all()


def test_a_loud_tone_leaves_no_rounding_noise_far_away():
    tone = np.cos(2 * np.pi * 8 * np.arange(64) / 64)[None].astype(np.float64)
    (frame,) = spectrogram(tone)[0]
    assert frame[8] == pytest.approx(2 * np.log10(16), abs=1e-5)
    assert (frame[12:] < -9.9).all()


@pytest.mark.parametrize("n_clips", [1, 2, 9])
def test_clips_do_not_touch_each_other(n_clips):
    samples = noise(9, 500)
    np.testing.assert_array_equal(spectrogram(samples[:n_clips]), spectrogram(samples)[:n_clips])


@settings(deadline=None, max_examples=50)
@given(gain=st.floats(0.01, 100))
def test_ten_times_the_power_is_one_more(gain):
    samples = noise(1, 64).astype(np.float64)
    shift = spectrogram(samples * gain, floor=1e-300) - spectrogram(samples, floor=1e-300)
    np.testing.assert_allclose(shift, 2 * np.log10(gain), atol=1e-5)


def test_mix_takes_the_first_two_channels():
    channels = noise(4, 50)
    np.testing.assert_array_equal(mix_first_two(channels[:1]), channels[0])
    np.testing.assert_allclose(mix_first_two(channels), (channels[0] + channels[1]) / 2, rtol=1e-5)
    assert mix_first_two(channels).dtype == np.float32


def test_mix_does_not_overflow():
    loud = np.full((2, 3), 3e38, np.float32)
    np.testing.assert_array_equal(mix_first_two(loud), loud[0])
