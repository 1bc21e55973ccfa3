"""Music and boxes that tests of ``box`` are built on."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.detectors.box import N_HIDDEN, Networks, box_card, save_box
from earwitness.detectors.box_features import FEATURES

RATE = 44_100


def synthetic_music(seed: int, *, seconds: float) -> NDArray[np.float32]:
    """Return notes with vibrato over noise, mono at 44.1 kHz."""
    return _make_music(seed, seconds).copy()


@cache
def _make_music(seed: int, seconds: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE)) / RATE
    white = np.fft.rfft(rng.standard_normal(len(time_s)))
    noise = np.fft.irfft(white / np.sqrt(np.arange(len(white)) + 1.0), len(time_s))
    music = 0.02 * noise / noise.std()
    for start_s in np.arange(0, seconds, 0.5):
        hz = 110 * 2 ** (rng.integers(36) / 12)
        age_s = time_s - start_s - rng.uniform(0, 0.1)
        sounds = (age_s > 0) & (age_s < 5)  # after that it is 130 dB lower
        age_s = age_s[sounds]
        turn = np.exp(2j * np.pi * hz * age_s + 0.3j * np.sin(2 * np.pi * 5 * age_s))
        wave, harmonic = np.zeros(len(age_s)), np.ones(len(age_s), dtype=complex)
        for k in range(1, 9):
            harmonic *= turn
            wave += harmonic.imag / k
        music[sounds] += 0.05 * np.exp(-3 * age_s) * wave
    return music.astype(np.float32)


def write_box(folder: Path, seed: int = 0) -> None:
    """Write a box with small random weights."""
    rng = np.random.default_rng(seed)
    sizes = (len(FEATURES), *N_HIDDEN, 1)
    pairs = list(pairwise(sizes))
    networks = Networks(
        np.zeros(len(FEATURES), dtype=np.float32),
        np.ones(len(FEATURES), dtype=np.float32),
        tuple((0.1 * rng.standard_normal((2, *pair))).astype(np.float32) for pair in pairs),
        tuple(np.zeros((2, pair[1]), dtype=np.float32) for pair in pairs),
        limit=8.0,
        tail=1.5,
    )
    save_box(box_card(name="box", trained_on=(), selected_on=()), networks, folder)
