"""The detector that looks at images of spectrograms: a ResNet-18 to scores.

Conventions: images are scaled to [0, 1] and then by ImageNet's means and spreads, as torchvision's
weights want them. The logit is that of the deepfake: with two outputs the difference of theirs,
with one output that one, turned round where it speaks for the originals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.spectrogram import SpectrogramContract, parse_classes
from earwitness.detectors.base import Scores, mix_checked
from earwitness.detectors.nets.resnet18 import ResNet18, make_resnet
from earwitness.detectors.network import Graph, Judge, NetworkRunner, open_device
from earwitness.detectors.onnx import choose_network
from earwitness.detectors.resnet_card import (
    describe_resnet,
    find_card,
    find_weights,
    foreign_card,
)
from earwitness.detectors.resnet_checkpoints import read_checkpoint

if TYPE_CHECKING:
    from earwitness.detectors.loading import OpenOptions

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


class ResnetDetector:
    """An image network and what it says of itself.

    Args:
        network: The network with its weights.
        card: Its card; ``classes`` names both classes, ``images`` says how to draw.
        device: Where it runs, as torch names it.
        backend: What computes it.
        notes: What a user should know of its weights.

    Raises:
        DetectorError: There is no such device here, or the backend cannot serve.
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
        self.card = card
        self._notes = tuple(notes)
        self.backend = backend
        on = open_device(device)
        self.device = str(on)
        self.network = network.eval().to(
            on,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self._fake_at = parse_classes(card.classes)
        self._size = _size_of(card)
        self._judging = choose_network(
            self.graph().network,
            self._draw,
            n_samples=card.contract.clip_samples or 0,
            backend=backend,
            device=on,
            precision=card.precision,
        )
        self._listening = self._runner(self._draw)
        self._looking = self._runner(
            lambda rows: scale_images(rows.reshape(len(rows), *self._size, 3))
        )

    def _runner(self, features: Callable[[torch.Tensor], torch.Tensor]) -> NetworkRunner:
        on = torch.device(self.device)
        return NetworkRunner(
            features,
            self._judging,
            device=on,
            precision=self.card.precision,
            batch_size=_IMAGES_AT_ONCE if on.type == "cpu" else _IMAGES_AT_ONCE_GPU,
            one_by_one=on.type == "cpu",
        )

    def _draw(self, samples: torch.Tensor) -> torch.Tensor:
        if self.card.images is None:
            raise DetectorError(f"{self.card.name}: its card does not say how images are drawn")
        return draw_images(samples, self.card.images)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images it takes."""
        return self._size

    @property
    def batch_size(self) -> int:
        """Clips or images it likes best to be given at once."""
        return min(self._listening.batch_size, self._looking.batch_size)

    @property
    def remarks(self) -> Sequence[str]:
        """What a user should know of how scoring went."""
        remarks = (*self._notes, *self._listening.remarks, *self._looking.remarks)
        return list(dict.fromkeys(remarks))

    def graph(self) -> Graph:
        """Return the network as a graph."""
        fake_at = self._fake_at or 0

        def judge(network: ResNet18, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (fake_logits(network(images), fake_at),)

        return Graph(
            Judge(self.network, judge),
            self._draw,
            ("fake_logit",),
            f"images (n, 3, {self._size[0]}, {self._size[1]}) from 0 to 1, less {_MEANS}, divided "
            f"by {_SPREADS}, channel by channel",
        )

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips of the contract's length: they are drawn first.

        Raises:
            DetectorError: A clip has another rate or length, no channel, or samples that are not
                finite; or the card does not say how images are drawn.
        """
        samples = [mix_checked(c, at, self.card, _mean_channel) for at, c in enumerate(clips)]
        mono = [s.astype(np.float32) for s in samples]
        return Scores(self._listening.run(mono)[0] if mono else np.empty(0))

    def score_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Return logits of the deepfake of images.

        Args:
            images: ``(*image_size, 3)`` each.

        Raises:
            DetectorError: An image has another shape.
        """
        for at, image in enumerate(images):
            if image.shape != (*self._size, 3):
                raise DetectorError(
                    f"{self.card.name}: image {at} of shape {image.shape}, expected "
                    f"{(*self._size, 3)}"
                )
        rows = [image.reshape(-1).astype(np.float32) for image in images]
        return self._looking.run(rows)[0] if rows else np.empty(0)


def _size_of(card: DetectorCard) -> tuple[int, int]:
    """Return height and width of the images that a card is about, else the usual ones."""
    if card.images is not None:
        return card.images.height, card.images.width
    height, width = (int(card.details.get(name, _USUAL_PX)) for name in ("height", "width"))
    return height, width


def _mean_channel(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = samples.mean(axis=0, dtype=np.float64)
    return mean


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
