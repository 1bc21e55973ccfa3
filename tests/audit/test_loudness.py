"""Loudness against the signals and figures that the recommendations publish."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.audit.signal import integrated_loudness, weighting_filters


def tones(*parts: tuple[float, float], rate: int = 48_000, channels: int = 2) -> np.ndarray:
    """Return a 1 kHz tone of ``(peak level in dBFS, seconds)`` after another."""
    levels = np.concatenate([np.full(round(s * rate), 10 ** (db / 20)) for db, s in parts])
    tone = levels * np.sin(2 * np.pi * 1000 * np.arange(len(levels)) / rate)
    return np.repeat(tone[None], channels, axis=0).astype(np.float32)


def test_filters_at_48_khz_are_those_of_bs_1770() -> None:
    shelf, high_pass = weighting_filters(48_000)
    published = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    published += [1.0, -1.69065929318241, 0.73248077421585]
    assert shelf == pytest.approx(published, abs=1e-9)
    assert high_pass == pytest.approx(
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621], abs=1e-9
    )


def test_a_full_scale_997_hz_sine_in_one_channel_is_at_minus_3_01() -> None:
    times = np.arange(48_000 * 5) / 48_000
    sine = np.sin(2 * np.pi * 997 * times).astype(np.float32)
    assert integrated_loudness(sine[None], 48_000) == pytest.approx(-3.01, abs=0.01)


# EBU Tech 3341, table 1, cases 1 to 5: stereo 1 kHz tones, within 0.1 LU.
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
def test_signals_of_ebu_tech_3341(parts: list[tuple[float, float]], expected: float) -> None:
    assert integrated_loudness(tones(*parts), 48_000) == pytest.approx(expected, abs=0.1)


def test_surround_channels_count_more_and_the_low_frequency_channel_not_at_all() -> None:
    tone = tones((-23, 5), channels=1)[0]
    silent = np.zeros_like(tone)
    front, effects, surround = (
        integrated_loudness(np.stack([tone if n == at else silent for n in range(6)]), 48_000)
        for at in (0, 3, 4)
    )
    assert math.isnan(effects)
    assert surround - front == pytest.approx(10 * math.log10(1.41), abs=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 96_000])
def test_any_rate_gives_the_same(rate: int) -> None:
    assert integrated_loudness(tones((-23, 5), rate=rate), rate) == pytest.approx(-23, abs=0.2)


def test_what_is_too_quiet_too_short_or_too_low_has_no_loudness() -> None:
    assert math.isnan(integrated_loudness(tones((-80, 5)), 48_000))
    assert math.isnan(integrated_loudness(tones((-23, 0.39)), 48_000))
    assert math.isnan(integrated_loudness(tones((-23, 5), rate=6_000), 6_000))


@given(st.floats(-20, 20))
def test_gain_moves_loudness_by_as_much(gain_db: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 16_000)).astype(np.float32)
    louder = noise * np.float32(10 ** (gain_db / 20))
    moved = integrated_loudness(louder, 16_000) - integrated_loudness(noise, 16_000)
    assert moved == pytest.approx(gain_db, abs=1e-3)
