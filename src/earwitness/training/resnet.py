"""Training a ResNet-18 to tell images of spectrograms apart.

Conventions: inputs are uint8 pixels, scaled on the device. Output 0 is the original, output 1 the
deepfake, as in the published pipeline. ``<best>.pth`` and ``<final>.pth`` are plain states that
torchvision loads; ``weights.safetensors`` and ``card.json`` are for our own loader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import missing, sha256_of
from earwitness.core.spectrogram import PUBLISHED_NAMES
from earwitness.detectors.hub import DownloadError, OnProgress, fetch_file
from earwitness.detectors.nets.resnet18 import ResNet18, fake_logits, load_backbone, scale_images
from earwitness.detectors.resnet import STEM, resnet_card
from earwitness.detectors.resnet_checkpoints import save_resnet
from earwitness.detectors.weights import cache_folder
from earwitness.training.data_checks import check_images
from earwitness.training.held_out import run_test
from earwitness.training.outputs import list_origins, training_items
from earwitness.training.rendering import Shelves
from earwitness.training.sampling import Augmentation
from earwitness.training.task import Details, Hardware, HeldOut, Trained, TrainingTask

IMAGENET, NOTHING = "imagenet", "none"
_FAKE_AT = 1
_UNKNOWN_ORIGIN = "images of one's own"


class ImageTask(TrainingTask):
    """A ResNet-18 on images.

    Args:
        images: Images of each side of the split.
        init: Initial weights, see ``find_init``.
        seed: Random seed of the new layers.
        augmented: Whether training images are augmented.
        stem: Name of the ``.pth`` files after ``best_`` and ``final_``.
        published: Write each ``.pth`` in the shape of the published training script, see
            ``save_resnet``.

    Raises:
        WeightsError: The initial weights cannot be fetched or read, or do not fit.
    """

    network: ResNet18

    def __init__(
        self,
        images: Shelves,
        *,
        init: str = IMAGENET,
        seed: int = 0,
        augmented: bool = True,
        stem: str = STEM,
        published: bool = False,
    ) -> None:
        network = make_network(init, seed=seed)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train, self.valid = images.train.examples, images.valid.examples
        self.test = images.test.examples if images.test else ()
        self.settings = {"init": init, "augmented": augmented}
        self._images = images
        self._augmented = augmented
        self._stem = stem
        self._published = published

    def check_data(self) -> Iterable[str]:
        """Return what is odd about the numbers of images and about their pixels."""
        images = self._images
        return (*super().check_data(), *check_images(images.train, images.valid, images.test))

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return an image, augmented."""
        train = self._images.train
        image = train.image(at)
        return Augmentation.draw(rng, train.size).apply(image) if self._augmented else image

    def valid_input(self, at: int) -> NDArray[np.uint8]:
        """Return an image as it is."""
        return self._images.valid.image(at)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the deepfake, and both outputs."""
        pixels = inputs if inputs.ndim > 3 else inputs[..., None].expand(-1, -1, -1, 3)
        images = scale_images(pixels).contiguous(memory_format=torch.channels_last)
        outputs = self.network(images)
        return fake_logits(outputs, _FAKE_AT), outputs

    def losses(
        self,
        outputs: tuple[torch.Tensor, ...],
        targets: torch.Tensor,
        labels: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return cross entropies."""
        return nn.functional.cross_entropy(outputs[1], targets, reduction="none")

    def frozen(self) -> Sequence[nn.Module]:
        """Return all but the last layer."""
        return [module for name, module in self.network.named_children() if name != "fc"]

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the card of an image classifier."""
        height, width = self._images.train.size
        size: Details = {"height": height, "width": width}
        return resnet_card(
            name=name,
            images=self._images.train.contract,
            classes=PUBLISHED_NAMES,
            trained_on=list_origins(self.train, _UNKNOWN_ORIGIN),
            selected_on=list_origins(self.valid, _UNKNOWN_ORIGIN),
            training_items=training_items(self.train),
            details=size | details,
        )

    def evaluate(
        self, trained: Trained, card: DetectorCard, out: Path, hardware: Hardware
    ) -> HeldOut | None:
        """Score the held-out images, see ``run_test``."""
        images = self._images.test
        return run_test(trained.best, card, images, out, hardware) if images else None

    def save(self, trained: Trained, card: DetectorCard, out: Path) -> DetectorCard:
        """Write both ``.pth`` files, ``weights.safetensors`` and the card."""
        states = {f"best_{self._stem}": trained.best, f"final_{self._stem}": trained.final}
        return save_resnet(card, states, out, published=self._published)


def find_init(init: str, on_progress: OnProgress = lambda *_: None) -> Path | None:
    """Return the file of weights to begin with, fetched where need be; ``None`` for random ones.

    Args:
        init: ``imagenet`` for torchvision's published weights, ``none`` for random ones, or a file.
        on_progress: See ``fetch_file``.

    Raises:
        WeightsError: There is no such file, or it cannot be fetched.
    """
    if init == NOTHING:
        return None
    path = fetch_imagenet(on_progress) if init == IMAGENET else Path(init)
    if not path.is_file():
        raise WeightsError(
            f"--init {missing(path)}; expected {IMAGENET}, {NOTHING} or a file of weights"
        )
    return path


def make_network(init: str, *, seed: int) -> ResNet18:
    """Return a network to begin with; its last layer is always a new one.

    Args:
        init: See ``find_init``.
        seed: Of whatever is random in it.

    Raises:
        WeightsError: Weights cannot be fetched or read, or do not fit.
    """
    path = find_init(init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet18(2)
    if path:
        load_backbone(network, path)
    return network


URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
_SHA256_START = "f37072fd"
"""Beginning of the file's SHA-256, which is part of its name."""
_MAX_BYTES = 64 * 2**20


def fetch_imagenet(on_progress: OnProgress = lambda *_: None) -> Path:
    """Return the file, fetched where need be.

    Args:
        on_progress: See ``fetch_file``.

    Raises:
        WeightsError: It cannot be fetched, or what comes is another file.
    """
    path = (cache_folder() or Path(gettempdir())) / "weights" / URL.rpartition("/")[2]
    wrong = ""
    if path.is_file():
        found = sha256_of(path)
        if found.startswith(_SHA256_START):
            return path
        wrong = (
            f"{path}: SHA-256 {found[: len(_SHA256_START)]}…, expected {_SHA256_START}… (damaged, "
            "or another file); "
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(
            URL, path, sha256_start=_SHA256_START, max_bytes=_MAX_BYTES, on_progress=on_progress
        )
    except (DownloadError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{wrong}{URL} cannot be fetched ({reason}); put the file at {path}, or give --init "
            "FILE.pth, or --init none to begin with random weights"
        ) from error
    return path
