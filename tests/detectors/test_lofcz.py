"""The lofcz detectors with made-up weights; what their authors' code shows is in the golden test.

Conventions: a test that guards against a known trap of the published code says which in its name.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy import signal

import lofcz_folders
from earwitness.audio.clips import Clip, Window, place_windows
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector, Release
from earwitness.detectors.loading import GITHUB_SERVER, find_release, look_up, open_detector
from earwitness.detectors.lofcz import FEW_BINS, MIN_BINS, LofczDetector
from earwitness.detectors.lofcz_features import (
    MAX_SAMPLES,
    N_BINS,
    cepstrum,
    cqt_magnitude,
    cut_segments,
    lofcz_fakeprint,
    resample_sinc,
    to_mono_16k,
)
from earwitness.detectors.lofcz_weights import CNN_RELEASE, load_lr
from earwitness.scoring.predict import predict

RATE = 16_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("weights")
    return {
        "lofcz-lr": lofcz_folders.write_lr(root / "lr"),
        "lofcz-cnn": lofcz_folders.write_cnn(root / "cnn"),
    }


def opened(folders: dict[str, Path], name: str, preprocessing: str = "correct") -> LofczDetector:
    found = open_detector(name, weights=folders, preprocessing=preprocessing)  # type: ignore[arg-type]
    assert isinstance(found, LofczDetector)
    return found


def noise(seconds: float, *, rate: int = RATE, channels: int = 1, level: float = 0.1) -> Clip:
    rng = np.random.default_rng(0)
    samples = level * rng.standard_normal((channels, int(seconds * rate)))
    return Clip(samples.astype(np.float32), rate)


def tone(hz: float, seconds: float = 20) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32) / 2


# The resampler


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050, 8_000, 11_025])
def test_the_published_resampler_follows_its_formula(rate: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 700).astype(np.float32)
    found = resample_sinc(samples, rate, RATE, kernel="float64")
    base = 0.99 * min(rate, RATE)
    t = np.arange(700) / rate - np.arange(len(found))[:, np.newaxis] / RATE
    kernel = np.sinc(base * t) * np.cos(np.pi * base * t / 12) ** 2 * base / rate
    kernel[np.abs(base * t) > 6] = 0
    assert len(found) == -(-700 * RATE // rate)
    np.testing.assert_allclose(
        found, kernel @ samples.astype(np.float64), atol=5e-5
    )  # phases are rounded


def test_trap_12_the_published_resampler_folds_9_khz_back_to_7_khz() -> None:
    samples = np.sin(2 * np.pi * 9_000 * np.arange(88_200) / 44_100).astype(np.float32)
    clip = samples[np.newaxis]
    levels = {}
    for resampler in ("torchaudio_sinc", "soxr_hq"):
        mono = to_mono_16k(clip, 44_100, resampler, kernel="float64")  # type: ignore[arg-type]
        levels[resampler] = 20 * np.log10(np.sqrt(2) * mono[4_000:-4_000].std())
    assert levels["torchaudio_sinc"] == pytest.approx(-17, abs=1)
    assert levels["soxr_hq"] < -60


def test_files_at_16_khz_are_not_resampled() -> None:
    clip = noise(1, channels=2)
    found = [
        to_mono_16k(clip.samples, RATE, resampler, kernel="float64")
        for resampler in ("torchaudio_sinc", "soxr_hq")  # type: ignore[arg-type]
    ]
    np.testing.assert_array_equal(*found)


# The logistic regression


def test_the_fakeprint_follows_its_formula() -> None:
    mono = noise(3).samples[0]
    padded = np.pad(mono.astype(np.float64), 4_096, mode="reflect")
    window = signal.get_window("hann", 8_192)
    starts = range(0, len(padded) - 8_191, 4_096)
    spectra = [np.fft.rfft(window * padded[start : start + 8_192]) for start in starts]
    assert len(spectra) == 1 + len(mono) // 4_096
    mean_db = np.mean(10 * np.log10(np.clip(np.abs(spectra) ** 2, 1e-10, 1e6)), axis=0)
    band = mean_db[512:4_097]
    around = [band[np.clip(np.arange(i - 5, i + 5), 0, N_BINS - 1)].min() for i in range(N_BINS)]
    residue = np.clip(band - np.maximum(around, -45), 0, 5)
    found = lofcz_fakeprint(mono)
    np.testing.assert_allclose(found.spectrum_db, band, atol=1e-3)
    np.testing.assert_allclose(found.vector, residue / (residue.max() + 1e-6), atol=1e-3)
    assert found.vector.dtype == np.float32


def test_the_logit_is_that_of_the_weights(folders: dict[str, Path]) -> None:
    clip = noise(5)
    model = load_lr(folders["lofcz-lr"] / "model.safetensors")
    (logit,) = opened(folders, "lofcz-lr").score([clip]).logits
    vector = lofcz_fakeprint(clip.samples[0]).vector
    assert logit == pytest.approx(float(model.weights @ vector + model.bias[0]), abs=1e-4)


def test_trap_1_a_file_is_scored_once_and_as_a_whole_up_to_300_s(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    long, rate = noise(310, rate=8_000), 8_000
    soundfile.write(tmp_path / "long.wav", long.samples[0], rate)
    soundfile.write(tmp_path / "cut.wav", long.samples[0, : 300 * rate], rate)
    detector = opened(folders, "lofcz-lr")
    whole, cut, every = (
        run(tmp_path, [name], detector, windows=windows)
        for name, windows in (("long.wav", "published"), ("cut.wav", "all"), ("long.wav", 3))
    )
    assert whole.windows is not None
    assert whole.windows["duration_s"].to_list() == [300]
    assert whole.windows["start_s"].to_list() == [0]
    assert every.windows is not None
    assert every.windows.drop("filepath").equals(whole.windows.drop("filepath"))
    assert whole.frame["logit"].to_list() == cut.frame["logit"].to_list()


def test_trap_1_contracts_give_one_window_at_the_start(folders: dict[str, Path]) -> None:
    for name in ("lofcz-lr", "lofcz-cnn"):
        contract = opened(folders, name).card.contract.at_rate(44_100)
        for windows in ("published", "all", 5):
            (window,) = place_windows(10**9, contract, windows)  # type: ignore[arg-type]
            assert window.start == 0
    contract = opened(folders, "lofcz-lr").card.contract
    assert contract.max_samples == MAX_SAMPLES == 4_800_000
    assert place_windows(10**9, contract.at_rate(44_100)) == [Window(0, 300 * 44_100)]


def test_trap_1_a_low_score_of_a_short_file_comes_with_a_note(tmp_path: Path) -> None:
    clips = [noise(20), noise(70)]
    for bias, expected in ((-50.0, "short files score low"), (50.0, "")):
        folders = {"lofcz-lr": lofcz_folders.write_lr(tmp_path, bias)}
        short, long = opened(folders, "lofcz-lr").score(clips).notes
        assert expected in (short or "")
        assert (short is None) is (expected == "")
        assert long is None


EMPTY = {
    "silence": np.zeros(20 * RATE, np.float32),
    "a pure tone": tone(440),
    "noise of the last bit": 1e-5 * noise(20, level=1.0).samples[0],
    "nothing above 1 kHz": signal.sosfilt(
        signal.butter(12, 500, fs=RATE, output="sos"), noise(20).samples[0]
    ).astype(np.float32),
    "silence from the middle on": np.concatenate(
        [noise(10).samples[0], np.zeros(30 * RATE, np.float32)]
    ),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_trap_2_an_empty_residue_is_abstention_not_fake(
    folders: dict[str, Path], kind: str
) -> None:
    clip = Clip(EMPTY[kind][np.newaxis], RATE)
    fakeprint = lofcz_fakeprint(clip.samples[0])
    assert fakeprint.nonzero_bins < MIN_BINS
    scores = opened(folders, "lofcz-lr").score([clip, noise(20)])
    assert scores.abstained[1] is None
    reason = f"{fakeprint.nonzero_bins} of 3585 bins from 1000 to 8000 Hz are not empty"
    assert reason in (scores.abstained[0] or "")


def test_trap_2_published_scores_an_empty_residue_with_the_intercept(tmp_path: Path) -> None:
    folders = {"lofcz-lr": lofcz_folders.write_lr(tmp_path, bias=4.98)}
    scores = opened(folders, "lofcz-lr", "published").score([Clip(tone(440)[np.newaxis], RATE)])
    assert scores.abstained == [None]
    assert scores.logits[0] == pytest.approx(4.98, abs=0.2)
    assert "partly empty" in (scores.notes[0] or "")


def test_trap_2_abstention_reaches_the_prediction_file(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "empty.wav", tone(440), RATE)
    soundfile.write(tmp_path / "noise.wav", noise(12).samples[0], RATE)
    found = run(tmp_path, ["empty.wav", "noise.wav"], opened(folders, "lofcz-lr"))
    first, second = found.frame.iter_rows(named=True)
    assert (first["logit"], first["pred_label"], first["error"]) == (None, None, None)
    assert "nothing to analyse" in first["abstained"]
    assert second["logit"] is not None
    assert second["abstained"] is None


def test_a_partly_empty_band_is_noted_and_never_called_fake(tmp_path: Path) -> None:
    low = signal.sosfilt(signal.butter(20, 3_500, fs=RATE, output="sos"), noise(20).samples[0])
    clip = Clip(low.astype(np.float32)[np.newaxis], RATE)
    assert MIN_BINS <= lofcz_fakeprint(clip.samples[0]).nonzero_bins < FEW_BINS
    for bias, verdict in ((-50.0, "real"), (50.0, "fake")):
        folders = {"lofcz-lr": lofcz_folders.write_lr(tmp_path, bias)}
        scores = opened(folders, "lofcz-lr").score([clip])
        if verdict == "real":
            assert scores.abstained == [None]
            assert "partly empty" in (scores.notes[0] or "")
        else:
            assert "too little to say fake" in (scores.abstained[0] or "")
            assert scores.notes == [None]
        assert opened(folders, "lofcz-lr", "published").score([clip]).abstained == [None]


def test_a_file_too_short_to_be_reflected_is_an_error(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    detector = opened(folders, "lofcz-lr")
    with pytest.raises(DetectorError, match=r"4096 samples at 16000 Hz, expected .* at least 4097"):
        detector.score([Clip(noise(1).samples[:, :4_096], RATE)])
    soundfile.write(tmp_path / "a.wav", noise(0.2, rate=44_100).samples[0], 44_100)
    (error,) = run(tmp_path, ["a.wav"], detector).frame["error"]
    assert "0.2 s long, the detector needs at least 0.26 s" in error


# The CNN


@pytest.mark.parametrize(
    ("seconds", "starts_s"),
    [
        (4, [0]),
        (10, [0]),
        (12, [0, 0.5, 1, 1.5, 2]),
        (20, [0, 2.5, 5, 7.5, 10]),
        (30, [5, 7.5, 10, 12.5, 15]),
        (100, [5, 25, 45, 65, 85]),
    ],
)
def test_segments(seconds: float, starts_s: list[float]) -> None:
    mono = np.arange(1, seconds * RATE + 1, dtype=np.float32)
    segments = cut_segments(mono)
    assert segments.shape == (len(starts_s), 160_000)
    np.testing.assert_array_equal(segments[:, 0] - 1, np.array(starts_s) * RATE)
    if seconds < 10:
        assert not segments[0, seconds * RATE :].any()


def test_the_cqt_finds_a_tone_in_its_bin() -> None:
    for at in (0, 11, 12, 24, 36, 47):
        magnitude = cqt_magnitude(tone(500 * 2 ** (at / 12), 10)[np.newaxis])
        assert magnitude.shape == (1, 48, 313)
        assert int(magnitude[0, :, 150].argmax()) == at


def test_the_lowest_filter_of_an_octave_keeps_both_bins_of_a_tie() -> None:
    from earwitness.detectors.lofcz_features import _octave_filters

    kept = [
        (int(bins[0]), int(bins[-1]), len(bins)) for bins in map(np.flatnonzero, _octave_filters())
    ]
    assert kept[:3] == [(26, 38, 13), (27, 39, 11), (29, 43, 14)]
    assert kept[3:6] == [(31, 44, 14), (32, 48, 14), (34, 49, 15)]
    assert kept[6:9] == [(38, 54, 15), (41, 57, 16), (43, 59, 17)]
    assert kept[9:] == [(46, 62, 16), (49, 63, 15), (52, 64, 13)]


def test_trap_3_the_cepstrum_is_not_normalised_in_level() -> None:
    segments = cut_segments(noise(10).samples[0])
    shift = cepstrum(2 * segments) - cepstrum(segments)
    np.testing.assert_allclose(shift[:, 0], np.sqrt(48) * np.log(2), atol=0.01)
    assert np.abs(shift[:, 1:]).max() < 0.01


def test_trap_4_channels_are_averaged_not_summed_at_3_db(folders: dict[str, Path]) -> None:
    mono = noise(10)
    stereo = Clip(np.repeat(mono.samples, 2, axis=0), RATE)
    for name in folders:
        one, two = opened(folders, name).score([mono, stereo]).logits
        assert one == two


def test_trap_6_an_inverted_channel_cancels(folders: dict[str, Path]) -> None:
    samples = noise(10).samples
    clip = Clip(np.concatenate([samples, -samples]), RATE)
    assert opened(folders, "lofcz-lr").score([clip]).abstained[0] is not None


def test_trap_8_the_score_is_the_median_and_exactly_one_half_is_not_flagged(
    tmp_path: Path,
) -> None:
    folders = {"lofcz-cnn": lofcz_folders.write_cnn(tmp_path / "cnn", gain=0, bias=0)}
    soundfile.write(tmp_path / "a.wav", noise(12).samples[0], RATE)
    row = run(tmp_path, ["a.wav"], opened(folders, "lofcz-cnn")).frame.row(0, named=True)
    assert (row["logit"], row["pred_prob"], row["pred_label"]) == (0, 0.5, 0)
    lr = {"lofcz-lr": lofcz_folders.write_lr(tmp_path / "lr")}
    assert opened(lr, "lofcz-lr").card.threshold == 0.5

    loud = np.repeat([1, 1, 1, 64, 64], 10 * RATE)[np.newaxis] * noise(50).samples / 100
    folders = {"lofcz-cnn": lofcz_folders.write_cnn(tmp_path / "level", gain=1)}
    detector = opened(folders, "lofcz-cnn")
    segments = cut_segments(loud[0].astype(np.float32))
    logits = [detector.score([Clip(segment[np.newaxis], RATE)]).logits[0] for segment in segments]
    (logit,) = detector.score([Clip(loud.astype(np.float32), RATE)]).logits
    assert logit == pytest.approx(np.median(logits), abs=1e-5)
    assert abs(logit - np.mean(logits)) > 0.01


def test_trap_7_far_logits_keep_their_order(tmp_path: Path) -> None:
    folders = {"lofcz-cnn": lofcz_folders.write_cnn(tmp_path, gain=0, bias=-40)}
    soundfile.write(tmp_path / "a.wav", noise(12).samples[0], RATE)
    row = run(tmp_path, ["a.wav"], opened(folders, "lofcz-cnn")).frame.row(0, named=True)
    assert row["logit"] == -40
    assert 0 < row["pred_prob"] < 1e-17


@pytest.mark.parametrize("name", ["lofcz-lr", "lofcz-cnn"])
def test_trap_9_nan_and_empty_files_have_no_score(
    folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    detector = opened(folders, name)
    broken = noise(12).samples.copy()
    broken[0, 5_000] = np.nan
    with pytest.raises(DetectorError, match="not finite"):
        detector.score([Clip(broken, RATE)])
    with pytest.raises(DetectorError, match="of 0 samples at 16000 Hz"):
        detector.score([Clip(np.zeros((1, 0), np.float32), RATE)])
    soundfile.write(tmp_path / "nan.wav", broken[0], RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), RATE)
    frame = run(tmp_path, ["nan.wav", "empty.wav"], detector).frame
    assert frame["logit"].null_count() == frame["error"].count() == 2


@pytest.mark.parametrize("level", [0, 1e-5])
def test_trap_13_nothing_is_not_scored(
    folders: dict[str, Path], tmp_path: Path, level: float
) -> None:
    samples = level * np.random.default_rng(0).uniform(-1, 1, 12 * RATE)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    for name in folders:
        (reason,) = run(tmp_path, ["a.wav"], opened(folders, name)).frame["abstained"]
        assert "nothing to analyse" in reason


# Resamplers and cards


def resampler_bias(folders: dict[str, Path], clip: Clip) -> tuple[float, float]:
    found = [opened(folders, "lofcz-lr", how) for how in ("correct", "published")]
    soxr, sinc = (float(detector.score([clip]).logits[0]) for detector in found)
    return soxr, sinc


def test_a_verdict_that_depends_on_the_resampler_is_noted(tmp_path: Path) -> None:
    clip = noise(12, rate=44_100)
    soxr, sinc = resampler_bias({"lofcz-lr": lofcz_folders.write_lr(tmp_path / "a", 0)}, clip)
    assert soxr != sinc
    between = -(soxr + sinc) / 2
    folders = {"lofcz-lr": lofcz_folders.write_lr(tmp_path / "b", between)}
    soundfile.write(tmp_path / "a.wav", clip.samples[0], 44_100, subtype="FLOAT")
    verdicts = {"soxr_hq": "fake", "torchaudio_sinc": "real"}
    if soxr < sinc:
        verdicts = {"soxr_hq": "real", "torchaudio_sinc": "fake"}
    texts = [f"{verdict} with {resampler}" for resampler, verdict in verdicts.items()]
    for how, expected in (("correct", texts), ("published", texts[::-1])):
        (note,) = run(tmp_path, ["a.wav"], opened(folders, "lofcz-lr", how)).notes
        assert f"the verdict depends on the resampler: {', '.join(expected)}" in note
    both = run(tmp_path, ["a.wav", "./a.wav"], opened(folders, "lofcz-lr")).notes
    assert both[0].startswith(("1 file: the verdict", "2 files: the verdict"))
    sure = {"lofcz-lr": lofcz_folders.write_lr(tmp_path / "c", between + 100)}
    assert not run(tmp_path, ["a.wav"], opened(sure, "lofcz-lr")).notes


@pytest.mark.parametrize("name", ["lofcz-lr", "lofcz-cnn"])
def test_cards_name_resampler_training_data_and_patents(
    folders: dict[str, Path], name: str
) -> None:
    card = look_up(name).card
    assert card is not None
    assert card.licence.startswith("MIT")
    assert ("patents" in card.licence) is (name == "lofcz-lr")
    assert card.trained_on is not None
    assert any("FMA-medium" in text for text in card.trained_on)
    assert any("SONICS" in text for text in card.trained_on)
    assert card.details["resampler"] == "soxr_hq"
    published = opened(folders, name, "published").card
    assert published.details["resampler"] == "torchaudio_sinc"
    assert published.trained_on is None  # made-up weights


# Weights


def test_npz_and_safetensors_give_the_same_scores(folders: dict[str, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **lofcz_folders.lr_arrays(), classes=np.array([0.0, 1.0]))
    clips = [noise(5)]
    expected = opened(folders, "lofcz-lr").score(clips).logits
    for path in (tmp_path, tmp_path / "weights.npz"):
        found = open_detector("lofcz-lr", weights={"lofcz-lr": path}).score(clips).logits
        np.testing.assert_array_equal(found, expected)


def test_a_folder_laid_out_as_on_the_hub_is_recognised(folders: dict[str, Path]) -> None:
    found: Detector = open_detector(str(folders["lofcz-lr"]))
    assert (found.card.name, found.card.kind) == ("lr", "lofcz-lr")


def write_broken_lr(folder: Path, kind: str) -> Path:
    path = lofcz_folders.write_lr(folder) / "model.safetensors"
    arrays = lofcz_folders.lr_arrays()
    archive = folder / "w.npz"
    tensors = {
        "shape": arrays | {"weights": arrays["weights"][:, 1:]},
        "nan": arrays | {"bias": np.array([np.nan], dtype=np.float32)},
        "integers": arrays | {"weights": np.zeros((1, N_BINS), dtype=np.int64)},
        "no bias": {"weights": arrays["weights"]},
    }
    if kind in tensors:
        save_file(tensors[kind], path)
    elif kind == "pickle":
        path.unlink()
        (folder / "classifier.pkl").write_bytes(b"cos\nsystem\n(S'touch loaded'\ntR.")
    elif kind == "settings":
        changed = {"preprocessing": lofcz_folders.CONFIG["preprocessing"] | {"n_fft": 16_384}}
        (folder / "config.json").write_text(json.dumps(lofcz_folders.CONFIG | changed))
    elif kind == "pickled arrays":
        np.savez(archive, weights=np.array([{}], dtype=object), bias=arrays["bias"])
    elif kind == "classes":
        np.savez(archive, **arrays, classes=np.array([1.0, 0.0]))
    elif kind == "no zip":
        archive.write_bytes(b"<html>")
    elif kind == "bomb":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("weights.npy", bytes(65 << 20))
    return archive if archive.exists() else folder


BROKEN = {
    "pickle": r"expected model.safetensors or weights.npz; pickles are not loaded",
    "settings": r"config.json: n_fft 16384, expected 8192",
    "pickled arrays": r"cannot be read as weights \(Object arrays cannot be loaded",
    "classes": r"classes \[1.0, 0.0\], expected \[0, 1\]",
    "no zip": r"cannot be read as weights \(File is not a zip file\)",
    "bomb": r"bytes unpacked, expected at most",
    "shape": r"weights \(1, 3584\), bias \(1,\); expected \(1, 3585\)",
    "nan": r"NaN",
    "integers": r"int64 and float32, expected float32",
    "no bias": r"holds no 'bias', expected 'weights' and 'bias'",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_traps_11_and_14_other_weights_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = write_broken_lr(tmp_path / "w", kind)
    with pytest.raises(WeightsError, match=BROKEN[kind]) as caught:
        open_detector("lofcz-lr", weights={"lofcz-lr": path})
    assert "\n" not in str(caught.value)
    listing = look_up("lofcz-lr", weights={"lofcz-lr": path})
    assert listing.problem == str(caught.value)


def test_another_network_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"<html>")
    other = lofcz_folders.write_cnn(tmp_path / "other", inputs=("fakeprint", "ai_probability"))
    endless = lofcz_folders.write_cnn(tmp_path / "nan", bias=np.nan)
    for path, message in (
        (tmp_path / "a.onnx", "not the CNN of lofcz"),
        (other, "not the CNN of lofcz"),
        (endless, "expected finite ones"),
        (tmp_path, "expected cnn_detector.onnx"),
    ):
        with pytest.raises(WeightsError, match=message) as caught:
            open_detector("lofcz-cnn", weights={"lofcz-cnn": path})
        assert "\n" not in str(caught.value)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A mirror of GitHub on loopback, by path; downloads are allowed."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv(GITHUB_SERVER, f"http://127.0.0.1:{http_server.server_port}/")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield files
        http_server.shutdown()
        thread.join()


def test_a_release_is_downloaded_once_and_its_hash_checked(
    server: dict[str, bytes], own_cache: Path
) -> None:
    content = bytes(range(256))
    release = Release("a/b/c/net.onnx", hashlib.sha256(content).hexdigest(), len(content))
    with pytest.raises(WeightsError, match="not downloaded yet"):
        find_release(release, download=False)
    with pytest.raises(WeightsError, match=r"/a/b/c/net.onnx: download failed: status 404"):
        find_release(release)
    server["/a/b/c/net.onnx"] = content[::-1]
    with pytest.raises(WeightsError, match="download failed: another file of 256 bytes"):
        find_release(release)
    server["/a/b/c/net.onnx"] = content + b"more"
    with pytest.raises(WeightsError, match=r"download failed: .*256 bytes"):
        find_release(release)
    server["/a/b/c/net.onnx"] = content
    path = find_release(release)
    assert path.is_relative_to(own_cache)
    assert path.read_bytes() == content
    server.clear()
    assert find_release(release, download=False) == path
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="status 404"):
        find_release(release)


def test_the_cnn_is_downloaded_when_it_is_named(server: dict[str, bytes]) -> None:
    server[f"/{CNN_RELEASE.path}"] = b"another network"
    with pytest.raises(WeightsError, match=r"no weights for lofcz-cnn: .*another file of 15 bytes"):
        open_detector("lofcz-cnn")
    assert not look_up("lofcz-cnn").is_here


def test_no_download_where_the_hub_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set\).*--weights lofcz-cnn=PATH"):
        open_detector("lofcz-cnn")


def run(
    folder: Path, names: list[str], detector: Detector, *, windows: str | int = "published"
) -> Predictions:
    frame = pl.DataFrame({"filepath": names, "target": 0})
    (found,) = predict(
        Manifest("m", frame, (folder,)),
        [detector],
        windows=windows,  # type: ignore[arg-type]
        keep_windows=True,
        n_workers=0,
    )
    return replace(found)
