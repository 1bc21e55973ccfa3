"""What holds nothing to analyse, and what is quiet and yet does."""

from __future__ import annotations

import numpy as np
import pytest

from earwitness.audio.clips import describe_lack
from earwitness.core.cards import ClipContract, ContentNeed

RATE_HZ = 44_100
CONTRACT = ClipContract(sample_rate_hz=RATE_HZ)
N = 3 * RATE_HZ
STEP = 2.0**-15  # of 16-bit audio


def seconds() -> np.ndarray:
    return np.arange(N) / RATE_HZ


def tone(hz: float, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * hz * seconds())


def lack(*channels: np.ndarray, **given: object) -> str | None:
    return describe_lack(np.stack(channels).astype(np.float32), CONTRACT, **given)  # type: ignore[arg-type]


def dither(seed: int = 0) -> np.ndarray:
    """Triangular dither of one step, rounded to 16 bits: what silence is in a mastered file."""
    rng = np.random.default_rng(seed)
    return np.round(rng.uniform(-0.5, 0.5, N) + rng.uniform(-0.5, 0.5, N)) * STEP


SILENT = {
    "digital silence": np.zeros(N),
    "minus zero": np.full(N, -0.0),
    "a constant": np.full(N, 0.25),
    "denormals": np.random.default_rng(0).choice([0.0, 1e-41, -3e-42], N),
    "the smallest normal numbers": np.random.default_rng(0).standard_normal(N) * 1e-37,
    "dither": dither(),
    "dither upon a constant": dither() + 0.25,
    "one step that toggles now and then": STEP * (np.arange(N) % 1000 == 0),
    "a constant at which a slow drift begins": 0.2 + 1e-5 * seconds(),
}


@pytest.mark.parametrize("name", SILENT)
def test_nothing_to_analyse(name: str) -> None:
    assert (lack(SILENT[name]) or "").startswith("nothing to analyse (")
    assert lack(SILENT[name], SILENT[name]) == lack(SILENT[name])


def test_reasons_name_what_was_found_and_what_is_needed() -> None:
    assert lack(np.zeros(N)) == "nothing to analyse (digital silence)"
    assert lack(np.full(N, -0.5)) == "nothing to analyse (a constant level)"
    expected = "nothing to analyse (at most -97 dBFS from 0 to 22050 Hz, needs -90 dBFS)"
    assert lack(tone(1_000, 2**0.5 * 10 ** (-97 / 20))) == expected


@pytest.mark.parametrize("hz", [30.0, 440.0, 5_000.0, 21_000.0])
@pytest.mark.parametrize(("level_dbfs", "is_lacking"), [(-88.0, False), (-92.0, True)])
def test_the_limit_is_where_the_card_says(hz: float, level_dbfs: float, is_lacking: bool) -> None:
    wave = tone(hz, 2**0.5 * 10 ** (level_dbfs / 20)) + 0.3
    assert (lack(wave) is not None) == is_lacking


def test_only_the_band_of_the_detector_counts() -> None:
    band = {"band_hz": (5_000.0, 16_000.0)}
    assert lack(tone(1_000), **band) is not None
    assert lack(tone(18_000), **band) is not None
    assert lack(tone(6_000), **band) is None


def test_a_short_sound_in_long_silence_is_content() -> None:
    for at in (0, 777, N - 500):
        wave = np.zeros(N)
        wave[at : at + 500] = tone(3_000)[:500]
        assert lack(wave) is None


def test_one_channel_is_enough_unless_a_detector_hears_the_first_two_alone() -> None:
    silence, sound = np.zeros(N), tone(440)
    first_two = ContentNeed(mix="first_two")
    assert lack(silence, sound) is None
    assert lack(sound, -sound) is None
    assert lack(sound, -sound, needs=first_two) == "nothing to analyse (digital silence)"
    assert lack(silence, silence, sound, needs=first_two) is not None


@pytest.mark.parametrize("n_samples", [1, 2, 3, 100, 16_383, 16_385])
def test_clips_of_any_length(n_samples: int) -> None:
    noise = np.random.default_rng(1).standard_normal((1, n_samples)).astype(np.float32)
    assert (describe_lack(noise, CONTRACT) is None) == (n_samples > 1)
    assert describe_lack(0 * noise, CONTRACT) is not None
