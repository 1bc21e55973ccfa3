"""Learning to tell images of spectrograms apart: a ResNet-18.

Conventions: inputs are pixels; they become what the network takes on its device. Output 0 is the
original, output 1 the deepfake, as in the published pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.errors import WeightsError
from earwitness.core.io import missing, sha256_of
from earwitness.detectors.downloads import DownloadError, OnProgress, fetch_file
from earwitness.detectors.nets.resnet18 import ResNet18, fake_logits, load_backbone, scale_images
from earwitness.detectors.weights import cache_folder
from earwitness.training.examples import Example
from earwitness.training.pixels import ImageDataset
from earwitness.training.sampling import Augmentation

IMAGENET, NOTHING = "imagenet", "none"
_FAKE_AT = 1


class ImageLesson:
    """A ResNet-18 and images.

    Args:
        network: What learns.
        train: Images to learn from.
        valid: Images to tell how far it has come.
        augmented: Whether images are changed while learning.
    """

    n_loaders = 0

    def __init__(
        self, network: ResNet18, train: ImageDataset, valid: ImageDataset, *, augmented: bool = True
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._train = train
        self._valid = valid
        self._augmented = augmented

    @property
    def train(self) -> Sequence[Example]:
        """Examples to learn from."""
        return self._train.examples

    @property
    def valid(self) -> Sequence[Example]:
        """Examples to tell how far it has come."""
        return self._valid.examples

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return an image, changed."""
        image = self._train.image(at)
        return Augmentation.draw(rng, self._train.size).apply(image) if self._augmented else image

    def valid_input(self, at: int) -> NDArray[np.uint8]:
        """Return an image as it is."""
        return self._valid.image(at)

    def label(self, example: Example) -> int:
        """Return the class: there is nothing else to learn."""
        return example.target

    def judge(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
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
