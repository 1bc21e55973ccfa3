"""ResNet-18 of He et al. (2016), with torchvision's module names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.spectrogram import SpectrogramContract, parse_classes
from earwitness.detectors.base import OpenOptions
from earwitness.detectors.network import NetworkDetector, ScoringModule
from earwitness.detectors.resnet import (
    describe_resnet,
    find_card,
    find_weights,
    resnet_card,
)
from earwitness.detectors.resnet_checkpoints import Checkpoint, read_checkpoint
from earwitness.detectors.torch_file import fill


class Block(nn.Module):
    """Two convolutions 3×3 with a residual connection."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(n, n_out, height / stride, width / stride)``."""
        mixed = nn.functional.relu(self.bn1(self.conv1(images)))
        added: torch.Tensor = self.bn2(self.conv2(mixed)) + self.downsample(images)
        return nn.functional.relu(added)


class ResNet18(nn.Module):
    """A convolution, eight blocks, global average pooling and a linear layer."""

    def __init__(self, n_outputs: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, n_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, n_outputs)`` of scaled images ``(n, 3, height, width)``."""
        mixed = nn.functional.relu(self.bn1(self.conv1(images)))
        mixed = nn.functional.max_pool2d(mixed, 3, stride=2, padding=1)
        mixed = self.layer4(self.layer3(self.layer2(self.layer1(mixed))))
        logits: torch.Tensor = self.fc(mixed.mean(dim=(2, 3)))
        return logits


_MEANS, _SPREADS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scale_images(pixels: torch.Tensor) -> torch.Tensor:
    """Return normalised images ``(n, 3, height, width)``, channels last in memory.

    Args:
        pixels: ``(n, height, width, 3)`` from 0 to 255.
    """
    means, spreads = (pixels.new_tensor(v, dtype=torch.float32) for v in (_MEANS, _SPREADS))
    return ((pixels.float() / 255 - means) / spreads).permute(0, 3, 1, 2)


def draw_images(samples: torch.Tensor, contract: SpectrogramContract) -> torch.Tensor:
    """Return normalised spectrogram images of clips ``(n, clip_samples)``."""
    table = torch.from_numpy(colour_table(contract.colours)).to(samples.device)
    return scale_images(table[draw_levels(samples, contract).long()])


def fake_logits(outputs: torch.Tensor, fake_at: int) -> torch.Tensor:
    """Return logits of the deepfake ``(n,)``.

    Args:
        outputs: ``(n, 1)``, the logit of class 1, or ``(n, 2)``.
        fake_at: Index of the deepfake class.
    """
    second = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
    return second if fake_at == 1 else -second


class ResnetDetector(NetworkDetector):
    """An image network, on images or on clips drawn as spectrograms; see ``NetworkDetector``.

    Args:
        network: The network with its weights.
        card: Its card, with ``classes`` and, for clips, ``images``.
        device: Torch's device name.
        backend: Library that runs the network.
        notes: Notes for the user on its weights.
    """

    def __init__(
        self,
        network: ResNet18,
        card: DetectorCard,
        *,
        device: str = "cpu",
        backend: Backend = "torch",
        notes: Sequence[str] = (),
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.image_size = _size_of(card)
        self._notes = tuple(notes)
        fake_at = parse_classes(card.classes) or 0
        super().__init__(
            ScoringModule(network, lambda net, images: (fake_logits(net(images), fake_at),)),
            card,
            features=self._draw,
            about="images (n, 3, {}, {}) from 0 to 1, less {}, divided by {}, channel by "
            "channel".format(*self.image_size, _MEANS, _SPREADS),
            device=device,
            backend=backend,
        )
        self._image_runner = self._make_runner(
            lambda rows: scale_images(rows.reshape(len(rows), *self.image_size, 3))
        )

    def _draw(self, samples: torch.Tensor) -> torch.Tensor:
        if self.card.images is None:
            raise DetectorError(f"{self.card.name}: its card has no spectrogram settings")
        return draw_images(samples, self.card.images)

    @property
    def batch_size(self) -> int:
        """Preferred batch size, of clips and of images."""
        return min(self._runner.batch_size, self._image_runner.batch_size)

    @property
    def remarks(self) -> Sequence[str]:
        """Notes for the user on how scoring went."""
        remarks = (*self._notes, *self._runner.remarks, *self._image_runner.remarks)
        return list(dict.fromkeys(remarks))

    def score_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return logits of the deepfake for images ``(*image_size, 3)``.

        Raises:
            DetectorError: An image has another shape.
        """
        for at, image in enumerate(images):
            if image.shape != (*self.image_size, 3):
                raise DetectorError(
                    f"{self.card.name}: image {at} of shape {image.shape}, expected "
                    f"{(*self.image_size, 3)}"
                )
        rows = [image.reshape(-1).astype(np.float32) for image in images]
        return self._image_runner.run(rows)[0] if rows else np.empty(0)


