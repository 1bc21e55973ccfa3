"""Audio classifiers of transformers, on disk and on the loopback hub."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders import write_tone
from cli.conftest import Run
from cli.conftest import run as run_fixture
from detectors.test_hub import REPOSITORY, Hub, environment
from detectors.test_hub import hub as hub_fixture
from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError, EarwitnessError, WeightsError
from earwitness.detectors.base import Detector, FileDetector
from earwitness.detectors.loading import detector_name, hash_weights, look_up, open_detector
from foreign import describe
from hf_folders import write_ast, write_wav2vec2, write_wavlm, write_whisper

run = run_fixture
hub = hub_fixture


def open_clips(name: str, **options: Any) -> Detector:
    detector = open_detector(name, **options)
    assert not isinstance(detector, FileDetector)
    return detector


def noise(detector: Detector, n: int) -> list[Clip]:
    contract, rng = detector.card.contract, np.random.default_rng(3)
    shape = (1, contract.clip_samples)
    return [
        Clip(rng.uniform(-0.5, 0.5, shape).astype(np.float32), contract.sample_rate_hz)
        for _ in range(n)
    ]


@pytest.mark.parametrize("write", [write_wav2vec2, write_ast, write_wavlm, write_whisper])
def test_logits_are_those_of_transformers(tmp_path: Path, write: Callable[..., str]) -> None:
    import transformers

    name = write(tmp_path)
    detector = open_clips(name)
    clips = noise(detector, 3)
    network: Any = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path)
    extractor: Any = getattr(transformers, "AutoFeatureExtractor").from_pretrained(tmp_path)  # noqa: B009 - untyped
    fed = extractor([c.samples[0] for c in clips], sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        both = network.eval()(fed[extractor.model_input_names[0]]).logits.double().numpy()
    fake = network.config.label2id["fake"]
    expected = both[:, fake] - both[:, 1 - fake]
    np.testing.assert_allclose(detector.score(clips).logits, expected, atol=1e-4)
    assert detector.card.details["fake_label"] == "fake"
    assert (detector.card.licence, detector.card.trained_on) == ("unknown", None)
    assert detector.remarks == []
    assert look_up(name).card == detector.card
    assert {"config.json", "model.safetensors"} <= set(hash_weights(name, {}))


def test_rate_and_length_are_those_of_the_feature_extractor(tmp_path: Path) -> None:
    ast = look_up(write_ast(tmp_path / "a")).card
    assert ast is not None
    assert ast.contract.clip_samples == round(128 * 0.01 * 16_000)
    wave = look_up(write_wav2vec2(tmp_path / "w")).card
    assert wave is not None
    assert (wave.contract.sample_rate_hz, wave.contract.clip_samples) == (16_000, 80_000)


def test_the_fake_class_is_asked_for_where_names_are_unclear(tmp_path: Path) -> None:
    names = {0: "cat", 1: "dog", 2: "cow"}
    name = write_wav2vec2(tmp_path, id2label=names, label2id={v: k for k, v in names.items()})
    with pytest.raises(WeightsError, match="classes cat, dog, cow, expected --fake-label NAME"):
        open_detector(name)
    with pytest.raises(WeightsError, match="fake label mouse: expected one of cat, dog, cow"):
        open_detector(name, fake_label="mouse")
    first, second = (open_clips(name, fake_label=label) for label in ("dog", "cow"))
    clips = noise(first, 1)
    likely = [1 / (1 + np.exp(-d.score(clips).logits[0])) for d in (first, second)]
    assert 0 < sum(likely) < 1
    assert first.card.details != second.card.details


def test_a_bin_is_read_without_unpickling_code(tmp_path: Path) -> None:
    import safetensors.torch

    name = write_wav2vec2(tmp_path)
    clips = noise(open_clips(name), 1)
    expected = open_clips(name).score(clips).logits
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    np.testing.assert_allclose(open_clips(name).score(clips).logits, expected, atol=1e-6)

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"a": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EarwitnessError):
        open_detector(name)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(EarwitnessError):
        open_detector(name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"auto_map": {"AutoConfig": "code.Config"}}, "found auto_map, which is not supported"),
        ({"quantization_config": {"a": 1}}, "found quantization_config"),
        ({"id2label": {"5": "fake"}}, "expected indices from 0"),
        ({"model_type": "no-such"}, "cannot be opened"),
        ({"hidden_size": 32}, "cannot be opened|do not fit"),
        ({"num_hidden_layers": 2}, "do not fit the network: missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    name = write_wav2vec2(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WeightsError, match=problem) as caught:
        open_detector(name)
    assert "\n" not in str(caught.value)


def test_another_backend_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="backend onnxruntime, expected torch"):
        open_detector(write_wav2vec2(tmp_path), backend="onnxruntime")
    with pytest.raises(WeightsError, match="expected hf:OWNER/NAME or hf:FOLDER"):
        open_detector("hf:no such")
    with pytest.raises(WeightsError, match="hf:own/none: offline"):
        open_detector("hf:own/none")


def test_it_is_fetched_from_the_hub_and_scores_offline(hub: Hub, tmp_path: Path) -> None:
    write_wav2vec2(tmp_path / "net")
    hub.files = {path.name: path.read_bytes() for path in (tmp_path / "net").iterdir()}
    fetching = (
        "from earwitness.detectors.hf import find_folder\n"
        "print(find_folder(id, None, download=True))"
    )
    opening = (
        "from earwitness.detectors.loading import open_detector\n"
        "card = open_detector(id).card; print(card.name, card.weights_sha256)"
    )
    shown = []
    for script, offline in ((fetching, False), (opening, True)):
        given = f"id = 'hf:{REPOSITORY}'\n{script}"
        command = [sys.executable, "-W", "ignore", "-c", given]
        around = environment(f"http://127.0.0.1:{hub.port}", tmp_path / "home", offline=offline)
        done = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert Path(shown[0].strip()).is_relative_to(tmp_path / "home")
    local = look_up(f"hf:{tmp_path / 'net'}").card
    assert local is not None
    assert shown[1] == f"hf:{REPOSITORY} {local.weights_sha256}\n"


def test_a_description_beside_the_weights_names_the_fake_class(tmp_path: Path, run: Run) -> None:
    labels: dict[str, Any] = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    name = write_wav2vec2(tmp_path / "net", **labels)
    before = open_detector(name, fake_label="a")
    describe(
        tmp_path / "net" / "detector.yaml",
        kind="hf",
        name="theirs",
        fake_label="a",
        licence="CC0",
        threshold=0.3,
    )
    for asked in (name, str(tmp_path / "net"), str(tmp_path / "net" / "detector.yaml")):
        card = open_detector(asked).card
        assert (card.name, card.licence, card.threshold) == ("theirs", "CC0", 0.3)
        assert card.details == before.card.details
        assert detector_name(asked, {}) == "theirs"
    assert "detector.yaml" in hash_weights(name, {})
    assert open_detector(name, fake_label="b").card.details["fake_label"] == "b"
    song = write_tone(tmp_path / "song.wav", seconds=6)
    found = [
        json.loads(run("listen", song, "--detector", name, "--json", *more).out)["detectors"][0]
        for more in ([], ["--fake-label", "b"])
    ]
    assert [card["details"]["fake_label"] for card in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"kind": "hf", "fake_label": "mouse"}, "fake label mouse: expected one of real, fake"),
        ({"kind": "hf", "fake": 1}, "detector.yaml: fake: "),
        ({"kind": "onnx"}, "detector.yaml: kind: "),
    ],
)
def test_a_description_that_does_not_fit_is_named(
    tmp_path: Path, content: dict[str, Any], problem: str
) -> None:
    name = write_wav2vec2(tmp_path / "net")
    describe(tmp_path / "net" / "detector.yaml", **content)
    with pytest.raises(WeightsError, match=problem):
        open_detector(name)
