"""Image networks with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from earwitness.core.cards import DetectorCard
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.nets.resnet18 import ResNet18
from earwitness.detectors.resnet import resnet_card
from earwitness.detectors.resnet_checkpoints import save_resnet

SMALL = SpectrogramContract(height=32)
"""Images that are quick to judge; their clips are those of the usual contract."""


def make_network(n_outputs: int = 2, seed: int = 0) -> ResNet18:
    """Return a network whose random weights tell images apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ResNet18(n_outputs).eval()


def write_resnet(
    folder: Path,
    *,
    images: SpectrogramContract = SMALL,
    classes: tuple[str, ...] = ("Original", "Deepfake"),
    seed: int = 0,
) -> DetectorCard:
    """Write ``best.pth``, ``weights.safetensors`` and ``card.json``."""
    card = resnet_card(name="resnet18", images=images, classes=classes)
    return save_resnet(card, {"best": make_network(seed=seed).state_dict()}, folder)
