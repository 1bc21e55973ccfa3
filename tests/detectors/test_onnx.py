from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bundles
import spectttra_folders
from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError
from earwitness.detectors.base import Detector
from earwitness.detectors.loading import open_detector
from earwitness.detectors.network import OnnxNetwork

Open = Callable[..., Detector]


@pytest.fixture(params=["specnn_amplitude", "sonics-spectttra-gamma-5s"])
def open_it(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    name: str = request.param
    if name == "specnn_amplitude":
        bundles.write_specnn(tmp_path / "variables" / "variables", bundles.specnn_variables())
    else:
        spectttra_folders.write_folder(tmp_path, name)
    return lambda **options: open_detector(name, weights={name: tmp_path}, **options)


def noise(detector: Detector, n: int) -> list[Clip]:
    contract, rng = detector.card.contract, np.random.default_rng(3)
    shape = (1, contract.clip_samples)
    return [
        Clip(rng.uniform(-1, 1, shape).astype(np.float32) * 10**-k, contract.sample_rate_hz)
        for k in range(n)
    ]


def test_logits_are_those_of_torch_whatever_the_batch_and_the_thread(open_it: Open) -> None:
    plain, ours = open_it(), open_it(backend="onnxruntime")
    assert (plain.backend, ours.backend) == ("torch", "onnxruntime")
    clips = noise(plain, 5)
    expected = plain.score(clips)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(ours.score, [clips, clips[:1], clips[::-1]]))
    scale = max(1.0, float(np.abs(expected.logits).max()))
    for scores, wanted in zip(found, ([0, 1, 2, 3, 4], [0], [4, 3, 2, 1, 0]), strict=True):
        np.testing.assert_allclose(scores.logits, expected.logits[wanted], atol=1e-5 * scale)
        if expected.encoders is not None:
            assert scores.encoders is not None
            np.testing.assert_allclose(scores.encoders, expected.encoders[wanted], atol=1e-5)


def test_reduced_precision_is_refused(open_it: Open) -> None:
    with pytest.raises(DetectorError, match="cpu in bf16, expected cpu in fp32"):
        open_it(backend="onnxruntime", precision="bf16")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DetectorError, match=r"onnx, onnxruntime, onnxscript not installed.*\[onnx"):
        OnnxNetwork(nn.Linear(2, 1), torch.zeros(1, 2))


def test_other_numbers_than_those_of_torch_are_refused() -> None:
    class Moody(nn.Module):
        def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor]:
            return (rows * (1.0 if torch.compiler.is_exporting() else 1.01),)

    with pytest.raises(DetectorError, match=r"differ from PyTorch's by 0\.0"):
        OnnxNetwork(Moody().eval(), torch.ones(2, 3))
