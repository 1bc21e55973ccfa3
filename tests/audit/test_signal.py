"""Measures of signals made to have known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from earwitness.audit.signal import LOWEST_DB, measure_channel

RATE = 44_100


def noise(seconds: float = 2.0, *, channels: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (channels, round(seconds * RATE))).astype(np.float32)


def below(samples: np.ndarray, hz: float) -> np.ndarray:
    """Return the samples without anything above a frequency."""
    spectrum = np.fft.rfft(samples)
    spectrum[:, np.fft.rfftfreq(samples.shape[1], 1 / RATE) > hz] = 0
    return np.fft.irfft(spectrum, samples.shape[1]).astype(np.float32)


def test_peak_crest_and_offset_of_a_known_wave() -> None:
    times = np.arange(RATE) / RATE
    wave = (0.5 * np.sin(2 * np.pi * 441 * times)).astype(np.float32)[None]
    plain, shifted = measure_channel(wave, RATE), measure_channel(wave + np.float32(0.25), RATE)
    assert plain.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert plain.crest_db == pytest.approx(3.01, abs=0.01)
    assert plain.dc_offset == pytest.approx(0, abs=1e-6)
    assert shifted.dc_offset == pytest.approx(0.25 / np.hypot(0.25, 0.5 / np.sqrt(2)), abs=1e-6)
    assert plain.stereo_correlation is None


def test_silence_is_measured_at_both_ends() -> None:
    sound = noise(1.0)
    gap = np.zeros((2, RATE // 2), dtype=np.float32)
    found = measure_channel(np.concatenate([gap, sound, gap, sound, gap, gap], axis=1), RATE)
    assert found.lead_silence_s == pytest.approx(0.5, abs=0.02)
    assert found.trail_silence_s == pytest.approx(1.0, abs=0.02)
    assert found.silence_share == pytest.approx(0.5, abs=0.02)
    assert found.zero_share == pytest.approx(0.5, abs=1e-4)


def test_an_odd_length_is_no_silence_at_the_end() -> None:
    assert measure_channel(noise(1.0)[:, :-133], RATE).trail_silence_s == 0


def test_faint_noise_is_silence_and_no_zeros() -> None:
    found = measure_channel(noise(1.0) * np.float32(1e-3), RATE)
    assert (found.silence_share, found.zero_share) == (1.0, 0.0)
    assert found.lead_silence_s == found.trail_silence_s == pytest.approx(1.0)


def test_nothing_but_zeros_has_no_level_and_no_band() -> None:
    found = measure_channel(np.zeros((2, RATE), dtype=np.float32), RATE)
    assert found.zero_share == found.silence_share == 1.0
    undefined = {name for name, value in found._asdict().items() if value is None}
    assert undefined == {
        *("peak_dbfs", "loudness_lufs", "crest_db", "dc_offset", "stereo_correlation"),
        *("bandwidth_hz", "band_edge_hz", "below_40_db", "above_8k_db", "above_16k_db", "floor_db"),
        *("bit_depth", "quiet_db", "stereo_width_db", "balance_db"),
    }


def test_only_runs_at_full_scale_are_clipped() -> None:
    sound = noise(1.0, channels=1)
    sound[0, [100, 200, 201]] = 1.0
    assert measure_channel(sound, RATE).clipped_share == 0
    sound[0, 300:310] = -1.0
    assert measure_channel(sound, RATE).clipped_share == pytest.approx(10 / RATE)


@pytest.mark.parametrize("hz", [4_000, 11_025, 16_000, 20_000])
def test_the_band_ends_where_sound_does(hz: float) -> None:
    found = measure_channel(below(noise(4.0), hz), RATE)
    assert found.bandwidth_hz == pytest.approx(hz, abs=100)


def test_power_above_a_frequency_is_its_share_of_the_band() -> None:
    found = measure_channel(noise(4.0), RATE)
    assert found.above_8k_db == pytest.approx(10 * np.log10(1 - 8_000 / 22_050), abs=0.1)
    assert found.above_16k_db == pytest.approx(10 * np.log10(1 - 16_000 / 22_050), abs=0.1)
    low = measure_channel(noise(4.0)[:, ::4], 11_025)
    assert low.above_8k_db == low.above_16k_db == LOWEST_DB


def test_the_floor_falls_where_the_top_is_empty() -> None:
    full, cut = (measure_channel(s, RATE) for s in (noise(), below(noise(), 15_000)))
    assert full.floor_db - cut.floor_db > 60


def test_correlation_of_channels() -> None:
    left, right = noise(2.0, channels=1, seed=1), noise(2.0, channels=1, seed=2)
    for pair, expected in (((left, left), 1), ((left, -left), -1), ((left, right), 0)):
        found = measure_channel(np.concatenate(pair), RATE).stereo_correlation
        assert found == pytest.approx(expected, abs=0.02)


def test_an_offset_is_no_sound_and_hides_no_silence() -> None:
    gap = np.zeros((2, RATE // 2), dtype=np.float32)
    plain = np.concatenate([gap, noise(1.0), gap], axis=1)
    found = [measure_channel(one, RATE) for one in (plain, plain + np.float32(0.02))]
    names = ("lead_silence_s", "trail_silence_s", "silence_share", "lead_zeros_s", "zero_share")
    for name in (*names, "quiet_db", "below_40_db", "balance_db"):
        assert getattr(found[1], name) == pytest.approx(getattr(found[0], name), abs=0.01)
    assert found[0].lead_zeros_s == pytest.approx(0.5, abs=1e-4)


def test_a_few_equal_samples_are_no_digital_silence() -> None:
    sound = noise(1.0)
    sound[:, :20] = 0
    found = measure_channel(sound, RATE)
    assert (found.lead_zeros_s, found.zero_share) == (0, 0)


@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_bit_depth_is_that_of_the_samples(bits: int) -> None:
    grid = np.float32(2 ** (bits - 1))
    coarse = np.rint(noise(0.5) * grid) / grid
    assert measure_channel(coarse.astype(np.float32), RATE).bit_depth == bits
    assert measure_channel(coarse.astype(np.float32) * np.float32(0.7), RATE).bit_depth is None


@pytest.mark.parametrize("hz", [4_000, 10_000, 16_000])
def test_the_edge_of_a_low_pass_is_where_the_spectrum_falls(hz: float) -> None:
    steep = signal.ellip(10, 0.1, 70, hz, fs=RATE, output="sos")
    tilted = signal.lfilter([1], [1, -0.9], noise(4.0))
    found = measure_channel(signal.sosfilt(steep, tilted).astype(np.float32), RATE)
    assert found.band_edge_hz == pytest.approx(hz, abs=700)


def test_power_below_40_hz() -> None:
    times = np.arange(4 * RATE) / RATE
    low, high = (np.sin(2 * np.pi * hz * times).astype(np.float32) for hz in (25, 1_000))
    found = measure_channel((low + high)[None] / 4, RATE)
    assert found.below_40_db == pytest.approx(-3.01, abs=0.1)
    assert measure_channel(high[None] / 4, RATE).below_40_db < -50


def test_stereo_width_and_balance() -> None:
    left, right = noise(2.0, channels=1, seed=1)[0], noise(2.0, channels=1, seed=2)[0]
    middle, side = (left + right) / 2, (left - right) / 2
    narrow, wide = (
        measure_channel(np.stack([middle + k * side, middle - k * side]), RATE) for k in (0.5, 1.0)
    )
    assert wide.stereo_width_db - narrow.stereo_width_db == pytest.approx(6.02, abs=0.5)
    mono, turned = (measure_channel(np.stack([left, k * left]), RATE) for k in (1, -1))
    assert (mono.stereo_width_db, turned.stereo_width_db) == pytest.approx((-80, 80))
    louder = measure_channel(np.stack([left, right / 2]), RATE)
    assert louder.balance_db == pytest.approx(6.02, abs=0.1)
    swapped = measure_channel(np.stack([right / 2, left]), RATE)
    assert swapped.balance_db == pytest.approx(-louder.balance_db)


def test_the_quietest_passages() -> None:
    sound = noise(2.0)
    sound[:, :RATE] *= np.float32(0.01)
    assert measure_channel(sound, RATE).quiet_db == pytest.approx(-37, abs=1)


@given(st.floats(-12, 12))
def test_gain_moves_levels_alone(gain_db: float) -> None:
    sound = noise(0.5, channels=2)
    plain = measure_channel(sound, RATE)
    loud = measure_channel(sound * np.float32(10 ** (gain_db / 20)), RATE)
    assert loud.peak_dbfs == pytest.approx(plain.peak_dbfs + gain_db, abs=1e-3)
    for name in ("crest_db", "bandwidth_hz", "above_8k_db", "floor_db", "stereo_correlation"):
        assert getattr(loud, name) == pytest.approx(getattr(plain, name), abs=1e-3)


@given(st.integers(1, 3_000))
def test_any_length_has_measures(n_samples: int) -> None:
    found = measure_channel(noise(0.1)[:, :n_samples], RATE)
    assert 0 <= found.silence_share <= 1
    assert found.lead_silence_s <= n_samples / RATE
