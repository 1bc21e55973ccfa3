"""The SpecTTTra detectors: golden scores, folders, states that do not fit, names."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from earwitness.audio.clips import Clip
from earwitness.core.cards import Preprocessing
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.manifest import Manifest
from earwitness.detectors.loading import HUB_NAMES, open_detector
from earwitness.scoring.predict import predict
from spectttra_folders import make_config, make_state, write_folder

NAME = "sonics-spectttra-gamma-5s"
GOLDEN_CASES: list[tuple[Preprocessing, str, float]] = [
    ("published", "expected_reference_loader.csv", 1e-3),
    ("correct", "expected_resampled_16k.csv", 2e-3),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine", NAME)


def a_clip(rate_hz: int = 16_000, n_samples: int = 80_000, channels: int = 2) -> Clip:
    noise = np.random.default_rng(0).standard_normal((channels, n_samples))
    return Clip((0.1 * noise).astype(np.float32), rate_hz)


@pytest.mark.parametrize(("preprocessing", "table", "tolerance"), GOLDEN_CASES)
@pytest.mark.parametrize("name", HUB_NAMES)
def test_golden_scores(
    shared: Path, name: str, preprocessing: Preprocessing, table: str, tolerance: float
) -> None:
    golden = shared / "golden" / "spectttra"
    if not golden.is_dir():
        pytest.skip(f"no folder {golden} with golden values")
    detector = open_detector(name, weights={name: golden / name}, preprocessing=preprocessing)
    expected = pl.read_csv(golden / table).filter(pl.col("model") == name).fill_null(0)
    rows = expected.select(filepath="file", skip_time="skip_time", target=pl.lit(1))
    manifest = Manifest("golden", rows, (shared / "golden" / "audio",))
    (found,) = predict([manifest], [detector], use_skip_time=True, n_workers=0)
    assert found.frame["preprocessing"].unique().to_list() == [preprocessing]
    assert expected.height == 8
    deviation = found.frame["logit"] - expected["logit"]
    assert deviation.abs().max() <= tolerance  # type: ignore[operator]


def test_a_folder_of_ones_own(folder: Path) -> None:
    card = open_detector(str(folder)).card
    assert (card.name, card.kind, card.trained_on) == ("mine", "spectttra", None)
    assert (card.preprocessing, card.contract.native_rate) == ("correct", False)
    assert card.band_hz == (20, 8_000)


@pytest.mark.parametrize(
    "asked", [NAME, f"{NAME}@v1", f"awsaf49/{NAME}", f"awsaf49/{NAME}@refs/pr/1"]
)
def test_published_names_and_where_their_weights_are_looked_for(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_file = asked.replace("/", "__").replace("@", "--")
    write_folder(tmp_path / "shelf" / as_file, NAME)
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "shelf"))
    found = open_detector(asked)
    assert (found.card.name, found.card.kind) == (asked, NAME)
    assert found.card.trained_on == ("SONICS train",)
    other = write_folder(tmp_path / "other", NAME, seed=1)
    given = open_detector(asked, weights={asked: other})
    assert given.card.weights_sha256 != found.card.weights_sha256


def test_safetensors_and_pickled_tensors_give_the_same_scores(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other", NAME, state_file="model.safetensors")
    clips = [a_clip()]
    first, second = (
        open_detector(str(path)).score(clips).logits for path in (folder, tmp_path / "other")
    )
    np.testing.assert_array_equal(first, second)
    (one,) = open_detector(NAME, weights={NAME: folder / "pytorch_model.bin"}).score(clips).logits
    assert one == first[0]


def test_published_preprocessing_takes_any_rate_as_its_own(folder: Path) -> None:
    detector = open_detector(str(folder), preprocessing="published")
    clips = [a_clip(rate) for rate in (16_000, 44_100, 48_000)]
    logits = detector.score(clips).logits
    assert len(set(logits)) == 1
    with pytest.raises(DetectorError, match="mine: clip 0: 44100 Hz, expected 16000 Hz"):
        open_detector(str(folder)).score(clips[1:])


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (a_clip(n_samples=79_999), "79999 samples, expected 80000"),
        (a_clip(channels=0), "no channels, expected one or more"),
        (Clip(np.full((1, 80_000), np.nan, np.float32), 16_000), "not finite"),
    ],
)
def test_clips_that_do_not_follow_the_contract(folder: Path, clip: Clip, message: str) -> None:
    with pytest.raises(DetectorError, match=message):
        open_detector(str(folder)).score([a_clip(), clip])


def test_a_network_without_norms_after_its_tokens(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "plain", NAME, model__pre_norm=False)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tokeniser = "encoder.st_tokenizer.temporal_tokenizer"
    assert f"{tokeniser}.conv1d.bias" in state
    assert f"{tokeniser}.norm_pre.weight" not in state
    assert np.isfinite(open_detector(str(folder)).score([a_clip()]).logits).all()


WRONG_CONFIGS = {
    "model.name 'ViT', expected 'SpecTTTra'": {"model__name": "ViT"},
    "model.pe_learnable: ": {"model__pe_learnable": False},
    "model.t_clip: ": {"model__t_clip": "many"},
    "melspec.norm: ": {"melspec__norm": "min_max"},
    "embed_dim 13, expected a multiple of num_heads 2": {"model__embed_dim": 13},
    "input_shape 2 × 128, expected at least": {"model__input_shape": [2, 128]},
    "f_max 9000, expected rising frequencies up to 8000 Hz": {"melspec__f_max": 9_000},
    "win_length 4096, expected at most n_fft 2048": {"melspec__win_length": 4_096},
    "audio.max_len 1024, expected over 1024 samples": {"audio__max_len": 1_024},
    "num_classes: ": {"num_classes": 2},
}


@pytest.mark.parametrize("message", WRONG_CONFIGS)
def test_configs_of_something_else_are_told_in_one_line(folder: Path, message: str) -> None:
    config = make_config(NAME, **WRONG_CONFIGS[message])
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError) as caught:
        open_detector(str(folder))
    assert str(caught.value).startswith(f"{folder / 'config.json'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": 3}', "[" * 100_000])
def test_a_config_that_is_none(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json: ") as caught:
        open_detector(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_of_another_published_network_under_a_name(tmp_path: Path) -> None:
    other = write_folder(tmp_path / "alpha", "sonics-spectttra-alpha-5s")
    message = "f_clip 1, t_clip 3, 5 s; expected f_clip 5, t_clip 7, 5 s of sonics-spectttra-gamma"
    with pytest.raises(WeightsError, match=message):
        open_detector(NAME, weights={NAME: other})
    assert open_detector(str(other)).card.name == "alpha"


def test_everything_that_does_not_fit_is_named_at_once(folder: Path) -> None:
    state = make_state(make_config(NAME))
    del state["classifier.bias"]
    state["classifier.weight"] = torch.zeros(2, 12)
    state["encoder.extra"] = torch.zeros(1)
    mlp = "encoder.transformer.blocks.0.mlp.fc1"
    state[f"{mlp}.bias"] = torch.full_like(state[f"{mlp}.bias"], torch.nan)
    state[f"{mlp}.weight"] = state[f"{mlp}.weight"].to(torch.int32)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError) as caught:
        open_detector(str(folder))
    for problem in (
        "classifier.bias is missing",
        "classifier.weight has shape (2, 12), expected (1, 12)",
        "encoder.extra is not expected",
        f"{mlp}.bias holds numbers that are not finite",
        f"{mlp}.weight is torch.int32, expected floating-point numbers",
    ):
        assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_problems_are_counted(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"is missing; and 2\d more$"):
        open_detector(str(folder))


def test_mel_filters_that_are_not_those_of_the_config(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(make_config(NAME, melspec__f_min=200)))
    with pytest.raises(WeightsError, match="fb holds other mel filters"):
        open_detector(str(folder))


class Intruder:
    """What a pickle with code in it looks like."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("intruder-was-here"),))


