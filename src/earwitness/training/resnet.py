"""Training a ResNet-18 on images of spectrograms.

Conventions: inputs are uint8 pixels, scaled on the device. Output 0 is the original, output 1 the
deepfake, as in the published pipeline. ``<best>.pth`` and ``<final>.pth`` are plain states that
torchvision loads; ``weights.safetensors`` and ``card.json`` are for our own loader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from earwitness.core.cards import DetectorCard
from earwitness.core.downloads import DownloadError, OnProgress, fetch_file
from earwitness.core.errors import WeightsError, first_line
from earwitness.core.io import atomic_write, cache_folder, missing, sha256_of, write_json
from earwitness.core.spectrogram import PUBLISHED_NAMES
from earwitness.detectors.nets.resnet18 import (
    ResNet18,
    ResnetDetector,
    fake_logits,
    load_backbone,
    scale_images,
)
from earwitness.detectors.resnet import STEM, resnet_card
from earwitness.detectors.resnet_checkpoints import save_resnet
from earwitness.evaluation.estimates import count, estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.images.classify import format_counts, make_items
from earwitness.metrics.measures import measure
from earwitness.training.image_dataset import ImageDataset, ImageSplits
from earwitness.training.sampling import Augmentation
from earwitness.training.task import (
    Details,
    Hardware,
    HeldOut,
    Trained,
    TrainingTask,
    list_origins,
    training_items,
)

IMAGENET, NOTHING = "imagenet", "none"
_OWN_IMAGES = "images of one's own"


class ImageTask(TrainingTask):
    """A ResNet-18 on images.

    Args:
        images: Images of each split.
        init: Initial weights, see ``find_init``.
        seed: Random seed of new layers.
        augmented: Augment training images.
        stem: Name of the ``.pth`` files after ``best_`` and ``final_``.
        published: Write each ``.pth`` as the published training script does, see ``save_resnet``.
    """

    network: ResNet18

    def __init__(
        self,
        images: ImageSplits,
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
        """Return anomalies of examples and pixels."""
        images = self._images
        return (*super().check_data(), *check_images(images.train, images.valid, images.test))

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return an augmented image."""
        train = self._images.train
        image = train.image(at)
        return Augmentation.draw(rng, train.size).apply(image) if self._augmented else image

    def valid_input(self, at: int) -> NDArray[np.uint8]:
        """Return an image."""
        return self._images.valid.image(at)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the deepfake, and both outputs."""
        pixels = inputs if inputs.ndim > 3 else inputs[..., None].expand(-1, -1, -1, 3)
        images = scale_images(pixels).contiguous(memory_format=torch.channels_last)
        outputs = self.network(images)
        return fake_logits(outputs, 1), outputs

    def losses(
        self,
        outputs: tuple[torch.Tensor, ...],
        targets: torch.Tensor,
        labels: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return cross entropies."""
        return nn.functional.cross_entropy(outputs[1], targets, reduction="none")

    def frozen(self) -> Sequence[nn.Module]:
        """Return all modules but the last layer."""
        return [module for name, module in self.network.named_children() if name != "fc"]

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the card of an image classifier."""
        height, width = self._images.train.size
        size: Details = {"height": height, "width": width}
        return resnet_card(
            name=name,
            images=self._images.train.contract,
            classes=PUBLISHED_NAMES,
            trained_on=list_origins(self.train, _OWN_IMAGES),
            selected_on=list_origins(self.valid, _OWN_IMAGES),
            training_items=training_items(self.train),
            details=size | details,
        )

    def evaluate(
        self, trained: Trained, card: DetectorCard, out: Path, hardware: Hardware
    ) -> HeldOut | None:
        """Score the test images and write ``test_predictions.csv`` and ``test.json``."""
        images = self._images.test
        if images is None:
            return None
        network = ResNet18(2)
        network.load_state_dict(trained.best)
        device = "cpu" if hardware.device == "auto" else hardware.device
        logits = _score(ResnetDetector(network, card, device=device), images)
        targets = [example.target for example in images.examples]
        groups = [example.group for example in images.examples]
        items = make_items(targets, logits.tolist(), groups, card.threshold)
        _write_predictions(images, card, logits, out / "test_predictions.csv")
        names = ("auroc", "balanced_accuracy", "accuracy", "recall", "specificity")
        result = HeldOut(estimate_some(names, items, Settings()), len(items), items.n_groups)
        counts = count(items)
        content = {
            "n_images": result.n_images,
            "n_groups": result.n_groups,
            "confusion": counts and format_counts(counts),
            "metrics": {n: e.model_dump(mode="json") for n, e in result.estimates.items()},
        }
        write_json(out / "test.json", content)
        return result

    def save(self, trained: Trained, card: DetectorCard, out: Path) -> DetectorCard:
        """Write both ``.pth`` files, ``weights.safetensors`` and the card."""
        states = {f"best_{self._stem}": trained.best, f"final_{self._stem}": trained.final}
        return save_resnet(card, states, out, published=self._published)


def _score(detector: ResnetDetector, images: ImageDataset) -> NDArray[np.float64]:
    logits = []
    for start in range(0, len(images.examples), detector.batch_size):
        some = range(start, min(start + detector.batch_size, len(images.examples)))
        batch = [images.image(at) for at in some]
        colours = [i if i.ndim > 2 else np.repeat(i[..., None], 3, axis=2) for i in batch]
        logits.append(detector.score_images(colours))
    return np.concatenate(logits)


def _write_predictions(
    images: ImageDataset, card: DetectorCard, logits: NDArray[np.float64], path: Path
) -> None:
    """Write scores with the columns of ``earwitness predict``."""
    probs = expit(logits)
    frame = pl.DataFrame(
        {
            "filepath": [example.name for example in images.examples],
            "target": [example.target for example in images.examples],
            "split_tag": ["test"] * len(logits),
            "generator": pl.Series([e.generator for e in images.examples], dtype=pl.String),
            "group_id": [example.group for example in images.examples],
            "detector": [card.name] * len(logits),
            "logit": logits,
            "pred_prob": probs,
            "pred_label": (probs >= card.threshold).astype(np.int64),
        }
    )
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)


def find_init(init: str, on_progress: OnProgress = lambda *_: None) -> Path | None:
    """Return the file of initial weights, downloaded if needed; ``None`` for random ones.

    ``init`` is ``imagenet`` (torchvision's published weights), ``none``, or a file.
    ``WeightsError`` if there is no such file or the download failed.
    """
    if init == NOTHING:
        return None
    path = _fetch_imagenet(on_progress) if init == IMAGENET else Path(init)
    if not path.is_file():
        raise WeightsError(
            f"--init {missing(path)}; expected {IMAGENET}, {NOTHING} or a file of weights"
        )
    return path


def make_network(init: str, *, seed: int) -> ResNet18:
    """Return a network with initial weights, see ``find_init``, and a new last layer."""
    path = find_init(init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet18(2)
    if path:
        load_backbone(network, path)
    return network


URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


def _fetch_imagenet(on_progress: OnProgress) -> Path:
    """Return torchvision's weights, downloaded if needed."""
    sha256_start = "f37072fd"  # in the file's name
    path = (cache_folder() or Path(gettempdir())) / "weights" / URL.rpartition("/")[2]
    wrong = ""
    if path.is_file():
        found = sha256_of(path)
        if found.startswith(sha256_start):
            return path
        wrong = (
            f"{path}: SHA-256 {found[: len(sha256_start)]}…, expected {sha256_start}… (damaged, "
            "or another file); "
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(
            URL, path, sha256_start=sha256_start, max_bytes=64 * 2**20, on_progress=on_progress
        )
    except (DownloadError, OSError) as error:
        raise WeightsError(
            f"{wrong}{URL} cannot be fetched ({first_line(error)}); put the file at {path}, "
            "or give --init FILE.pth, or --init none to begin with random weights"
        ) from error
    return path


def check_images(
    train: ImageDataset, valid: ImageDataset, test: ImageDataset | None = None
) -> Iterator[str]:
    """Yield anomalies of files, constant images, duplicates, label leaks and shortcuts."""
    stats = [_measure(image) for image in train.images()]
    yield from train.notes
    constant = [e for e, one in zip(train.examples, stats, strict=True) if one.is_constant]
    if constant:
        yield (
            f"{len(constant)} of {len(stats)} images are of one colour throughout (as "
            f"{constant[0].path})"
        )
    by_class: tuple[set[bytes], set[bytes]] = (set(), set())
    for example, one in zip(train.examples, stats, strict=True):
        by_class[example.target].add(one.digest)
    if shared := by_class[0] & by_class[1]:
        yield f"{len(shared)} images are the same in both classes: their labels cannot be learned"
    for split, images in (("valid", valid), ("test", test)):
        digests = set(map(_digest, images.images())) if images else set()
        if shared := (by_class[0] | by_class[1]) & digests:
            yield (
                f"{len(shared)} images of {split} are the same as images of train: metrics will be "
                "too good"
            )
    yield from _find_leaks(train)
    shortcuts = {
        "brightness": [one.brightness for one in stats],
        "the highest frequency with sound": [one.top for one in stats],
        "the share of black": [one.black for one in stats],
    }
    targets = np.array([example.target for example in train.examples])
    for name, values in shortcuts.items():
        area = measure("auroc", targets, np.array(values))
        if max(area, 1 - area) >= 0.95:
            yield f"shortcut: {name} alone separates the classes (AUROC {max(area, 1 - area):.3f})"


class _Stats(NamedTuple):
    digest: bytes
    is_constant: bool
    brightness: float
    top: float
    black: float


def _measure(image: NDArray[np.uint8]) -> _Stats:
    grey = image[..., 0] if image.ndim > 2 else image
    rows = grey.max(axis=1) > 0
    return _Stats(
        _digest(image),
        bool(image.min() == image.max()),
        float(grey.mean(dtype=np.float64)),
        1 - int(rows.argmax()) / len(rows) if rows.any() else 0.0,
        float((grey == 0).mean()),
    )


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _find_leaks(images: ImageDataset) -> Iterator[str]:
    """Yield traits of files that separate the classes."""
    for traits in zip(*images.traits, strict=True):
        of_class: tuple[set[str], set[str]] = (set(), set())
        for trait, example in zip(traits, images.examples, strict=True):
            of_class[example.target].add(trait)
        if not of_class[0] & of_class[1]:
            shown = " against ".join(min(part) for part in of_class)
            yield f"label leak: properties of the files separate the classes ({shown})"
