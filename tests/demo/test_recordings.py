"""Writing a recording and its copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.demo.fakes import Copy, Recording, make_recording, write_samples


def _tone(hz: float) -> np.ndarray:
    times = np.arange(44_100) / 44_100
    return np.stack([np.sin(2 * np.pi * hz * times)] * 2).astype(np.float32) * 0.5


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac"])
def test_each_format_keeps_length_channels_and_what_lies_below_16_khz(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / "new" / f"tone{suffix}"
    write_samples(path, _tone(15_500.0))
    samples, rate = soundfile.read(path, always_2d=True)
    assert (rate, samples.shape) == (44_100, (44_100, 2))
    assert samples.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_narrow_copies_are_mono_at_16_khz_and_do_not_alias(tmp_path: Path) -> None:
    write_samples(tmp_path / "low.wav", _tone(1_000.0), narrow=True)
    write_samples(tmp_path / "high.wav", _tone(9_500.0), narrow=True)
    low, rate = soundfile.read(tmp_path / "low.wav", always_2d=True)
    high, _ = soundfile.read(tmp_path / "high.wav", always_2d=True)
    assert (rate, low.shape) == (16_000, (16_000, 1))
    assert np.abs(np.fft.rfft(low[:, 0])).argmax() == 1_000
    assert high.std() < 0.01 * low.std()


def test_a_recording_is_its_title_and_all_its_copies(tmp_path: Path) -> None:
    copies = (
        Copy(tmp_path / "real.wav"),
        Copy(tmp_path / "a/fake.wav", "upsample320"),
        Copy(tmp_path / "b/fake.wav", "demo_songmaker_b", narrow=True),
    )
    assert make_recording(Recording("a title", (1,), (2,), 1.0, copies)) == "a title"
    real, codec, narrow = (soundfile.read(copy.path)[0] for copy in copies)
    assert np.corrcoef(real[:, 0], codec[:, 0])[0, 1] > 0.99
    assert not np.array_equal(real, codec)
    assert narrow.shape == (16_000,)
