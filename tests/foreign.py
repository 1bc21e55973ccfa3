"""Detectors of others in small: ONNX models with a ``detector.yaml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from earwitness.detectors.network import export_onnx

RATE_HZ, CLIP_SAMPLES = 16_000, 8_000


class Waves(nn.Module):
    """A logit of mono samples; with ``mixes``, one that depends on the whole batch."""

    def __init__(self, n_outputs: int = 1, *, mixes: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(1, 4, 64, stride=32)
        self.head = nn.Linear(4, n_outputs)
        self.mixes = mixes

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        hidden = self.conv(samples[:, None]).abs().mean(dim=2)
        if self.mixes:
            hidden = hidden - hidden.mean(dim=0, keepdim=True) * 0.5
        out: torch.Tensor = self.head(30 * hidden)
        return out


@cache
def exported(n_outputs: int = 1, *, mixes: bool = False) -> bytes:
    """Return ``Waves`` as an ONNX model, exported once: that takes most of a second."""
    network = Waves(n_outputs, mixes=mixes).eval()
    return export_onnx(network, torch.zeros(2, CLIP_SAMPLES))


def describe(path: Path, **content: Any) -> Path:
    """Write a ``detector.yaml``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def write_onnx(folder: Path, model: bytes | None = None, **content: Any) -> str:
    """Write an ONNX model and its ``detector.yaml``; return the name for ``--detector``."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "kind": "onnx",
        "input": "waveform",
        "sample_rate_hz": RATE_HZ,
        "clip_samples": CLIP_SAMPLES,
        "output": "logit",
        "fake": 1,
    }
    described |= content
    describe(folder / "detector.yaml", **{k: v for k, v in described.items() if v is not None})
    (folder / "tiny.onnx").write_bytes(model or exported())
    return f"onnx:{folder / 'tiny.onnx'}"
