from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earwitness.audio.clips import Window, pad_clip, place_windows
from earwitness.core.cards import ClipContract


def contract(clip: int | None = None, longest: int | None = None) -> ClipContract:
    return ClipContract(sample_rate_hz=100, clip_samples=clip, max_samples=longest)


def test_one_window_lies_in_the_centre_as_published() -> None:
    assert place_windows(1_323_648, contract(34_398)) == [Window(644_625, 34_398)]


def test_one_window_three_quarters_on_as_published() -> None:
    later = ClipContract(sample_rate_hz=100, clip_samples=20, crop="three_quarters")
    assert place_windows(100, later) == [Window(60, 20)]
    assert place_windows(119, later) == [Window(74, 20)]  # of 74.25
    assert place_windows(119, later, 1) == [Window(49, 20)]
    assert place_windows(15, later) == [Window(0, 15)]


def test_all_lie_back_to_back_and_the_last_ends_at_the_end() -> None:
    assert place_windows(60, contract(20), "all") == [Window(0, 20), Window(20, 20), Window(40, 20)]
    assert [w.start for w in place_windows(65, contract(20), "all")] == [0, 20, 40, 45]


@given(st.integers(1, 500), st.integers(1, 200))
def test_all_cover_the_whole_file(n_samples: int, clip: int) -> None:
    windows = place_windows(n_samples, contract(clip), "all")
    covered = {at for start, length in windows for at in range(start, start + length)}
    assert covered == set(range(n_samples))
    assert len(windows) == -(-n_samples // clip)


def test_several_reach_from_start_to_end() -> None:
    assert place_windows(100, contract(20), 3) == [Window(0, 20), Window(40, 20), Window(80, 20)]


def test_whole_files_up_to_a_limit() -> None:
    assert place_windows(100, contract(), 4) == [Window(0, 100)]
    assert place_windows(100, contract(longest=60)) == [Window(20, 60)]


@given(st.integers(1, 500), st.integers(1, 200), st.integers(1, 20))
def test_windows_lie_inside_and_in_order(n_samples: int, clip: int, n_windows: int) -> None:
    windows = place_windows(n_samples, contract(clip), n_windows)
    assert 1 <= len(windows) <= n_windows
    assert [w.start for w in windows] == sorted({w.start for w in windows})
    for start, length in windows:
        assert length == min(clip, n_samples)
        assert 0 <= start <= n_samples - length


def test_padding_is_at_the_end() -> None:
    padded = pad_clip(np.ones((2, 3), np.float32), 5)
    assert padded.tolist() == [[1, 1, 1, 0, 0]] * 2
    assert pad_clip(padded, 4) is padded
