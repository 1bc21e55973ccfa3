"""Tracks: repeatable, stereo, full-band, never silent and never clipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.demo.music import PEAK, compose, draw_track, render
from earwitness.demo.score import draw_artist

ARTIST = draw_artist(np.random.default_rng(3), "anyone")


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    return compose((1, 2), ARTIST, length_s=6.0)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32), length_s=st.floats(0.3, 2.0))
def test_any_track_has_its_length_and_peak(seed: int, length_s: float) -> None:
    artist = draw_artist(np.random.default_rng(seed), "anyone")
    samples = compose(seed, artist, length_s=length_s)
    assert samples.dtype == np.float32
    assert samples.shape == (2, round(length_s * 44_100))
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-5)


def test_the_same_seed_gives_the_same_samples(track: np.ndarray) -> None:
    np.testing.assert_array_equal(compose((1, 2), ARTIST, length_s=6.0), track)
    assert not np.array_equal(compose((1, 3), ARTIST, length_s=6.0), track)


def test_a_plan_can_be_played_twice() -> None:
    plan = draw_track(np.random.default_rng(0), ARTIST, length_s=1.0)
    np.testing.assert_array_equal(render(plan), render(plan))


def test_every_half_second_sounds_and_the_track_is_about_as_loud_as_music(
    track: np.ndarray,
) -> None:
    halves = track[:, : 12 * 22_050].reshape(2, 12, 22_050)
    assert (halves.std(axis=2) > 0.02).all()
    assert -20 < 20 * np.log10(track.std()) < -10


def test_the_spectrum_reaches_20_khz_and_falls_towards_it(track: np.ndarray) -> None:
    frames = track[0, : 64 * 4096].reshape(64, 4096) * np.hanning(4096)
    level_db = 10 * np.log10((np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0))
    frequency = np.fft.rfftfreq(4096, 1 / 44_100)

    def band(low: float, high: float) -> float:
        return float(level_db[(frequency >= low) & (frequency < high)].mean())

    assert band(200, 2_000) > band(5_000, 10_000) > band(16_000, 20_000)
    assert band(16_000, 20_000) > band(200, 2_000) - 60


def test_left_and_right_differ_but_belong_together(track: np.ndarray) -> None:
    assert 0.5 < np.corrcoef(track)[0, 1] < 0.995


def test_a_track_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected more than 0 s"):
        compose(0, ARTIST, length_s=0.0)
