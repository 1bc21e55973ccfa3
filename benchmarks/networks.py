"""The published networks in full size with random weights, and the plain way to ask them.

Conventions: a plain loop is what people write: decode the whole file with soundfile, resample all
of it with soxr, crop, and give the network one clip at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import mix_first_two, pad_clip
from earwitness.core.cards import Backend, ClipContract, DetectorCard
from earwitness.detectors.base import Detector
from earwitness.detectors.nets.specnn import SpecCNN, SpecnnAmplitude, amplitude_features
from earwitness.detectors.nets.spectttra import SpecTTTra, SpectttraDetector
from earwitness.detectors.specnn import CLIP_SAMPLES, ENCODERS, SAMPLE_RATE_HZ
from earwitness.detectors.spectttra import SpectttraConfig


class Case(NamedTuple):
    """A detector with random weights, and the parts of it that are measured.

    Attributes:
        detector: It.
        plain: A plain loop's step with the same network.
        features: What its network is fed, of clips ``(n, n_samples)``.
    """

    detector: Detector
    plain: Callable[[Path], object]
    features: Callable[[torch.Tensor], object]


SHORT = ("specnn", "gamma-5s", "beta-5s", "alpha-5s")
LONG = ("gamma-120s", "beta-120s", "alpha-120s")
_STRETCHES = {"alpha": (1, 3), "beta": (3, 5), "gamma": (5, 7)}
_MEL = {
    "n_fft": 2048,
    "hop_length": 512,
    "win_length": 2048,
    "n_mels": 128,
    "f_min": 20,
    "f_max": 8000,
    "power": 2,
    "top_db": 80,
    "norm": "mean_std",
}
_SIZE = {
    "name": "SpecTTTra",
    "embed_dim": 384,
    "num_heads": 6,
    "num_layers": 12,
    "mlp_ratio": 2.67,
    "pre_norm": True,
    "pe_learnable": True,
}
_SONICS_HZ = 16_000


def read_whole(path: Path, rate_hz: int, *, mono: bool = False) -> NDArray[np.float32]:
    """The whole file, ``(n_channels, n_samples)``, at the rate."""
    samples, native_hz = soundfile.read(path, dtype="float32", always_2d=True)
    if mono:
        samples = samples.mean(axis=1, keepdims=True)
    if native_hz != rate_hz:
        samples = soxr.resample(samples, native_hz, rate_hz, quality="HQ")
    return np.ascontiguousarray(samples.T)


def make_case(name: str, backend: Backend = "torch") -> Case:
    """A published network in full size; the plain loop asks PyTorch, whatever the backend."""
    torch.manual_seed(0)
    return _specnn(backend) if name == "specnn" else _spectttra(name, backend)


def _card(name: str, contract: ClipContract, encoders: tuple[str, ...] = ()) -> DetectorCard:
    return DetectorCard(
        name=name,
        kind=name,
        contract=contract,
        band_hz=(0, 8_000),
        encoders=encoders,
        licence="none",
        source="random weights",
        limits="Says nothing.",
    )


def _specnn(backend: Backend) -> Case:
    network = SpecCNN().eval()
    contract = ClipContract(sample_rate_hz=SAMPLE_RATE_HZ, clip_samples=CLIP_SAMPLES)
    detector = SpecnnAmplitude(network, _card("specnn", contract, ENCODERS), backend=backend)

    def plain(path: Path) -> object:
        samples = read_whole(path, SAMPLE_RATE_HZ)
        start = max(samples.shape[1] - CLIP_SAMPLES, 0) // 2
        clip = pad_clip(samples[:, start : start + CLIP_SAMPLES], CLIP_SAMPLES)
        mono = torch.from_numpy(mix_first_two(clip)[np.newaxis])
        with torch.inference_mode():
            return network(amplitude_features(mono).unsqueeze(1))[0]

    return Case(detector, plain, amplitude_features)


def _spectttra(name: str, backend: Backend) -> Case:
    size, seconds = name.split("-", maxsplit=1)[0], int(name.split("-")[1].removesuffix("s"))
    f_clip, t_clip = _STRETCHES[size]
    shape = (128, 128 if seconds == 5 else 3744)
    length = seconds * _SONICS_HZ
    config = SpectttraConfig.model_validate(
        {
            "audio": {"sample_rate": _SONICS_HZ, "max_len": length, "normalize": True},
            "melspec": _MEL,
            "model": {**_SIZE, "f_clip": f_clip, "t_clip": t_clip, "input_shape": shape},
            "num_classes": 1,
        }
    )
    network = SpecTTTra(config).eval()
    contract = ClipContract(
        sample_rate_hz=_SONICS_HZ, clip_samples=length, crop="three_quarters", mono=True
    )
    detector = SpectttraDetector(
        network, config, _card(name, contract), device="cpu", backend=backend
    )

    def plain(path: Path) -> object:
        samples = read_whole(path, _SONICS_HZ, mono=True)
        start = 3 * max(samples.shape[1] - length, 0) // 4
        clip = pad_clip(samples[:, start : start + length], length)
        with torch.inference_mode():
            return network(torch.from_numpy(clip / clip.std()))

    return Case(detector, plain, network.make_images)