def _size_of(card: DetectorCard) -> tuple[int, int]:
    """Return height and width of a card's images, by default 224 × 224."""
    if card.images is not None:
        return card.images.height, card.images.width
    height, width = (int(card.details.get(name, 224)) for name in ("height", "width"))
    return height, width


def open_resnet(weights: Path, options: OpenOptions) -> ResnetDetector:
    """Open a network trained here, from its folder or a file of its weights.

    Raises:
        WeightsError: Files are missing, damaged or do not fit, or the classes are unknown.
        DetectorError: No such device.
    """
    card = describe_resnet(weights, options)
    return _open(find_weights(weights), card, device=options.device, backend=options.backend)


def load_resnet(
    path: Path,
    *,
    classes: tuple[str, ...] | None = None,
    images: SpectrogramContract | None = None,
    size: tuple[int, int] | None = None,
    device: str = "cpu",
) -> ResnetDetector:
    """Open any ResNet-18 with one or two outputs; see ``read_checkpoint``.

    Args:
        path: A ``.pth`` or safetensors file, or a folder of ``earwitness train``.
        classes: Class names by output (of a single output, by 0 and 1); by default those of the
            card or the file.
        images: Spectrogram settings, if there is no card.
        size: Height and width of the images, if there is no card.
        device: Torch's device name.

    Raises:
        WeightsError: The file is missing, damaged or does not fit, its classes are unknown, or
            its card has other spectrogram settings.
    """
    file = find_weights(path)
    name = path.resolve().name if path.is_dir() else file.stem
    card = find_card(file)
    if card is None:
        details: dict[str, float | int | str] = {}
        if size is not None and images is None:
            details = {"height": size[0], "width": size[1]}
        card = resnet_card(name=name, images=images, classes=(), details=details)
    if images not in (None, card.images) or size not in (None, _size_of(card)):
        height, width = _size_of(card)
        raise WeightsError(
            f"{file}: its card has {height} × {width} pixels, expected no other size or contract"
        )
    card = card.model_copy(update={"name": name, "weights_sha256": sha256_of(file)})
    return _open(file, card, classes=classes, device=device)


def _open(
    path: Path,
    card: DetectorCard,
    *,
    classes: tuple[str, ...] | None = None,
    device: str,
    backend: Backend = "torch",
) -> ResnetDetector:
    checkpoint = read_checkpoint(path)
    said = card.classes or checkpoint.classes
    taken = classes or said
    if parse_classes(taken) is None:
        found = ", ".join(taken) or "no card"
        raise WeightsError(
            f"{path}: {found}: classes unknown, expected --classes deepfake,original (as "
            "ImageFolder sorts such folders) or original,deepfake (if 0 is the original)"
        )
    return ResnetDetector(
        make_resnet(checkpoint, path),
        card.model_copy(update={"classes": taken}),
        device=device,
        backend=backend,
        notes=_class_notes(taken, card.classes, checkpoint.classes),
    )


def _class_notes(
    taken: tuple[str, ...], of_card: tuple[str, ...], of_file: tuple[str, ...]
) -> list[str]:
    """Return notes for the user on the order of the classes."""
    said = of_card or of_file
    whose = "the card" if of_card else "the file itself"
    outputs = f"output 0 is {taken[0]}, output 1 is {taken[1]}"
    if said and parse_classes(said) != parse_classes(taken):
        return [f"{outputs}, as --classes says; {whose} says {', '.join(said)}"]
    return [f"{outputs}, as the file itself says"] if said and not of_card else []


def read_resnet(path: Path) -> ResNet18:
    """Return a network with the weights of a file; see ``make_resnet``."""
    return make_resnet(read_checkpoint(path), path)


def make_resnet(checkpoint: Checkpoint, path: Path) -> ResNet18:
    """Return a network with the weights of a checkpoint with one or two outputs.

    Raises:
        WeightsError: It is another network; the message starts with ``path``.
    """
    head = checkpoint.head.get("fc.weight")
    if head is None or len(head) not in (1, 2):
        found = "no linear layer" if head is None else f"fc.weight of shape {tuple(head.shape)}"
        raise WeightsError(f"{path}: {found}, expected a ResNet-18 with 1 or 2 outputs")
    network = ResNet18(len(head))
    _fill(network, checkpoint.body | checkpoint.head | checkpoint.others, path)
    return network


def load_backbone(network: ResNet18, path: Path) -> None:
    """Load all layers but the last from a file, else raise ``WeightsError``."""
    own = {n: v for n, v in network.state_dict().items() if n.startswith("fc.")}
    _fill(network, read_checkpoint(path).body | own, path)


def _fill(network: ResNet18, state: Mapping[str, torch.Tensor], path: Path) -> None:
    # Checkpoints may lack these counters.
    counters = {n: v for n, v in network.state_dict().items() if n.endswith("batches_tracked")}
    fill(network, counters | dict(state), path, expected="a ResNet-18 with torchvision's names")
