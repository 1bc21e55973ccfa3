"""Synthetic music: instruments, artists and their notes, tracks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.demo import music
from earwitness.demo.music import NOISE_SAMPLES, PEAK, Bar, compose, draw_artist, draw_events

PITCHED = ("pluck", "electric_piano", "organ", "pad", "lead", "bass")
DRUMS = ("kick", "snare", "hat")
NOISE = np.random.default_rng(5).standard_normal(100_000, dtype=np.float32)


def _play(name: str, frequency_hz: float, length_s: float) -> np.ndarray:
    t = np.arange(round(length_s * 44_100), dtype=np.float32) / np.float32(44_100)
    return getattr(music, name)(frequency_hz, t, NOISE)


@pytest.mark.parametrize("name", PITCHED + DRUMS)
@pytest.mark.parametrize("length_s", [0.05, 0.4, 2.0])
def test_a_note_is_as_long_as_asked_sounds_and_ends_softly(name: str, length_s: float) -> None:
    note = _play(name, 220.0, length_s)
    assert note.dtype == np.float32
    assert note.shape == (round(length_s * 44_100),)
    assert np.isfinite(note).all()
    assert 0.1 < np.abs(note).max() < 2.5
    assert abs(note[-1]) < 0.02


@pytest.mark.parametrize("name", PITCHED)
@pytest.mark.parametrize("frequency_hz", [82.4, 220.0, 659.3])
def test_pitch_is_within_a_quarter_tone(name: str, frequency_hz: float) -> None:
    """Half and whole multiples of the pitch are strong, what lies between them is not."""
    note = _play(name, frequency_hz, 1.5)[5000:]
    power = np.abs(np.fft.rfft(note * np.hanning(note.size))) ** 2
    ratio = np.fft.rfftfreq(note.size, 1 / 44_100) / frequency_hz
    low = (ratio > 0.25) & (ratio < 6.75)
    offset = np.abs(ratio * 2 - np.round(ratio * 2)) / 2
    near = offset < 0.03 * np.maximum(ratio, 1)
    assert power[low & near].sum() > 0.9 * power[low].sum()
    fundamental = ratio[low][np.argmax(power[low])]
    nearest = round(2 * fundamental) / 2
    assert fundamental == pytest.approx(nearest, rel=0.029)


def test_hats_and_snares_reach_20_khz() -> None:
    for name in ("hat", "snare"):
        stroke = _play(name, 200.0, 0.3)
        power = np.abs(np.fft.rfft(stroke)) ** 2
        frequency = np.fft.rfftfreq(stroke.size, 1 / 44_100)
        top = power[(frequency > 16_000) & (frequency < 20_000)].mean()
        middle = power[(frequency > 4_000) & (frequency < 8_000)].mean()
        assert 10 * np.log10(top / middle) > -12


def test_no_instrument_changes_its_noise() -> None:
    before = NOISE.copy()
    for name in PITCHED + DRUMS:
        _play(name, 220.0, 0.3)
    np.testing.assert_array_equal(NOISE, before)


SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, length_s=st.floats(1, 30))
def test_every_note_can_be_played(seed: int, length_s: float) -> None:
    rng = np.random.default_rng(seed)
    artist = draw_artist(rng)
    events = draw_events(rng, artist, length_s)
    assert max(event.start_s for event in events) > length_s - 4
    for event in events:
        assert event.start_s >= 0
        assert 0 < event.length_s <= 2.0
        assert event.take + event.length_s * 44_100 < NOISE_SAMPLES
        assert 20 < event.frequency_hz < 5_000
        assert -1 <= event.pan <= 1
        assert 0 < event.gain < 1


@settings(deadline=None, max_examples=10)
@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_artist(seed: int) -> None:
    first, again = (draw_artist(np.random.default_rng(seed)) for _ in range(2))
    assert first == again


def test_artists_differ_and_keep_their_instruments() -> None:
    artists = [draw_artist(np.random.default_rng(k)) for k in range(20)]
    assert len({(a.chords.__name__, a.melody.__name__) for a in artists}) > 5
    drums = {music.kick, music.snare, music.hat, music.bass}
    for seed in range(3):
        events = draw_events(np.random.default_rng(seed), artists[0], 8.0)
        assert {e.instrument for e in events} - drums == {artists[0].chords, artists[0].melody}


def test_pitches_follow_the_scale() -> None:
    artist = draw_artist(np.random.default_rng(0))
    bar = Bar(artist, 45, 2, 0.0, 0.1)
    assert bar.pitch_hz(1, 3) == 2 * bar.pitch_hz(0, 3)
    assert bar.pitch_hz(0, 7) == 2 * bar.pitch_hz(0, 0)
    assert Bar(artist, 69, 0, 0.0, 0.1).pitch_hz(0, 0) == artist.tuning_hz


def test_no_two_strokes_of_a_track_share_their_noise() -> None:
    rng = np.random.default_rng(1)
    events = draw_events(rng, draw_artist(rng), 8.0)
    takes = [event.take for event in events if event.instrument is music.hat]
    assert len(set(takes)) > 0.9 * len(takes) > 10


ARTIST = draw_artist(np.random.default_rng(3))


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    return compose((1, 2), ARTIST, length_s=6.0)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32), length_s=st.floats(0.3, 2.0))
def test_any_track_has_its_length_and_peak(seed: int, length_s: float) -> None:
    artist = draw_artist(np.random.default_rng(seed))
    samples = compose(seed, artist, length_s=length_s)
    assert samples.dtype == np.float32
    assert samples.shape == (2, round(length_s * 44_100))
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-5)


def test_the_same_seed_gives_the_same_samples(track: np.ndarray) -> None:
    np.testing.assert_array_equal(compose((1, 2), ARTIST, length_s=6.0), track)
    assert not np.array_equal(compose((1, 3), ARTIST, length_s=6.0), track)


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
