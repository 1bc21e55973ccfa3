from __future__ import annotations

import json
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from checkpoints import SHAPES, lightning, prefixed
from earwitness.audio.clips import Clip
from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.spectrogram import SpectrogramContract, parse_classes, parse_label
from earwitness.detectors.loading import open_detector
from earwitness.detectors.nets.resnet18 import ResNet18, load_backbone, load_resnet, read_resnet
from resnets import SMALL, make_network, write_resnet

State = dict[str, torch.Tensor]


def golden_state(keys: dict[str, list[int]]) -> State:
    """Fill the weights by the formula that the golden values were made with."""
    state = {}
    for key, shape in keys.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            values = np.zeros(shape, np.int64)
        elif key.endswith(("running_mean", "bias")):
            values = rng.normal(0, 0.1, shape).astype(np.float32)
        elif key.endswith("running_var") or len(shape) == 1:
            values = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            spread = np.sqrt(2 / np.prod(shape[1:]))
            values = rng.normal(0, spread, shape).astype(np.float32)
        state[key] = torch.from_numpy(np.asarray(values))
    return state


@pytest.fixture
def golden(shared: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(
        (shared / "golden/resnet18/expected.json").read_text(encoding="utf-8")
    )
    return content


def test_logits_are_those_of_torchvision(golden: dict[str, object]) -> None:
    keys = golden["keys"]
    assert isinstance(keys, dict)
    network = ResNet18(2).eval()
    assert {name: list(values.shape) for name, values in network.state_dict().items()} == keys
    network.load_state_dict(golden_state(keys), strict=True)
    shapes = ((2, 3, 224, 224), (2, 3, 128, 160))
    for seed, (shape, expected) in enumerate(zip(shapes, golden["logits"], strict=True)):  # type: ignore[call-overload]
        images = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
        with torch.inference_mode():
            logits = network(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-3)


@pytest.mark.parametrize("how", SHAPES)
def test_foreign_checkpoints_are_read(how: str, tmp_path: Path) -> None:
    state = make_network().state_dict()
    path = tmp_path / "their.pth"
    torch.save(SHAPES[how](state), path)
    read = read_resnet(path).state_dict()
    assert all(torch.equal(read[name], state[name]) for name in state)
    begun = ResNet18(2)
    load_backbone(begun, path)
    assert torch.equal(begun.layer4[1].bn2.weight, state["layer4.1.bn2.weight"])


def test_the_format_before_pytorch_1_6_is_read(tmp_path: Path) -> None:
    state = make_network().state_dict()
    path = tmp_path / "old.pth"
    torch.save(lightning(state), path, _use_new_zipfile_serialization=False)
    read = read_resnet(path).state_dict()
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "said",
    [
        {"class_to_idx": {"Deepfake": 0, "Original": 1}},
        {"classes": ["Deepfake", "Original"]},
        {"idx_to_class": {0: "fake", 1: "real"}},
        {"hyper_parameters": {"class_names": ("Deepfake", "Original")}},
    ],
)
def test_classes_that_a_checkpoint_names_are_taken(said: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "their.pth"
    torch.save({"state_dict": make_network().state_dict(), **said}, path)
    detector = load_resnet(path)
    assert parse_classes(detector.card.classes) == 0
    assert "as the file itself says" in detector.remarks[0]
    other = load_resnet(path, classes=("Original", "Deepfake"))
    assert "as --classes says; the file itself says" in other.remarks[0]
    (image,) = images_of(1)
    np.testing.assert_allclose(detector.score_images([image]), -other.score_images([image]))


def images_of(n: int, size: tuple[int, int] = (224, 224)) -> list[np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_which_output_is_the_deepfake_is_asked_for_and_not_guessed(
    n_outputs: int, tmp_path: Path
) -> None:
    torch.save(make_network(n_outputs).state_dict(), tmp_path / "their.pth")
    with pytest.raises(WeightsError, match="classes unknown, expected --classes"):
        load_resnet(tmp_path / "their.pth")
    with pytest.raises(WeightsError, match="cat, dog: classes unknown"):
        load_resnet(tmp_path / "their.pth", classes=("cat", "dog"))
    scores = [
        load_resnet(tmp_path / "their.pth", classes=classes).score_images(images_of(2))
        for classes in (("original", "deepfake"), ("fake", "bonafide"))
    ]
    np.testing.assert_allclose(scores[0], -scores[1])
    assert np.abs(scores[0]).min() > 1e-3


def test_two_outputs_give_the_log_odds_of_their_softmax(tmp_path: Path) -> None:
    torch.save(make_network().state_dict(), tmp_path / "their.pth")
    (image,) = images_of(1)
    detector = load_resnet(tmp_path / "their.pth", classes=("real", "fake"))
    scaled = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    tensor = torch.from_numpy(scaled.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.inference_mode():
        probs = make_network()(tensor).softmax(1)[0].double().numpy()
    assert detector.score_images([image])[0] == pytest.approx(np.log(probs[1] / probs[0]), abs=1e-4)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code in a file of weights was run",))


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    state = make_network().state_dict()
    deep = {f"layer3.{n}.conv1.weight": torch.zeros(256, 256, 3, 3) for n in range(6)}
    deep |= {
        f"layer{k}.{n}.conv1.weight": torch.zeros(1)
        for k, m in ((1, 3), (2, 4), (4, 3))
        for n in range(m)
    }
    bottleneck = {"layer1.0.conv3.weight": torch.zeros(256, 64, 1, 1)}
    two_layers = {
        f"fc.{n}.weight": torch.zeros(*shape) for n, shape in ((1, (64, 512)), (4, (2, 64)))
    }
    body = {n: v for n, v in state.items() if not n.startswith("fc.")}
    cases = {
        "three.pth": (make_network(3).state_dict(), r"fc.weight of shape \(3, 512\), expected"),
        "other.pth": ({"weight": torch.zeros(2)}, "a table of weight, expected a table of tensors"),
        "vgg.pth": (
            {"features.0.weight": torch.zeros(64, 3, 3, 3)},
            "no ResNet among its 1 tensors",
        ),
        "less.pth": ({n: v for n, v in state.items() if n != "bn1.bias"}, "bn1.bias is missing"),
        "shape.pth": (state | {"bn1.weight": torch.zeros(1)}, "bn1.weight has shape"),
        "nan.pth": (state | {"fc.bias": torch.full((2,), torch.nan)}, "not finite"),
        "whole.pth": ({"state_dict": 3}, "a table of state_dict, expected a table of tensors"),
        "more.pth": (state | {"fc2.scale": torch.ones(2)}, "fc2.scale is not expected"),
        "headless.pth": (body, "no linear layer, expected a ResNet-18 with 1 or 2 outputs"),
        "mlp.pth": (body | two_layers, r"fc.1.weight \(64, 512\), fc.4.weight .* one linear layer"),
        "34.pth": (state | deep, "a ResNet-34, expected a ResNet-18"),
        "50.pth": (state | deep | bottleneck, "a ResNet-50, expected a ResNet-18"),
        "pair.pth": (
            prefixed(state, "student.") | prefixed(state, "teacher."),
            "2 networks, below 'student.', 'teacher.'; expected one",
        ),
        "model.pth": (make_network(), "a whole pickled object of type ResNet18, expected a table"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=message) as caught:
            load_resnet(tmp_path / name, classes=("real", "fake"))
        assert "\n" not in str(caught.value)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(WeightsError, match=r"holds more than tensors|cannot be read"):
        load_resnet(tmp_path / "evil.pth", classes=("real", "fake"))
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match=r"text.pth: (holds more than tensors|cannot be read)"):
        load_resnet(tmp_path / "text.pth", classes=("real", "fake"))
    with pytest.raises(WeightsError, match="no such file"):
        load_resnet(tmp_path / "none.pth")


class Runs:
    """Runs code where a file of it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (_fail, ("code in a file of weights was run",))


def _fail(message: str) -> None:
    pytest.fail(message)


def test_what_lies_beside_the_tensors_is_never_run(tmp_path: Path) -> None:
    state = make_network().state_dict()
    torch.save({"state_dict": state, "callback": Runs()}, tmp_path / "their.pth")
    assert torch.equal(read_resnet(tmp_path / "their.pth").fc.weight, state["fc.weight"])


def test_the_card_travels_with_the_weights(tmp_path: Path) -> None:
    card = write_resnet(tmp_path / "mine")
    image = images_of(1, (32, 224))
    scores = [
        load_resnet(tmp_path / "mine" / name).score_images(image)[0]
        for name in ("best.pth", "weights.safetensors", "")
    ]
    assert scores[0] == scores[1] == scores[2]
    assert load_resnet(tmp_path / "mine").card.images == SMALL
    assert open_detector(str(tmp_path / "mine")).card.weights_sha256 == card.weights_sha256
    (tmp_path / "mine" / "weights.safetensors").rename(tmp_path / "alone.safetensors")
    assert load_resnet(tmp_path / "alone.safetensors").card.classes == ("Original", "Deepfake")


def test_a_card_does_not_speak_for_other_weights_beside_it(tmp_path: Path) -> None:
    write_resnet(tmp_path)
    torch.save(make_network(seed=1).state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match=r"foreign.pth: no card: classes unknown"):
        load_resnet(tmp_path / "foreign.pth")
    with pytest.raises(WeightsError, match="no card, expected one"):
        open_detector("resnet18", weights={"resnet18": tmp_path / "foreign.pth"})


def test_sound_scores_as_its_image_does(tmp_path: Path) -> None:
    write_resnet(tmp_path)
    detector = load_resnet(tmp_path)
    samples = np.random.default_rng(0).normal(0, 0.1, (1, SMALL.clip_samples)).astype(np.float32)
    levels = draw_levels(torch.from_numpy(samples), SMALL).numpy()[0]
    by_image = detector.score_images([colour_table("grey")[levels]])
    by_sound = detector.score([Clip(samples, SMALL.sample_rate_hz)]).logits
    np.testing.assert_allclose(by_sound, by_image, atol=1e-6)


def test_without_a_contract_sound_cannot_be_scored(tmp_path: Path) -> None:
    torch.save(make_network().state_dict(), tmp_path / "their.pth")
    detector = load_resnet(tmp_path / "their.pth", classes=("real", "fake"))
    samples = np.zeros((1, SpectrogramContract().clip_samples), np.float32)
    with pytest.raises(DetectorError, match="has no spectrogram settings"):
        detector.score([Clip(samples, 16_000)])
    with pytest.raises(DetectorError, match=r"image 0 of shape \(10, 10, 3\), expected"):
        detector.score_images([np.zeros((10, 10, 3), np.uint8)])


def test_torch_can_load_what_is_written_for_torchvision(tmp_path: Path) -> None:
    write_resnet(tmp_path)
    state = torch.load(tmp_path / "best.pth", weights_only=True)
    template: nn.Module = ResNet18(2)
    assert not any(template.load_state_dict(state, strict=True))


def test_labels_are_read_leniently() -> None:
    assert [parse_label(t) for t in ("Original", " REAL ", "bona-fide", "0", "0.0")] == [0] * 5
    assert [parse_label(t) for t in ("DeepFake", "deep_fake", "spoof", "1", "1.0")] == [1] * 5
    assert parse_label("cat") is parse_label("") is None
    assert parse_classes(("fake", "real")) == 0
    assert parse_classes(("real", "fake")) == 1
    assert parse_classes(("real", "original")) is parse_classes(("fake",)) is None
