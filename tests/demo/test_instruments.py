"""Notes and drum strokes: finite, in tune, full-band where they should be."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.demo import score

PITCHED = ("pluck", "electric_piano", "organ", "pad", "lead", "bass")
DRUMS = ("kick", "snare", "hat")
NOISE = np.random.default_rng(5).standard_normal(100_000, dtype=np.float32)


def _play(name: str, frequency_hz: float, length_s: float) -> np.ndarray:
    return getattr(score, name)(frequency_hz, length_s, NOISE)


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


def test_no_instrument_touches_the_noise_it_is_given() -> None:
    before = NOISE.copy()
    for name in PITCHED + DRUMS:
        _play(name, 220.0, 0.3)
    np.testing.assert_array_equal(NOISE, before)
