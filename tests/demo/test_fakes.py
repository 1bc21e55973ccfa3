"""Fakes: what each does to the spectrum, and the lesson the demonstration is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from earwitness.demo.fakes import (
    ENCODERS,
    SONGMAKERS,
    Layer,
    encode,
    make_fake,
    match_level,
    mel_bands,
    upsample,
)
from earwitness.demo.music import PEAK, compose, draw_artist
from earwitness.detectors.fakeprint import fakeprint

RATE_HZ = 44_100
STRIDES = {"upsample320": 320, "upsample512": 512, "demo_songmaker_a": 320}


def _track(number: int, length_s: float = 6.0) -> np.ndarray:
    artist = draw_artist(np.random.default_rng((7, number % 6)))
    return compose((8, number), artist, length_s=length_s)


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    return _track(0)


@pytest.fixture(scope="module")
def fakes(track: np.ndarray) -> dict[str, np.ndarray]:
    return {kind: make_fake(kind, track, seed=(1, 2)) for kind in ENCODERS + SONGMAKERS}


@pytest.mark.parametrize("kind", ENCODERS + SONGMAKERS)
def test_a_fake_is_as_long_and_about_as_loud_as_its_track(
    kind: str, track: np.ndarray, fakes: dict[str, np.ndarray]
) -> None:
    fake = fakes[kind]
    assert fake.shape == track.shape
    assert fake.dtype == np.float32
    assert np.isfinite(fake).all()
    assert np.abs(fake).max() <= PEAK + 1e-6
    assert 20 * np.log10(fake.std() / track.std()) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("kind", ENCODERS + SONGMAKERS)
@pytest.mark.parametrize("length_s", [0.1, 0.73])
def test_short_tracks_can_be_faked(kind: str, length_s: float) -> None:
    short = _track(1, length_s)
    assert make_fake(kind, short, seed=0).shape == short.shape


def test_a_fake_is_repeatable_and_only_griffin_lim_draws(
    track: np.ndarray, fakes: dict[str, np.ndarray]
) -> None:
    short = track[:, :44_100]
    for kind in ENCODERS + SONGMAKERS:
        first, again, other = (make_fake(kind, short, seed=s) for s in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) == (not kind.startswith("griffin"))


def test_an_unknown_kind_is_refused(track: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'encodec24', expected one of griffin256"):
        make_fake("encodec24", track, seed=0)


def _comb_height_db(samples: np.ndarray, stride: int) -> float:
    """How far the multiples of rate / stride stand above their surroundings, 5 to 16 kHz."""
    n = 64 * stride
    frames = np.lib.stride_tricks.sliding_window_view(samples.mean(axis=0), n)[:: n // 4]
    level_db = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n))) + 1e-5).mean(axis=0)
    lines = np.arange(round(5_000 * stride / RATE_HZ), round(16_000 * stride / RATE_HZ))
    around = level_db[64 * lines[:, None] + np.array([-24, -20, -16, 16, 20, 24])]
    return float((level_db[64 * lines] - around.mean(axis=1)).mean())


@pytest.mark.parametrize("kind", STRIDES)
def test_a_strided_decoder_leaves_peaks_at_multiples_of_rate_over_stride(
    kind: str, track: np.ndarray, fakes: dict[str, np.ndarray]
) -> None:
    assert _comb_height_db(fakes[kind], STRIDES[kind]) > 3
    assert _comb_height_db(track, STRIDES[kind]) < 1


@pytest.mark.parametrize("kind", ["griffin256", "griffin512", "demo_songmaker_b"])
@pytest.mark.parametrize("stride", [320, 512])
def test_other_fakes_leave_no_such_peaks(
    kind: str, stride: int, fakes: dict[str, np.ndarray]
) -> None:
    assert _comb_height_db(fakes[kind], stride) < 1


def test_what_a_decoder_adds_is_soft(track: np.ndarray, fakes: dict[str, np.ndarray]) -> None:
    for kind in STRIDES:
        gain = np.vdot(fakes[kind], track) / np.vdot(track, track)
        added = fakes[kind] - gain * track
        assert -50 < 20 * np.log10(added.std() / track.std()) < -30


def test_the_narrow_songmaker_has_nothing_above_8_khz(fakes: dict[str, np.ndarray]) -> None:
    power = np.abs(np.fft.rfft(fakes["demo_songmaker_b"][0])) ** 2
    frequency = np.fft.rfftfreq(fakes["demo_songmaker_b"].shape[1], 1 / RATE_HZ)
    high, low = power[frequency > 8_500].mean(), power[frequency < 7_500].mean()
    assert 10 * np.log10(high / low) < -50


@pytest.mark.parametrize(("kind", "n_mels"), [("griffin256", 256), ("griffin512", 512)])
def test_griffin_lim_keeps_the_mel_spectrogram(
    kind: str, n_mels: int, track: np.ndarray, fakes: dict[str, np.ndarray]
) -> None:
    bands = mel_bands(n_mels)[n_mels // 8 :]

    def levels(samples: np.ndarray) -> np.ndarray:
        frames = samples.mean(axis=0)[: 120 * 2048].reshape(120, 2048) * np.hanning(2048)
        return np.log(np.abs(np.fft.rfft(frames)) @ bands.T + 1e-3).ravel()

    assert np.corrcoef(levels(track), levels(fakes[kind]))[0, 1] > 0.93


@pytest.mark.parametrize("n_mels", [64, 256, 512])
def test_mel_bands_share_every_bin_between_neighbours(n_mels: int) -> None:
    bands = mel_bands(n_mels)
    assert bands.shape == (n_mels, 1025)
    assert (bands >= 0).all()
    mel = 2595 * np.log10(1 + np.arange(1025) * RATE_HZ / 2048 / 700)
    step = mel[-1] / (n_mels + 1)
    inside = (mel >= step) & (mel <= n_mels * step)
    np.testing.assert_allclose(bands[:, inside].sum(axis=0), 1, atol=1e-5)
    assert abs(mel[bands[n_mels // 2].argmax()] - (n_mels // 2 + 1) * step) < step


@settings(deadline=None, max_examples=20)
@given(stride=st.integers(1, 7), n_frames=st.integers(2, 12), seed=st.integers(0, 999))
def test_a_layer_is_zero_stuffing_and_a_filter(stride: int, n_frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    code = rng.random((n_frames, 1), dtype=np.float32)
    kernel = rng.standard_normal(2 * stride, dtype=np.float32)
    layer = Layer(stride, kernel.reshape(1, 1, -1), np.float32([0.2]))
    stuffed = np.zeros(n_frames * stride)
    stuffed[::stride] = code[:, 0]
    filtered = np.convolve(stuffed, kernel)[: stuffed.size] + 0.2
    rectified = np.diff(np.maximum(filtered, 0.1 * filtered), prepend=0)
    rectified[0] = 0
    expected = rectified / (rectified.std() + 1e-9)
    np.testing.assert_allclose(upsample(code, (layer,)), expected, atol=1e-4)


def test_a_code_has_a_frame_a_stride_and_coarse_levels(track: np.ndarray) -> None:
    code = encode(track.mean(axis=0), 320)
    assert code.shape[0] * 320 >= track.shape[1]
    steps = (code - 1) * 20
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


def test_a_limiter_keeps_loud_fakes_below_the_peak() -> None:
    rng = np.random.default_rng(0)
    loud = np.full((2, 1000), 0.5, dtype=np.float32)
    spiky = rng.standard_normal((2, 1000)).astype(np.float32) ** 3
    assert np.abs(match_level(spiky, loud)).max() <= PEAK + 1e-6
    soft = 0.01 * rng.standard_normal((2, 1000)).astype(np.float32)
    np.testing.assert_allclose(match_level(5 * soft, soft), soft, rtol=1e-4)


def test_a_detector_of_strided_decoders_misses_griffin_lim() -> None:
    """The lesson: what a detector scores on the fakes it knows is no guide to others."""
    known = ("upsample320", "upsample512")
    prints: dict[tuple[str, bool], list[np.ndarray]] = {}
    for number in range(18):
        validation = number >= 12
        track = _track(number)
        kinds = (*known, "griffin256", "demo_songmaker_a") if validation else known
        copies = {"real": track} | {kind: make_fake(kind, track, seed=number) for kind in kinds}
        for kind, samples in copies.items():
            vector = fakeprint(
                samples, sample_rate_hz=RATE_HZ, band_hz=(5_000.0, 16_000.0), n_fft=16_384
            )
            prints.setdefault((kind, validation), []).append(vector)
    rows = [v for kind in ("real", *known) for v in prints[kind, False]]
    labels = [kind != "real" for kind in ("real", *known) for _ in prints[kind, False]]
    model = LogisticRegression(max_iter=5_000, class_weight="balanced").fit(rows, labels)

    def auroc(kind: str) -> float:
        real, fake = (model.decision_function(prints[k, True]) for k in ("real", kind))
        truth = [0] * len(real) + [1] * len(fake)
        return float(roc_auc_score(truth, np.concatenate([real, fake])))

    assert min(auroc(kind) for kind in (*known, "demo_songmaker_a")) > 0.95
    assert auroc("griffin256") < 0.85
    assert (model.decision_function(prints["griffin256", True]) < 0).all()
