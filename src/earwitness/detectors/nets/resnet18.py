"""ResNet-18 of He et al. (2016), and its weights on disk.

Conventions: names of modules are torchvision's, so that its states load here as they are, and ours
there.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.spectrogram import parse_classes
from earwitness.detectors.loading import write_card
from earwitness.detectors.resnet_card import CARD_KEY, KIND, WEIGHTS_FILE
from earwitness.detectors.resnet_checkpoints import Checkpoint, read_checkpoint
from earwitness.detectors.weights import fill

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


def save_resnet(
    card: DetectorCard,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    folder: Path,
    *,
    published: bool = False,
    beside: Callable[[DetectorCard], object] = lambda _: None,
) -> DetectorCard:
    """Write a trained network, atomically and the card last, and return its card.

    Every state goes into a plain ``.pth``; the first one is the detector's, and goes into
    ``weights.safetensors`` with its card as well.

    Args:
        card: Its card, without hashes.
        states: Stem of the ``.pth`` → tensors by torchvision's names; the detector's comes first.
        folder: Where they go.
        published: Write each ``.pth`` in the shape of the published training script: output 0 is
            the deepfake, and the linear layer is ``fc.1``, behind dropout. The card says so.
        beside: Writes what else belongs into the folder, given the card, before the card is there.
    """
    if published:
        turned = parse_classes(card.classes) == 1
        states = {stem: _two_outputs(state, turned=turned) for stem, state in states.items()}
        names = card.classes[::-1] if turned else card.classes
        card = card.model_copy(update={"classes": names})
    hashes: dict[str, float | int | str] = {}
    for stem, state in states.items():
        path = folder / f"{stem}.pth"
        content = io.BytesIO()  # a file's own name would be part of what is saved
        torch.save(_contiguous(_behind_dropout(state) if published else state), content)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.getvalue())
        hashes[f"sha256 {path.name}"] = sha256_of(path)
    details = {n: v for n, v in card.details.items() if not n.startswith("sha256 ")}
    card = card.model_copy(update={"details": details | hashes, "weights_sha256": None})
    path = folder / WEIGHTS_FILE
    with atomic_write(path) as temporary:
        metadata = {"kind": KIND, CARD_KEY: card.model_dump_json()}
        save_file(_contiguous(next(iter(states.values()))), temporary, metadata=metadata)
    card = card.model_copy(update={"weights_sha256": sha256_of(path)})
    beside(card)
    write_card(card, folder)
    return card


def _two_outputs(state: Mapping[str, torch.Tensor], *, turned: bool) -> dict[str, torch.Tensor]:
    """Return a state with two outputs, in reversed order where ``turned``."""
    changed = dict(state)
    for name in ("fc.weight", "fc.bias"):
        rows = state[name]
        rows = rows if len(rows) == 2 else torch.cat([torch.zeros_like(rows), rows])
        changed[name] = rows.flip(0) if turned else rows
    return changed


def _behind_dropout(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("fc.", "fc.1.", 1): values for name, values in state.items()}


def _contiguous(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: values.detach().cpu().contiguous() for name, values in state.items()}
