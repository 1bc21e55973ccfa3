"""What every registered detector must hold to; a new one is added to ``make_weights``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import boxes
import bundles
import foreign
import hf_folders
import lofcz_folders
import resnets
import spectttra_folders
from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import Detector
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.detectors.loading import DETECTORS, HUB_NAMES, look_up, open_detector
from earwitness.scoring.batching import score_clips
from earwitness.scoring.predict import predict


def make_specnn(folder: Path) -> None:
    bundles.write_specnn(folder / "variables" / "variables", bundles.specnn_variables())


def make_comb(folder: Path) -> None:
    folder.mkdir(exist_ok=True)  # it has no weights


def make_box(folder: Path) -> None:
    boxes.write_box(folder)


def make_fakeprint(folder: Path) -> None:
    card = fakeprint_card(name="fakeprint", trained_on=None, training_items=None)
    save_fakeprint(card, np.random.default_rng(0).standard_normal(4_087), 0.5, folder)


def make_resnet(folder: Path) -> None:
    resnets.write_resnet(folder)


def make_lofcz_lr(folder: Path) -> None:
    lofcz_folders.write_lr(folder)


def make_lofcz_cnn(folder: Path) -> None:
    lofcz_folders.write_cnn(folder)


def make_spectttra(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        spectttra_folders.write_folder(folder, name)

    return make


make_weights: dict[str, Callable[[Path], None]] = {
    "comb": make_comb,
    "box": make_box,
    "specnn_amplitude": make_specnn,
    "fakeprint": make_fakeprint,
    "resnet18": make_resnet,
    "lofcz-lr": make_lofcz_lr,
    "lofcz-cnn": make_lofcz_cnn,
    **{name: make_spectttra(name) for name in HUB_NAMES},
}


def test_every_registered_detector_is_tested() -> None:
    assert set(make_weights) == set(DETECTORS)


described: dict[str, Callable[[Path], str]] = {
    "onnx": foreign.write_onnx,
    "hf": hf_folders.write_wav2vec2,
}
"""Kind of ``detector.yaml`` → what makes a detector of it and returns its name."""


@pytest.fixture(scope="module", params=list(make_weights))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[*make_weights, *described])
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    name = str(request.param)
    folder = tmp_path_factory.mktemp("weights") / name
    if name in described:
        return open_detector(described[name](folder))
    make_weights[name](folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_CACHE", str(folder / "cache"))
        return open_detector(name, weights={name: folder})


def clip_samples(detector: Detector) -> int:
    contract = detector.card.contract
    shortest = int(float(detector.card.details.get("shortest_s", 0)) * contract.sample_rate_hz)
    return contract.clip_samples or max(contract.min_samples, shortest) + 4_000


def make_clip(detector: Detector, seed: int, *, level: float = 0.1) -> Clip:
    rng = np.random.default_rng(seed)
    samples = level * rng.standard_normal((2, clip_samples(detector)), dtype=np.float32)
    return Clip(np.clip(samples, -1, 1), detector.card.contract.sample_rate_hz)


def test_the_card_says_what_is_needed_to_run_again(detector: Detector) -> None:
    card = detector.card
    assert card.kind in described or card.name == card.kind
    assert card.band_hz is not None
    assert len(card.weights_sha256 or "") == 64
    assert 0 <= card.band_hz[0] < card.band_hz[1] <= card.contract.sample_rate_hz / 2
    assert card.licence
    assert card.source
    assert card.limits.endswith(".")
    assert type(card).model_validate_json(card.model_dump_json()) == card


def test_the_card_is_told_without_opening(name: str, tmp_path: Path) -> None:
    make_weights[name](tmp_path / "weights")
    places = {name: tmp_path / "weights"}
    listing = look_up(name, weights=places)
    assert listing.card == open_detector(name, weights=places).card
    assert listing.is_here
    bare = look_up(name).card
    assert bare is not None
    is_shipped = DETECTORS.load(name).weights is not None
    assert (bare.name, bare.weights_sha256 is None) == (name, not is_shipped)
    assert bare.contract == listing.card.contract
    assert bare.band_hz == listing.card.band_hz
    assert bare.summary
    assert bare.weights_from


def test_scores_have_the_shape_of_the_batch(detector: Detector) -> None:
    for n in (0, 1, 3):
        scores = detector.score([make_clip(detector, seed) for seed in range(n)])
        assert scores.logits.shape == (n,)
        assert scores.logits.dtype == np.float64
        if detector.card.encoders:
            assert scores.encoders is not None
            assert scores.encoders.shape == (n, len(detector.card.encoders))
            np.testing.assert_allclose(scores.encoders.sum(axis=1), 1, atol=1e-6)
        else:
            assert scores.encoders is None


@pytest.fixture(scope="module")
def alone(detector: Detector) -> list[tuple[Clip, float]]:
    """Four clips, each with its score when it is judged alone."""
    clips = [make_clip(detector, seed, level=0.03 * (seed + 1)) for seed in range(4)]
    return [(clip, detector.score([clip]).logits[0]) for clip in clips]


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 4))
@example([0, 1, 2, 3], 1)
@example([3, 0, 2, 0, 1], 4)
def test_a_score_does_not_depend_on_batch_mates_order_or_time(
    detector: Detector, alone: list[tuple[Clip, float]], order: list[int], cut: int
) -> None:
    parts = [order[start : start + cut] for start in range(0, len(order), cut)]
    scores = [detector.score([alone[at][0] for at in part]).logits for part in parts]
    np.testing.assert_array_equal(np.concatenate(scores), [alone[at][1] for at in order])


EDGES: dict[str, Callable[[int, int], np.ndarray]] = {
    "silence": lambda *shape: np.zeros(shape, np.float32),
    "clipping": lambda *shape: np.sign(np.random.default_rng(0).random(shape, np.float32) - 0.5),
    "offset": lambda *shape: np.ones(shape, np.float32),
    "denormal": lambda *shape: np.full(shape, 1e-40, np.float32),
    "one sample": lambda *shape: np.eye(1, shape[1], dtype=np.float32).repeat(shape[0], axis=0),
}


@pytest.mark.parametrize("kind", EDGES)
@pytest.mark.parametrize("channels", [1, 8])
def test_scores_are_finite_for_sound_at_the_edge(
    detector: Detector, kind: str, channels: int
) -> None:
    samples = EDGES[kind](channels, clip_samples(detector))
    clip = Clip(samples, detector.card.contract.sample_rate_hz)
    assert np.isfinite(detector.score([clip]).logits).all()


@pytest.mark.parametrize("peak", [1e5, 1e10, 1e19, 3e38])
@pytest.mark.parametrize("kind", ["run", "noise"])
def test_scores_of_huge_samples_are_finite_or_refused(
    detector: Detector, kind: str, peak: float
) -> None:
    clip = make_clip(detector, 0)
    samples = clip.samples.copy()
    middle = clip.n_samples // 2
    if kind == "run":
        samples[:, middle : middle + 10] = peak
    else:
        samples *= np.float32(peak)
    scored = score_clips(detector, [Clip(samples, clip.sample_rate_hz)])[0]
    if isinstance(scored, str):
        assert peak > 1e10
    else:
        assert np.isfinite(scored.logit)


def test_files_of_extreme_values_have_a_score_or_a_reason(
    detector: Detector, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal(44_100 * 6)).astype(np.float32)
    files: dict[str, np.ndarray] = {"noise": noise, "loud": noise * np.float32(1e9)}
    for name, value in {"1e19": 1e19, "3e38": 3e38, "nan": np.nan, "inf": -np.inf}.items():
        files[name] = noise.copy()
        files[name][len(noise) // 4 : -len(noise) // 8] = value
    files |= {"denormal": np.sign(noise) * np.float32(1e-41), "dc": np.full_like(noise, 0.5)}
    for name, samples in files.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 44_100, subtype="FLOAT")
    frame = pl.DataFrame({"filepath": [f"{name}.wav" for name in files], "target": 0})
    (found,) = predict(Manifest("m", frame, (tmp_path,)), [detector], n_workers=0)
    rows = {row["filepath"][:-4]: row for row in found.frame.iter_rows(named=True)}
    scored = [name for name in rows if rows[name]["logit"] is not None]
    if rows["loud"]["abstained"]:  # clipped to the ceiling of its features
        scored.append("loud")
    assert scored == ["noise", "loud"]
    for name in ("1e19", "3e38"):
        assert f"holds samples of up to {name[0]}e+{name[2:]}" in rows[name]["error"]
    for name in ("nan", "inf"):
        assert rows[name]["error"] == "holds NaN or infinite samples"
    assert "nothing to analyse (at most -400 dBFS" in rows["denormal"]["abstained"]
    assert "nothing to analyse (" in rows["dc"]["abstained"]


def test_input_is_left_as_it_was(detector: Detector) -> None:
    clip = make_clip(detector, 0)
    before = clip.samples.copy()
    detector.score([clip])
    np.testing.assert_array_equal(clip.samples, before)


def test_a_clip_of_another_rate_is_refused_or_resampled(detector: Detector) -> None:
    clip = make_clip(detector, 0)
    if detector.card.contract.resampled_by:
        other = Clip(np.tile(clip.samples, 2), 2 * clip.sample_rate_hz)
        assert np.isfinite(detector.score([other]).logits).all()
        return
    with pytest.raises(DetectorError, match=detector.card.name) as caught:
        detector.score([Clip(clip.samples, clip.sample_rate_hz // 2)])
    assert "\n" not in str(caught.value)


def test_missing_weights_say_where_was_looked_and_how_to_give_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if DETECTORS.load(name).weights is not None:
        pytest.skip("its weights are part of the package")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match=f"looked at .*mine.*give --weights {name}=PATH"):
        open_detector(name)
