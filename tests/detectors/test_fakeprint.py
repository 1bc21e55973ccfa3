from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.detectors.base import OpenOptions
from earwitness.detectors.fakeprint import (
    FakeprintDetector,
    fakeprint_card,
    open_fakeprint,
    save_fakeprint,
)
from earwitness.detectors.loading import open_detector

N_BINS = 4_087


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "mine")
    return tmp_path / "mine"


def save(folder: Path, coefficients: np.ndarray | None = None) -> FakeprintDetector:
    card = fakeprint_card(name=folder.name, trained_on=("a test",), training_items=None)
    if coefficients is None:
        coefficients = np.random.default_rng(0).standard_normal(N_BINS)
    return save_fakeprint(card, coefficients, -1.5, folder)


def noise(n_samples: int = 50_000, rate: int = 44_100) -> Clip:
    samples = 0.1 * np.random.default_rng(1).standard_normal((2, n_samples))
    return Clip(samples.astype(np.float32), rate)


def test_what_is_saved_scores_the_same_when_opened(folder: Path, tmp_path: Path) -> None:
    saved = save(tmp_path / "again")
    opened = open_detector(str(folder))
    assert opened.card.name == "mine"
    np.testing.assert_array_equal(opened.score([noise()]).logits, saved.score([noise()]).logits)
    assert opened.card.weights_sha256 == saved.card.weights_sha256


def test_by_name_with_weights(folder: Path) -> None:
    assert open_detector("fakeprint", weights={"fakeprint": folder}).card.name == "fakeprint"


def test_the_folder_holds_no_pickle(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "weights.safetensors"]


@pytest.mark.parametrize(("n_samples", "rate"), [(50_000, 48_000), (16_383, 44_100)])
def test_clips_that_break_the_contract(folder: Path, n_samples: int, rate: int) -> None:
    detector = open_detector(str(folder))
    with pytest.raises(DetectorError, match=r"mine: clip .* at least 16384 at 44100 Hz"):
        detector.score([noise(n_samples, rate)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "specnn_amplitude"}, "card of a 'specnn_amplitude' .* expected 'fakeprint'"),
        (
            {"details": {"n_fft": 1e12}},
            "with n_fft 1000000000000.0, expected 'fakeprint' with 16384",
        ),
        ({"details": {"n_fft": "abc"}}, "with n_fft 'abc', expected"),
        ({"threshold": 1.5}, "card.json: threshold: "),
        ({"band_hz": [5_000, 12_000]}, r"coefficients \(4087,\), .* expected \(2601,\)"),
        ({"weights_sha256": "0" * 64}, "SHA-256 .* the card says 000"),
        ({"trained_onn": []}, "trained_onn: Extra inputs are not permitted"),
        ({"threshold": "high"}, "card.json: threshold: "),
    ],
)
def test_a_card_that_does_not_fit(folder: Path, change: dict[str, Any], message: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | change))
    with pytest.raises(WeightsError, match=message) as caught:
        open_fakeprint(folder, OpenOptions("mine"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickled", b"{}"])
def test_damaged_weights(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights.safetensors: cannot be read"):
        open_detector(str(folder))


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "nan", np.full(N_BINS, np.nan))
    with pytest.raises(WeightsError, match="NaN or infinite values"):
        open_detector(str(tmp_path / "nan"))


@pytest.mark.parametrize(
    "band", [(5_000.0, 5_000.0), (-1.0, 5_000.0), (5_000.0, 23_000.0), (5_000.0, 5_010.0)]
)
def test_a_band_outside_the_spectrum(band: tuple[float, float]) -> None:
    with pytest.raises(DetectorError, match="expected two rising frequencies up to 22050 Hz"):
        fakeprint_card(name="x", trained_on=None, training_items=None, band_hz=band)