def test_files_with_code_in_them_are_refused_unrun(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"classifier.bias": Intruder()}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds more than tensors, or is damaged"):
        open_detector(str(folder))
    assert not Path("intruder-was-here").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\3\4", pickle.dumps([1, 2])])
def test_damaged_files_of_weights(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        open_detector(str(folder))
    assert str(caught.value).startswith(f"{folder / file}: ")
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_detector(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsError, match=r"expected model\.safetensors or pytorch_model\.bin"):
        open_detector(str(folder))
    with pytest.raises(
        WeightsError, match=r"expected card\.json .*, config\.json .* or detector\.yaml"
    ):
        open_detector(str(tmp_path))


def test_a_folder_that_is_not_there_may_be_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = "no folder of that name here, and offline .*--weights models/mine=PATH"
    with pytest.raises(WeightsError, match=message):
        open_detector("models/mine")


def test_cpu_threads_change_nothing_that_matters(folder: Path) -> None:
    detector, before = open_detector(str(folder)), torch.get_num_threads()
    logits = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            logits.append(detector.score([a_clip()]).logits[0])
    finally:
        torch.set_num_threads(before)
    assert logits[0] == pytest.approx(logits[1], abs=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__embed_dim": 1 << 40},
        {"model__embed_dim": 8_000, "model__num_heads": 8, "model__num_layers": 200},
        {"model__num_layers": 10**9},
        {"model__mlp_ratio": 1e9},
        {"model__mlp_ratio": 1e-9},
        {"model__input_shape": [1 << 30, 1 << 30]},
        {"model__input_shape": [-128, 128]},
        {"melspec__n_mels": 10**9},
        {"melspec__n_fft": 10**9, "melspec__win_length": 10**9},
        {"melspec__f_max": float("nan")},
        {"melspec__top_db": float("inf")},
        {"audio__max_len": 10**15},
        {"audio__sample_rate": 10**12},
    ],
    ids=str,
)
def test_a_config_of_absurd_size_is_refused_before_memory_is_taken(
    folder: Path, changes: dict[str, object]
) -> None:
    (folder / "config.json").write_text(json.dumps(make_config(NAME, **changes)), "utf-8")
    with pytest.raises(WeightsError, match=r"config\.json: .*(model|melspec|audio)"):
        open_detector(str(folder))
