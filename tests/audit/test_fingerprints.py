from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from earwitness.audit.near_duplicates.fingerprints import (
    FRAME,
    HOP,
    N_CLASSES,
    RATE_HZ,
    fingerprint,
    time_chroma,
)


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def share_of_wrong_bits(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    return float(np.bitwise_count(one ^ other).mean()) / 32


def test_a_word_for_every_frame_but_the_first() -> None:
    sound = noise(3)
    assert len(fingerprint(sound)) == (len(sound) - FRAME) // HOP
    assert fingerprint(sound).dtype == np.uint32


@pytest.mark.parametrize("n", [0, 1, FRAME - 1, FRAME, FRAME + HOP - 1])
def test_less_than_two_frames_give_no_word(n: int) -> None:
    assert len(fingerprint(noise(1)[:n])) == 0


def test_words_are_invariant_to_loudness() -> None:
    sound = noise(2)
    np.testing.assert_array_equal(fingerprint(sound), fingerprint(sound * np.float32(0.25)))


def test_words_survive_a_shift_by_half_a_hop_and_unrelated_ones_share_none() -> None:
    sound = noise(4)
    words, shifted = fingerprint(sound[: -HOP // 2]), fingerprint(sound[HOP // 2 :])
    n = min(len(words), len(shifted))
    assert share_of_wrong_bits(words[:n], shifted[:n]) < 0.1
    strange = fingerprint(noise(4, seed=1))
    assert share_of_wrong_bits(words[:n], strange[:n]) > 0.45


def test_silence_has_no_words() -> None:
    sound = np.concatenate([np.zeros(RATE_HZ, dtype=np.float32), noise(1)])
    words = fingerprint(sound)
    n_silent = (RATE_HZ - FRAME) // HOP
    assert not words[: n_silent - 1].any()
    assert (words[n_silent + FRAME // HOP :] != 0).mean() > 0.99


def test_chroma_is_invariant_to_loudness_and_octave() -> None:
    times = np.arange(8 * RATE_HZ) / RATE_HZ
    melody = np.repeat([0, 3, 7, 5, 2, 10, 8, 1], RATE_HZ)

    def play(base_hz: float, level: float) -> NDArray[np.float32]:
        phase = np.cumsum(base_hz * 2 ** (melody / 12)) / RATE_HZ
        return (level * np.sin(2 * np.pi * phase)).astype(np.float32)

    one, other = time_chroma(play(220, 0.5)), time_chroma(play(440, 0.05))
    assert one.shape == (((len(times) - 4_096) // 688) + 1, N_CLASSES)
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.6


def test_chroma_of_silence_and_of_nothing() -> None:
    assert not time_chroma(np.zeros(2 * RATE_HZ, dtype=np.float32)).any()
    assert time_chroma(np.zeros(10, dtype=np.float32)).shape == (0, N_CLASSES)
