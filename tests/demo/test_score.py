"""Artists and their notes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.demo import score
from earwitness.demo.score import NOISE_SAMPLES, Bar, draw_artist, draw_events

SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, length_s=st.floats(1, 30))
def test_every_note_can_be_played(seed: int, length_s: float) -> None:
    rng = np.random.default_rng(seed)
    artist = draw_artist(rng, "anyone")
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
    first, again = (draw_artist(np.random.default_rng(seed), "twin") for _ in range(2))
    assert first == again


def test_artists_differ_and_keep_their_instruments() -> None:
    artists = [draw_artist(np.random.default_rng(k), str(k)) for k in range(20)]
    assert len({(a.chords.__name__, a.tune.__name__) for a in artists}) > 5
    drums = {score.kick, score.snare, score.hat, score.bass}
    for seed in range(3):
        events = draw_events(np.random.default_rng(seed), artists[0], 8.0)
        assert {e.play for e in events} - drums == {artists[0].chords, artists[0].tune}


def test_pitches_follow_the_scale() -> None:
    artist = draw_artist(np.random.default_rng(0), "anyone")
    bar = Bar(artist, 45, 2, 0.0, 0.1)
    assert bar.pitch_hz(1, 3) == 2 * bar.pitch_hz(0, 3)
    assert bar.pitch_hz(0, 7) == 2 * bar.pitch_hz(0, 0)
    assert Bar(artist, 69, 0, 0.0, 0.1).pitch_hz(0, 0) == artist.tuning_hz


def test_no_two_strokes_of_a_track_share_their_noise() -> None:
    rng = np.random.default_rng(1)
    events = draw_events(rng, draw_artist(rng, "anyone"), 8.0)
    takes = [event.take for event in events if event.play is score.hat]
    assert len(set(takes)) > 0.9 * len(takes) > 10
