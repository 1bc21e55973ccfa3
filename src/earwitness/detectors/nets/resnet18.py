"""ResNet-18 of He et al. (2016), and its weights on disk.

Conventions: names of modules are torchvision's, so that its states load here as they are, and ours
there.
"""

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
    foreign_card,
)
from earwitness.detectors.resnet_checkpoints import Checkpoint, read_checkpoint
from earwitness.detectors.torch_file import fill

_COUNTER = "num_batches_tracked"


class Block(nn.Module):
    """Two convolutions 3×3 added to what came in.

    Args:
        n_in: Channels in.
        n_out: Channels out.
        stride: By how much height and width shrink.
    """

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
    """A convolution, eight blocks, global average pooling and a linear layer.

    Args:
        n_outputs: Outputs of the linear layer.
    """

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
_IMAGES_AT_ONCE, _IMAGES_AT_ONCE_GPU = 8, 256
_USUAL_PX = 224


def scale_images(pixels: torch.Tensor) -> torch.Tensor:
    """Return ``(n, 3, height, width)`` as the network takes it, channels innermost.

    Args:
        pixels: ``(n, height, width, 3)`` from 0 to 255.
    """
    means, spreads = (pixels.new_tensor(v, dtype=torch.float32) for v in (_MEANS, _SPREADS))
    return ((pixels.float() / 255 - means) / spreads).permute(0, 3, 1, 2)


def draw_images(samples: torch.Tensor, contract: SpectrogramContract) -> torch.Tensor:
    """Return what the network takes of clips ``(n, clip_samples)``, drawn by a contract."""
    table = torch.from_numpy(colour_table(contract.colours)).to(samples.device)
    return scale_images(table[draw_levels(samples, contract).long()])


def fake_logits(outputs: torch.Tensor, fake_at: int) -> torch.Tensor:
    """Return logits of the deepfake ``(n,)`` of a network's outputs.

    Args:
        outputs: ``(n, 1)`` or ``(n, 2)``; a single one speaks for the class at 1.
        fake_at: Which class is the deepfake.
    """
    second = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
    return second if fake_at == 1 else -second


class ResnetDetector(NetworkDetector):
    """An image network; clips are drawn as images first.

    Args:
        network: The network with its weights.
        card: Its card; ``classes`` names both classes, ``images`` says how to draw.
        device: Torch's name of its device.
        backend: What computes the network.
        notes: Notes for the user on its weights.

    Raises:
        DetectorError: There is no such device, or the backend cannot run it.
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
        """Height and width of its images."""
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
            raise DetectorError(f"{self.card.name}: its card does not say how images are drawn")
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
        """Return logits of the deepfake of images.

        Args:
            images: ``(*image_size, 3)`` each.

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
    """Return height and width of the images that a card is about, else the usual ones."""
    if card.images is not None:
        return card.images.height, card.images.width
    height, width = (int(card.details.get(name, _USUAL_PX)) for name in ("height", "width"))
    return height, width


def open_resnet(weights: Path, options: OpenOptions) -> ResnetDetector:
    """Open a network trained here, from its folder or a file of its weights.

    Raises:
        WeightsError: Files are missing or damaged, do not fit, or nothing says what the outputs
            stand for.
        DetectorError: There is no such device here.
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
    """Open any ResNet-18 with one or two outputs, see ``read_checkpoint``.

    Args:
        path: A ``.pth`` or safetensors file, or a folder that ``earwitness train`` wrote.
        classes: What its outputs stand for, by their number; of a single output, what 0 and 1
            stand for. ``None`` takes the word of its card, or of the file itself.
        images: How its images are drawn, where its card does not say.
        size: Height and width of its images, where its card does not say.
        device: Where it runs, as torch names it.

    Raises:
        WeightsError: The file is missing or damaged or does not fit, nobody says which output
            is the deepfake, or the card says otherwise how images are drawn.
    """
    file = find_weights(path)
    name = path.resolve().name if path.is_dir() else file.stem
    card = find_card(file) or foreign_card(name, images, size)
    if images not in (None, card.images) or size not in (None, _size_of(card)):
        height, width = _size_of(card)
        raise WeightsError(
            f"{file}: its card says how its images are drawn ({height} × {width} pixels), expected "
            "no other size or contract"
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
            f"{path}: {found}: which output is the deepfake is not said; expected --classes with "
            "both names in order: deepfake,original where the training took its classes from "
            "folders of these names (ImageFolder sorts them), original,deepfake where 0 is the "
            "original"
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
    """Return what a user should know of how outputs are read."""
    said = of_card or of_file
    whose = "the card" if of_card else "the file itself"
    outputs = f"output 0 is {taken[0]}, output 1 is {taken[1]}"
    if said and parse_classes(said) != parse_classes(taken):
        return [f"{outputs}, as --classes says; {whose} says {', '.join(said)}"]
    return [f"{outputs}, as the file itself says"] if said and not of_card else []


def read_resnet(path: Path) -> ResNet18:
    """Return a network with the weights of a file, see ``make_resnet``."""
    return make_resnet(read_checkpoint(path), path)


def make_resnet(checkpoint: Checkpoint, path: Path) -> ResNet18:
    """Return a network with the weights of a checkpoint, which may lack batch counters.

    Args:
        checkpoint: Of a network with one or two outputs.
        path: Where it comes from, for the message.

    Raises:
        WeightsError: It is another network.
    """
    head = checkpoint.head.get("fc.weight")
    if head is None or len(head) not in (1, 2):
        found = "no linear layer" if head is None else f"fc.weight of shape {tuple(head.shape)}"
        raise WeightsError(f"{path}: {found}, expected a ResNet-18 with 1 or 2 outputs")
    network = ResNet18(len(head))
    _fill(network, checkpoint.body | checkpoint.head | checkpoint.others, path)
    return network


def load_backbone(network: ResNet18, path: Path) -> None:
    """Fill all but the last layer of a network with the weights of a file.

    Raises:
        WeightsError: The file is damaged, holds more than tensors, or is another network.
    """
    own = {n: v for n, v in network.state_dict().items() if n.startswith("fc.")}
    _fill(network, read_checkpoint(path).body | own, path)


def _fill(network: ResNet18, state: Mapping[str, torch.Tensor], path: Path) -> None:
    counters = {n: v for n, v in network.state_dict().items() if n.endswith(_COUNTER)}
    fill(network, counters | dict(state), path, expected="a ResNet-18 with torchvision's names")
