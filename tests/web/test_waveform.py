"""Waveforms: peaks of a file, and their outline."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from earwitness.core.errors import AudioError
from earwitness.listen.results import SongResult
from earwitness.web import waveform
from earwitness.web.waveform import draw_waveform, read_peaks


def test_peaks_are_the_loudest_samples_of_equal_parts(tmp_path, monkeypatch):
    samples = np.zeros((1000, 2))
    samples[[0, 499, 750], [0, 1, 0]] = 0.5, -0.25, 0.75
    soundfile.write(path := tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    assert read_peaks(path, n_bars=4).tolist() == [0.5, 0.25, 0, 0.75]
    monkeypatch.setattr(waveform, "_MAX_VALUES", 4 * 2 * 100)
    assert read_peaks(path, n_bars=4).tolist() == [0.5, 0, 0, 0.75]


def test_a_file_of_fewer_samples_than_bars_has_a_bar_for_each(tmp_path):
    soundfile.write(path := tmp_path / "short.wav", [0.5, -1.0, 0.0], 8000, subtype="FLOAT")
    assert read_peaks(path).tolist() == [0.5, 1, 0]
    assert draw_waveform(path, SongResult(path)).outline.startswith("M0 0L0.00 -0.500L0.00 -1.000L")


def test_text_has_no_waveform(tmp_path):
    (path := tmp_path / "a.mp3").write_text("hello\n" * 50)
    with pytest.raises(AudioError, match="not audio"):
        read_peaks(path)
