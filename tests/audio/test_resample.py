import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earwitness.audio.clips import plan_blocks, resample, resample_slice, resampled_length

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]
ROUNDING = 3e-6
"""What soxr's float32 arithmetic differs by between two starts, at full scale."""


def noise(n_channels: int, n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n_channels, n_samples)).astype(np.float32)


def slice_of(samples: np.ndarray, start: int, stop: int, from_hz: int, to_hz: int) -> np.ndarray:
    def read(first: int, count: int) -> np.ndarray:
        assert first >= 0
        assert first + count <= samples.shape[1]
        return samples[:, first : first + count]

    n_samples = samples.shape[1]
    return resample_slice(read, start, stop, n_samples=n_samples, from_hz=from_hz, to_hz=to_hz)


@given(
    n_samples=st.integers(0, 4000),
    from_hz=st.sampled_from([*RATES, 12_345, 44_101]),
    to_hz=st.sampled_from(RATES),
)
@example(n_samples=400, from_hz=48_000, to_hz=44_100)
@example(n_samples=560, from_hz=48_000, to_hz=44_100)
@settings(deadline=None, max_examples=60)
def test_length_is_what_soxr_gives(n_samples: int, from_hz: int, to_hz: int) -> None:
    resampled = resample(np.zeros((1, n_samples), np.float32), from_hz, to_hz)
    assert resampled.shape == (1, resampled_length(n_samples, from_hz, to_hz))


@given(data=st.data(), from_hz=st.sampled_from(RATES), to_hz=st.sampled_from(RATES))
@settings(deadline=None, max_examples=80)
def test_slice_equals_slice_of_whole(data: st.DataObject, from_hz: int, to_hz: int) -> None:
    n_samples = data.draw(st.integers(1, 3 * from_hz), label="n_samples")
    samples = noise(1, n_samples)
    length = resampled_length(n_samples, from_hz, to_hz)
    if length == 0:
        return
    start = data.draw(st.sampled_from([0, None]), label="start at 0?")
    start = data.draw(st.integers(0, length - 1), label="start") if start is None else start
    stop = data.draw(st.integers(start + 1, length) | st.just(length), label="stop")
    whole = slice_of(samples, 0, length, from_hz, to_hz)
    part = slice_of(samples, start, stop, from_hz, to_hz)
    assert whole.shape == (1, length)
    np.testing.assert_array_equal(part, whole[:, start:stop])
    np.testing.assert_allclose(whole, resample(samples, from_hz, to_hz), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("from_hz", RATES)
@pytest.mark.parametrize("to_hz", RATES)
def test_slices_at_start_middle_and_end_of_every_pair(from_hz: int, to_hz: int) -> None:
    samples = noise(1, 2 * from_hz + 17)
    length = resampled_length(samples.shape[1], from_hz, to_hz)
    whole = slice_of(samples, 0, length, from_hz, to_hz)
    for start, stop in [(0, to_hz // 3), (to_hz - 3, to_hz + 1000), (length - 700, length)]:
        part = slice_of(samples, start, stop, from_hz, to_hz)
        np.testing.assert_array_equal(part, whole[:, start:stop])
    np.testing.assert_allclose(whole, resample(samples, from_hz, to_hz), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(44_100, 16_000), (44_101, 16_000), (8_000, 44_100)]
)
def test_full_scale_square_wave_stays_near_one_call(from_hz: int, to_hz: int) -> None:
    time_s = np.arange(3 * from_hz) / from_hz
    square = np.sign(np.sin(2 * np.pi * 441 * time_s + 0.1)).astype(np.float32)[None]
    whole = slice_of(square, 0, resampled_length(square.shape[1], from_hz, to_hz), from_hz, to_hz)
    np.testing.assert_allclose(whole, resample(square, from_hz, to_hz), rtol=0, atol=ROUNDING)


def test_resample_is_one_soxr_call_at_high_quality() -> None:
    samples = noise(2, 5000)
    expected = soxr.resample(samples.T, 44_100, 16_000, quality="HQ").T
    np.testing.assert_array_equal(resample(samples, 44_100, 16_000), expected)


def test_equal_rates_change_nothing() -> None:
    samples = noise(2, 100)
    np.testing.assert_array_equal(resample(samples, 8_000, 8_000), samples)
    np.testing.assert_array_equal(slice_of(samples, 10, 30, 8_000, 8_000), samples[:, 10:30])


def test_empty_slice_is_empty() -> None:
    assert slice_of(noise(2, 1000), 5, 5, 44_100, 16_000).shape == (2, 0)


def test_short_slice_of_long_file_reads_little() -> None:
    blocks = plan_blocks(160_000, 161_000, n_samples=10**9, from_hz=44_100, to_hz=16_000)
    assert blocks[-1].in_stop - blocks[0].in_start < 2 * 44_100
