"""Training a ResNet-18 on images, plainly and through earwitness, on the same images.

Conventions: the plain loop opens each image with Pillow whenever it is its turn (a Dataset and a
DataLoader, as people write it first); ours includes reading the images, checkpoints and a small
validation.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from earwitness.core.spectrogram import SpectrogramContract
from earwitness.detectors.nets.resnet18 import ResNet18
from earwitness.detectors.network import native_precision
from earwitness.images.png import Shown, write_spectrogram
from earwitness.training.examples import SplitConfig, split_groups
from earwitness.training.image_dataset import ImageSplits, read_images
from earwitness.training.image_sources import find_images
from earwitness.training.resnet import ImageTask
from earwitness.training.task import Hardware, TrainConfig
from earwitness.training.trainer import fit

N_IMAGES, EPOCHS, BATCH = 160, 2, 32
MEANS, SPREADS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def case_training() -> dict[str, float]:
    """Images a second, two epochs of 160 images of 224 × 224."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "data")
        plain_s = plain(root / "data")
        ours_s = ours(root / "data", root / "out")
    return {"n": N_IMAGES * EPOCHS, "plain_s": plain_s, "ours_s": ours_s}


def write_images(root: Path) -> None:
    contract = SpectrogramContract()
    for n in range(N_IMAGES + N_IMAGES // 8):
        side = ("original", "deepfake")[n % 2]
        levels = np.random.default_rng(n).integers(0, 256, (224, 224), dtype=np.uint8)
        shown = Shown(f"{n}.mp3", 0, 1, 0.0)
        write_spectrogram(root / side / "combined" / f"{n:04d}.png", levels, contract, shown)


class PlainImages(Dataset[Any]):
    """Images opened when they are asked for."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(root.rglob("*.png"))[:N_IMAGES]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[at]) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32) / 255
        scaled = (pixels - MEANS) / SPREADS
        tensor = torch.from_numpy(scaled.transpose(2, 0, 1).astype(np.float32))
        return tensor, int("deepfake" in self.paths[at].parts)


def plain(root: Path) -> float:
    """A loop as it is first written."""
    network, batches = ResNet18(2), DataLoader(PlainImages(root), BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-4)
    network.train()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for images, targets in batches:
            loss = nn.functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return time.perf_counter() - start


def ours(root: Path, out: Path) -> float:
    """The trainer, from files to a checkpoint."""
    start = time.perf_counter()
    dataset = read_images(find_images(root).examples)
    train, valid = split_groups(dataset.examples, SplitConfig(1 / 9))
    task = ImageTask(ImageSplits(dataset.subset(train), dataset.subset(valid)), init="none")
    config = TrainConfig(epochs=EPOCHS, batch_size=BATCH)
    fit(task, config, out, hardware=Hardware("cpu", precision=native_precision("cpu")))
    return time.perf_counter() - start
