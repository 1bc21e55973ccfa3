from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bundles
from earwitness.audio.clips import Clip, mix_first_two, pad_clip, place_windows
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.detectors.base import OpenOptions
from earwitness.detectors.nets.specnn import amplitude_features, open_specnn
from earwitness.detectors.specnn import CLIP_SAMPLES, ENCODERS

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
RATE_HZ = 44_100


def load_specnn(path, **options):
    return open_specnn(path, OpenOptions("specnn_amplitude", **options))


@pytest.fixture(scope="module")
def variables():
    return bundles.specnn_variables()


@pytest.fixture(scope="module")
def detector(tmp_path_factory, variables):
    folder = tmp_path_factory.mktemp("specnn")
    bundles.write_specnn(folder / "variables" / "variables", variables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_CACHE", str(folder / "cache"))
        return load_specnn(folder)


@pytest.fixture(scope="module")
def clips():
    """Clips of many kinds, 35 in all, stereo and mono."""
    rng = np.random.default_rng(1)
    time_s = np.arange(CLIP_SAMPLES) / RATE_HZ
    kinds = [
        np.zeros((2, CLIP_SAMPLES)),
        np.full((2, CLIP_SAMPLES), 0.5),
        np.sign(np.sin(2 * np.pi * 440 * time_s))[None],
        np.clip(rng.normal(0, 3, (2, CLIP_SAMPLES)), -1, 1),
        np.sin(2 * np.pi * 440 * time_s)[None],
        *(rng.normal(0, 10 ** rng.uniform(-6, 0), (1 + n % 2, CLIP_SAMPLES)) for n in range(30)),
    ]
    return [as_clip(samples) for samples in kinds]


@pytest.fixture(scope="module")
def scores(detector, clips):
    return detector.score(clips)


def as_clip(samples, sample_rate_hz=RATE_HZ):
    return Clip(np.asarray(samples, np.float32), sample_rate_hz)


def write(folder, variables):
    bundles.write_specnn(folder / "variables" / "variables", variables)
    return folder


def slow_forward(variables, samples):
    """The network in NumPy, float64, channels last, from the formulas of the paper."""

    def get(layer, part):
        return variables[f"layer_with_weights-{layer}/{part}"].astype(np.float64)

    n = np.arange(2048)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 2048)
    frames = np.stack([samples[512 * t : 512 * t + 2048] * window for t in range(64)])
    power = np.abs(np.fft.rfft(frames)[:, :743]) ** 2
    image = ((np.log10(np.clip(power, 1e-10, 1e6)) + 4) / 3)[..., None]
    for block in range(6):
        kernel, norm = get(2 * block, "kernel"), 2 * block + 1
        height, width, _ = image.shape
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        image = np.zeros((height, width, kernel.shape[3])) + get(2 * block, "bias")
        for row in range(3):
            for column in range(3):
                near = padded[row : row + height, column : column + width]
                image += near @ kernel[row, column]
        image = np.maximum(image, 0)[: height // 2 * 2, : width // 2 * 2]
        quads = image.reshape(height // 2, 2, width // 2, 2, -1)
        image = quads.max(axis=(1, 3)) - get(norm, "moving_mean")
        image = image / np.sqrt(get(norm, "moving_variance") + 1e-3)
        image = image * get(norm, "gamma") + get(norm, "beta")
    dense = image.mean(axis=(0, 1)) @ get(12, "kernel") + get(12, "bias")
    hidden = dense / (1 + np.exp(-dense))
    real = hidden @ get(13, "kernel") + get(13, "bias")
    encoders = np.exp(hidden @ get(14, "kernel") + get(14, "bias"))
    return -real.item(), encoders / encoders.sum()


def test_same_as_an_independent_forward_pass(detector, variables, clips):
    scores = detector.score(clips[5:9])
    for at, clip in enumerate(clips[5:9]):
        logit, encoders = slow_forward(variables, mix_first_two(clip.samples).astype(np.float64))
        assert scores.logits[at] == pytest.approx(logit, abs=1e-4)
        np.testing.assert_allclose(scores.encoders[at], encoders, atol=1e-5)
    assert np.ptp(scores.logits) > 0.01


def test_scores_of_every_kind_of_clip(scores):
    assert scores.logits.shape == (35,)
    assert scores.logits.dtype == scores.encoders.dtype == np.float64
    assert np.isfinite(scores.logits).all()
    assert scores.encoders.shape == (35, 10)
    assert (scores.encoders >= 0).all()
    np.testing.assert_allclose(scores.encoders.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(("n_together", "n_clips"), [(1, 8), (7, 14), (32, 32)])
def test_batch_mates_do_not_matter(detector, clips, scores, n_together, n_clips):
    starts = range(0, n_clips, n_together)
    parts = [detector.score(clips[start : start + n_together]) for start in starts]
    logits = np.concatenate([part.logits for part in parts])
    encoders = np.concatenate([part.encoders for part in parts])
    np.testing.assert_allclose(logits, scores.logits[:n_clips], rtol=0, atol=1e-5)
    np.testing.assert_allclose(encoders, scores.encoders[:n_clips], rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=5)
@given(kept=st.lists(st.integers(0, 34), min_size=1, max_size=10))
def test_order_does_not_matter(detector, clips, scores, kept):
    found = detector.score([clips[at] for at in kept]).logits
    np.testing.assert_allclose(found, scores.logits[kept], rtol=0, atol=1e-5)


def test_the_same_twice(detector, clips):
    first, second = detector.score(clips[:9]), detector.score(clips[:9])
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.encoders, second.encoders)


def test_no_clips(detector):
    scores = detector.score([])
    assert scores.logits.shape == (0,)
    assert scores.encoders.shape == (0, 10)


def test_a_surer_real_head_lowers_the_logit(tmp_path, variables, detector, clips):
    surer = variables["layer_with_weights-13/bias"] + np.float32(3)
    path = write(tmp_path, variables | {"layer_with_weights-13/bias": surer})
    shift = load_specnn(path).score(clips[:3]).logits - detector.score(clips[:3]).logits
    np.testing.assert_allclose(shift, -3, atol=1e-5)


def test_mono_is_the_same_on_both_channels_and_a_third_is_not_heard(detector, clips):
    samples = clips[5].samples[:1]
    forms = [samples, samples.repeat(2, axis=0), np.concatenate([samples] * 2 + [samples * -9])]
    logits = detector.score([as_clip(form) for form in forms]).logits
    np.testing.assert_allclose(logits, logits[0], atol=1e-5)


def test_huge_samples_give_finite_scores(detector):
    loud = np.full((2, CLIP_SAMPLES), 3e38)
    loud[:, ::2] *= -1
    assert np.isfinite(detector.score([as_clip(loud)]).logits).all()


@pytest.mark.parametrize(
    ("clip", "match"),
    [
        (as_clip(np.zeros((1, CLIP_SAMPLES)), 48_000), "clip 1: 48000 Hz, expected 44100 Hz"),
        (as_clip(np.zeros((1, 100))), "clip 1: 100 samples, expected 34398"),
        (as_clip(np.zeros((2, CLIP_SAMPLES + 1))), "clip 1: 34399 samples, expected 34398"),
        (as_clip(np.zeros((0, CLIP_SAMPLES))), "clip 1: no channels"),
        (as_clip(np.full((1, CLIP_SAMPLES), np.nan)), "clip 1: samples that are not finite"),
        (as_clip(np.full((2, CLIP_SAMPLES), np.inf)), "clip 1: samples that are not finite"),
    ],
)
def test_clips_that_break_the_contract(detector, clips, clip, match):
    with pytest.raises(DetectorError, match=f"specnn_amplitude: {match}"):
        detector.score([clips[0], clip])


def test_card(detector):
    card = detector.card
    assert card.name == card.kind == "specnn_amplitude"
    assert card.contract.sample_rate_hz == RATE_HZ
    assert card.contract.clip_samples == CLIP_SAMPLES == 34_398
    assert card.contract.crop == "centre"
    assert card.band_hz == (0, 16_000)
    assert card.encoders == ENCODERS
    assert list(ENCODERS[1:]) == sorted(ENCODERS[1:])
    assert len(card.weights_sha256) == 64
    assert card.licence == "CC-BY-NC-4.0"


def test_another_name_and_another_number_of_encoders(tmp_path, clips):
    path = write(tmp_path, bundles.specnn_variables(n_encoders=4))
    opened = open_specnn(path, OpenOptions("mine", n_encoders=4))
    assert opened.card.name == "mine"
    assert opened.card.kind == "specnn_amplitude"
    assert opened.card.encoders == ("real", "encoder1", "encoder2", "encoder3")
    assert opened.score(clips[:2]).encoders.shape == (2, 4)


def test_a_checkpoint_of_save_weights(tmp_path, variables, detector, clips):
    prefix = bundles.write_specnn(tmp_path / "best", variables)
    found = load_specnn(prefix)
    np.testing.assert_array_equal(found.score(clips[:2]).logits, detector.score(clips[:2]).logits)
    assert found.card.weights_sha256 == detector.card.weights_sha256


def test_everything_that_does_not_fit_is_named_at_once(tmp_path, variables):
    changed = dict(variables)
    del changed["layer_with_weights-3/gamma"]
    del changed["layer_with_weights-12/bias"]
    changed["layer_with_weights-2/kernel"] = np.zeros((3, 3, 32, 16), np.float32)
    changed["layer_with_weights-4/bias"] = np.zeros(64, np.float64)
    changed["layer_with_weights-5/beta"] = np.full(64, np.nan, np.float32)
    changed["layer_with_weights-15/kernel"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        load_specnn(write(tmp_path, changed))
    message = str(caught.value)
    assert "\n" not in message
    assert "variables.index: " in message
    for problem in (
        "layer_with_weights-3/gamma is missing",
        "layer_with_weights-12/bias is missing",
        "layer_with_weights-2/kernel has shape (3, 3, 32, 16), expected (3, 3, 16, 32)",
        "layer_with_weights-4/bias is float64, expected float32",
        "layer_with_weights-5/beta holds numbers that are not finite",
        "layer_with_weights-15/kernel is not expected",
    ):
        assert problem in message
    assert message.count("layer_with_weights-") == 6


def test_an_encoder_head_of_another_size(tmp_path, variables):
    path = write(tmp_path, variables)
    with pytest.raises(WeightsError) as caught:
        load_specnn(path, n_encoders=7)
    assert "14/kernel has shape (128, 10), expected (128, 7)" in str(caught.value)
    assert "14/bias has shape (10,), expected (7,)" in str(caught.value)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there(tmp_path, variables, device):
    path = write(tmp_path, variables)
    with pytest.raises(DetectorError, match=f"^device '{device}': ") as caught:
        load_specnn(path, device=device)
    assert "\n" not in str(caught.value)


def golden_clip(name):
    samples, rate_hz = soundfile.read(GOLDEN / "audio" / name, dtype="float32", always_2d=True)
    samples = samples.T
    start = max(0, (samples.shape[1] - CLIP_SAMPLES) // 2)
    cut = samples[:, start : start + CLIP_SAMPLES]
    return as_clip(np.pad(cut, ((0, 0), (0, CLIP_SAMPLES - cut.shape[1]))), rate_hz)


@pytest.fixture(scope="module")
def golden_rows():
    path = GOLDEN / "specnn_amplitude" / "expected.csv"
    if not path.exists():
        pytest.skip("needs golden values in the folder shared")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_golden_scores(golden_rows):
    golden = load_specnn(GOLDEN / "specnn_amplitude")
    scores = golden.score([golden_clip(row["file"]) for row in golden_rows])
    prob_fake = 1 / (1 + np.exp(-scores.logits))
    for at, row in enumerate(golden_rows):
        assert prob_fake[at] == pytest.approx(float(row["prob_fake"]), abs=1e-4)
        assert 1 - prob_fake[at] == pytest.approx(float(row["prob_real"]), abs=1e-4)
        expected = [float(row[f"encoder_{number}"]) for number in range(10)]
        np.testing.assert_allclose(scores.encoders[at], expected, rtol=0, atol=1e-4)


def test_golden_features():
    path = GOLDEN / "specnn_amplitude" / "features_stereo44k1_20s.npz"
    if not path.exists():
        pytest.skip("needs golden values in the folder shared")
    with np.load(path) as file:
        expected = file["features"][..., 0]
    mono = mix_first_two(golden_clip("stereo44k1_20s.flac").samples)
    (found,) = amplitude_features(torch.from_numpy(mono)[None]).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("n_samples", [100, CLIP_SAMPLES, 882_000])
def test_the_contract_places_the_golden_slice(detector, n_samples):
    (window,) = place_windows(n_samples, detector.card.contract)
    assert window.start == max(0, (n_samples - CLIP_SAMPLES) // 2)
    cut = np.zeros((1, window.n_samples), np.float32)
    assert pad_clip(cut, CLIP_SAMPLES).shape == (1, CLIP_SAMPLES)


def test_scores_are_the_same_to_the_bit_whatever_else_is_in_the_batch(detector, clips, scores):
    for order in (range(35), reversed(range(35)), (7, 3, 3, 30)):
        chosen = list(order)
        again = detector.score([clips[n] for n in chosen])
        np.testing.assert_array_equal(again.logits, scores.logits[chosen])
    alone = np.array([detector.score([clip]).logits[0] for clip in clips])
    np.testing.assert_array_equal(alone, scores.logits)
