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
from earwitness.audio.pictures import colour_table, draw_levels
from earwitness.core.cards import Backend, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.files import sha256_of
from earwitness.core.images import SpectrogramContract
from earwitness.core.labels import parse_classes
from earwitness.detectors.base import Scores, mix_checked
from earwitness.detectors.devices import open_device
from earwitness.detectors.graphs import Graph, Judge
from earwitness.detectors.networks import NetworkRunner
from earwitness.detectors.onnx import choose_network
from earwitness.detectors.resnet_card import describe_resnet, find_card, find_weights, resnet_card
from earwitness.detectors.resnet_weights import ResNet18, read_resnet

if TYPE_CHECKING:
    from earwitness.detectors.opening import OpenOptions

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
    ) -> None:
        self.card = card
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
        return list(dict.fromkeys((*self._listening.remarks, *self._looking.remarks)))

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
    return _open(find_weights(weights), card, options.device, options.backend)


def load_resnet(
    path: Path, *, classes: tuple[str, ...] | None = None, device: str = "cpu"
) -> ResnetDetector:
    """Open any torchvision-shaped ResNet-18 with one or two outputs.

    Args:
        path: A ``.pth`` or safetensors file, or a folder that ``earwitness train`` wrote.
        classes: What its outputs stand for, by their number; of a single output, what 0 and 1
            stand for. ``None`` takes its card's word for it.
        device: Where it runs, as torch names it.

    Raises:
        WeightsError: The file is missing or damaged or does not fit, or nobody says which output
            is the deepfake.
    """
    file = find_weights(path)
    name = path.resolve().name if path.is_dir() else file.stem
    card = find_card(file) or resnet_card(name=name, images=None, classes=())
    changes = {"name": name, "weights_sha256": sha256_of(file)}
    card = card.model_copy(update=changes | ({"classes": classes} if classes else {}))
    return _open(file, card, device)


def _open(
    path: Path, card: DetectorCard, device: str, backend: Backend = "torch"
) -> ResnetDetector:
    if parse_classes(card.classes) is None:
        found = ", ".join(card.classes) or "no card"
        raise WeightsError(
            f"{path}: {found}: which output is the deepfake is not said; expected --classes with "
            "both names in order, such as original,deepfake"
        )
    return ResnetDetector(read_resnet(path), card, device=device, backend=backend)
