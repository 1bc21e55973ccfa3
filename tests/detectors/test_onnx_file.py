"""ONNX models of others, described in ``detector.yaml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from scipy import special
from torch import nn

import spectttra_folders
from builders import write_tone
from earwitness.audio.clips import Clip
from earwitness.bench.config import DetectorSection
from earwitness.core.errors import DetectorError, EarwitnessError, WeightsError
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.base import Detector
from earwitness.detectors.described import to_logits
from earwitness.detectors.loading import detector_name, hash_weights, look_up, open_detector
from earwitness.detectors.nets.resnet18 import draw_images, fake_logits
from earwitness.detectors.nets.spectttra import load_spectttra
from earwitness.detectors.network import export_onnx
from earwitness.scoring.predict import predict
from foreign import CLIP_SAMPLES, RATE_HZ, Waves, describe, exported, write_onnx


def noise(detector: Detector, n: int) -> list[Clip]:
    contract, rng = detector.card.contract, np.random.default_rng(3)
    shape = (1, contract.clip_samples)
    return [
        Clip(rng.uniform(-0.5, 0.5, shape).astype(np.float32), contract.sample_rate_hz)
        for _ in range(n)
    ]


def network_logits(network: torch.nn.Module, clips: list[Clip]) -> np.ndarray[Any, Any]:
    samples = np.concatenate([clip.samples for clip in clips])
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(samples)).double().numpy()


def test_logits_are_those_of_the_network(tmp_path: Path) -> None:
    detector = open_detector(write_onnx(tmp_path))
    clips = noise(detector, 3)
    expected = network_logits(Waves(), clips)[:, 0]
    np.testing.assert_allclose(detector.score(clips).logits, expected, atol=1e-5)
    assert detector.card.name == "tiny"
    assert detector.card.trained_on is None
    assert detector.card.licence == detector.card.source == "unknown"
    assert detector.remarks == []


@pytest.mark.parametrize("fake", [0, 1])
def test_the_fake_one_of_two_classes_is_the_named_one(tmp_path: Path, fake: int) -> None:
    name = write_onnx(tmp_path, exported(2), output="two_logits", fake=fake)
    detector = open_detector(name)
    clips = noise(detector, 2)
    both = network_logits(Waves(2), clips)
    expected = both[:, fake] - both[:, 1 - fake]
    np.testing.assert_allclose(detector.score(clips).logits, expected, atol=1e-5)


def test_probabilities_become_logits_and_others_are_refused() -> None:
    probs = np.array([[0.25], [1.0], [0.0]])
    logits = to_logits(probs, "prob", 1)
    np.testing.assert_allclose(special.expit(logits), probs[:, 0], atol=1e-9)
    np.testing.assert_array_equal(to_logits(probs, "prob", 0), -logits)
    np.testing.assert_allclose(
        to_logits(np.array([[0.9, 0.1]]), "two_probs", 0), special.logit(0.9)
    )
    for value in (1.5, -0.1, np.nan):
        with pytest.raises(DetectorError, match="expected 0 to 1"):
            to_logits(np.array([[value]]), "prob", 1)
    with pytest.raises(DetectorError, match="2 values, expected 1"):
        to_logits(np.zeros((1, 2)), "logit", 1)


def test_a_network_that_mixes_the_batch_is_found(tmp_path: Path) -> None:
    detector = open_detector(write_onnx(tmp_path, exported(mixes=True)))
    clips = noise(detector, 3)
    together = detector.score(clips).logits
    alone = np.concatenate([detector.score([clip]).logits for clip in clips])
    np.testing.assert_array_equal(together, alone)
    (remark,) = detector.remarks
    assert "scores depend on the batch" in remark


def test_images_are_drawn_by_the_contract(tmp_path: Path) -> None:
    images = SpectrogramContract(width=64, height=64)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 2),
    ).eval()
    samples = torch.rand(2, images.clip_samples) - 0.5
    (tmp_path / "m.onnx").write_bytes(export_onnx(network, draw_images(samples, images)))
    describe(
        tmp_path / "detector.yaml",
        kind="onnx",
        file="m.onnx",
        input="spectrogram",
        images=images.model_dump(mode="json"),
        output="two_logits",
        fake=1,
        name="pictures",
    )
    detector = open_detector(str(tmp_path))
    assert detector.card.name == "pictures"
    clips = [Clip(row[None].numpy(), images.sample_rate_hz) for row in samples]
    with torch.inference_mode():
        expected = fake_logits(network(draw_images(samples, images)), 1).numpy()
    np.testing.assert_allclose(detector.score(clips).logits, expected, rtol=1e-4, atol=1e-4)


def test_gamma_5s_scores_as_before_its_export(tmp_path: Path) -> None:
    name = "sonics-spectttra-gamma-5s"
    golden = Path(__file__).parents[3] / "shared" / "golden" / "spectttra" / name
    folder = golden if (golden / "config.json").is_file() else tmp_path / name
    if folder != golden:
        spectttra_folders.write_folder(folder, name)
    ours = open_detector(str(folder))
    network, config = load_spectttra(folder)
    n_samples = config.audio.max_len
    model = export_onnx(network.eval(), torch.rand(2, n_samples) - 0.5)
    described = write_onnx(tmp_path / "x", model, clip_samples=n_samples)
    detector = open_detector(described)
    clips = noise(detector, 2)
    clips = [Clip(c.samples / np.abs(c.samples).max(), c.sample_rate_hz) for c in clips]
    np.testing.assert_allclose(
        detector.score(clips).logits, ours.score(clips).logits, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"clip_samples": None}, "input waveform: expected sample_rate_hz and clip_samples"),
        ({"output": "two_logits"}, "expected 2 values a clip"),
        ({"fake": None}, "fake: Field required"),
        ({"output": None}, "output: Field required"),
        ({"output_name": "x"}, "no output 'x', expected one of"),
        ({"kind": "command"}, "kind: found 'command', expected 'onnx'"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"input": "spectrogram"}, "input spectrogram: expected images"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    name = write_onnx(tmp_path)
    content = yaml.safe_load((tmp_path / "detector.yaml").read_text()) | changes
    describe(tmp_path / "detector.yaml", **{k: v for k, v in content.items() if v is not None})
    with pytest.raises(WeightsError, match=problem) as caught:
        open_detector(name)
    assert "\n" not in str(caught.value)


def test_another_length_than_the_model_takes_is_refused(tmp_path: Path) -> None:
    name = write_onnx(tmp_path)
    path = tmp_path / "detector.yaml"
    path.write_text(path.read_text().replace(f"clip_samples: {CLIP_SAMPLES}", "clip_samples: 999"))
    with pytest.raises(WeightsError, match=r"input features of shape .*expected \(n, 999\)"):
        open_detector(name)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file"),
        (b"[1]", "found list, expected keys"),
        (b"a: [", "no YAML"),
        (b"a: &x 1\nb: *x", "found an alias"),
        (b"\xff\xfe\x00", "no YAML"),
        (b"kind: onnx\nfake: !!python/object/apply:os.system ['x']", "no YAML"),
        (b"#" * (1 << 21), "over 1048576 bytes"),
    ],
    ids=["absent", "list", "open", "alias", "bytes", "python", "long"],
)
def test_a_hostile_description_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    name = write_onnx(tmp_path)
    path = tmp_path / "detector.yaml"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(EarwitnessError, match=problem) as caught:
        open_detector(name)
    assert "\n" not in str(caught.value)


def test_no_model_and_torchscript_are_refused(tmp_path: Path) -> None:
    name = write_onnx(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(b"nothing of that kind")
    with pytest.raises(WeightsError, match="cannot be opened as ONNX"):
        open_detector(name)
    with pytest.raises(DetectorError, match=r"TorchScript archives are not opened.*onnx:FILE"):
        open_detector("torchscript:model.pt")


def test_it_is_described_and_hashed_without_opening(tmp_path: Path) -> None:
    name = write_onnx(tmp_path)
    listing = look_up(name)
    assert listing.card == open_detector(name).card
    assert listing.is_here
    assert set(hash_weights(name, {})) == {"detector.yaml", "tiny.onnx"}
    assert detector_name(name, {}) == "tiny"


def test_a_benchmark_takes_it_relative_to_its_file(tmp_path: Path) -> None:
    write_onnx(tmp_path / "m")
    section = DetectorSection.model_validate("onnx:m/tiny.onnx", context={"folder": tmp_path})
    assert section.name == f"onnx:{tmp_path / 'm' / 'tiny.onnx'}"


def test_files_are_scored_with_an_error_for_the_damaged_one(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_text("no sound")
    frame = pl.DataFrame({"filepath": ["a.wav", "b.wav"], "target": [0, 1]})
    name = write_onnx(tmp_path / "m", licence="CC0", trained_on=["my songs"])
    (found,) = predict(Manifest("set", frame, (tmp_path,)), [name], n_workers=0)
    assert found.detector == "tiny"
    assert found.frame["logit"].is_not_null().to_list() == [True, False]
    assert found.frame["error"][1]
    card = json.loads(look_up(name).card.model_dump_json())  # type: ignore[union-attr]
    assert (card["licence"], card["trained_on"]) == ("CC0", ["my songs"])
    assert card["contract"]["sample_rate_hz"] == RATE_HZ
