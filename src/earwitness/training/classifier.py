"""Training an image classifier, from folders of images or from manifests of audio.

Conventions: what is written is ``<best>.pth`` and ``<final>.pth``, plain states that torchvision
loads, and for our own loader ``weights.safetensors`` and ``card.json``; beside them the split, the
learning curves and TensorBoard's events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earwitness.audio.clips import Windows
from earwitness.core.cards import DetectorCard
from earwitness.core.images import SpectrogramContract
from earwitness.core.labels import PUBLISHED_NAMES
from earwitness.core.manifest import Manifest
from earwitness.detectors.resnet_card import resnet_card
from earwitness.detectors.resnet_weights import save_resnet
from earwitness.passes.resume import Resume
from earwitness.training import session
from earwitness.training.examples import Example, Sharing, check_sides, join_groups, list_audio
from earwitness.training.images import IMAGENET, ImageLesson, make_network
from earwitness.training.lesson import Plan
from earwitness.training.looks import look_at_examples, look_at_images
from earwitness.training.loop import Hardware, Listeners, Trained, fit
from earwitness.training.pixels import PixelShelf, shelve_images
from earwitness.training.rendered import shelve_audio
from earwitness.training.sides import share_groups

STEM = "laundered_processed"
"""What the published pipeline calls its weights, after ``best_`` and ``final_``."""


@dataclass(frozen=True)
class Shelves:
    """Images to train a classifier with.

    Attributes:
        train: To learn from.
        valid: To tell how far it has come.
        failures: Examples that could not be read, with the reason.
    """

    train: PixelShelf
    valid: PixelShelf
    failures: tuple[tuple[Example, str], ...] = ()


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and how its training went.

    Attributes:
        card: Its card, as it was written.
        trained: Figures and states.
    """

    card: DetectorCard
    trained: Trained


def shelve_folder(
    examples: Sequence[Example],
    sharing: Sharing,
    *,
    folder: Path | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Read images, see ``list_images``, and share their groups out.

    Args:
        examples: Images.
        sharing: How.
        folder: Where their pixels are kept meanwhile, see ``PixelFile``.
        advance: Told of every image, and whether it could be read.

    Raises:
        DatasetError: A class is missing on either side, nothing can be read, or there is no room on
            the disk.
    """
    shelf = shelve_images(examples, folder=folder, advance=advance)
    train, valid = share_groups(shelf.examples, sharing)
    check_sides(train, valid)
    return Shelves(shelf.chosen(train), shelf.chosen(valid), shelf.failures)


def shelve_manifests(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    contract: SpectrogramContract,
    sharing: Sharing,
    *,
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Draw the audio of manifests; without ``valid`` the groups are shared out.

    The arguments are those of ``list_sides`` and ``shelve_audio``.

    Raises:
        DatasetError: A class is missing on either side, a group stands on both, nothing can be
            read, or there is no room on the disk.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    examples, held = list_sides(train, valid, sharing)
    ours, theirs = (
        shelve_audio(
            side, contract, windows=windows, folder=folder, n_workers=n_workers, advance=advance
        )
        for side in (examples, held)
    )
    check_sides(ours.examples, theirs.examples)
    return Shelves(ours, theirs, (*ours.failures, *theirs.failures))


def list_sides(
    train: Sequence[Manifest], valid: Sequence[Manifest], sharing: Sharing
) -> tuple[list[Example], list[Example]]:
    """Return the files of manifests; without ``valid`` their groups are shared out.

    Raises:
        DatasetError: A class is missing on either side, or a group stands on both.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    examples = list_audio(train, group_by=sharing.group_by)
    n_train = len(examples)
    both = join_groups([*examples, *list_audio(valid, group_by=sharing.group_by)])
    examples, held = both[:n_train], both[n_train:]
    if not valid:
        examples, held = share_groups(examples, sharing)
    check_sides(examples, held)
    return examples, held


def train_classifier(
    shelves: Shelves,
    out: Path,
    plan: Plan,
    *,
    init: str = IMAGENET,
    augmented: bool = True,
    stem: str = STEM,
    published: bool = False,
    resume: Resume = "missing",
    hardware: Hardware | None = None,
    listeners: Listeners | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> TrainedClassifier:
    """Train a ResNet-18 on images, or go on where an earlier call stopped.

    Args:
        shelves: The images.
        out: Folder for what is written; its name is the detector's.
        plan: How.
        init: See ``make_network``.
        augmented: Whether images are changed while learning.
        stem: What the weights are called, after ``best_`` and ``final_``.
        published: Write each ``.pth`` in the shape of the published training script, see
            ``save_resnet``.
        resume: What happens to a training that the folder holds.
        hardware: Where; the CPU by default.
        listeners: Who is told.
        remark: Told what may keep the network from learning, before it begins.

    Raises:
        RunError: The folder holds another training, or a finished one.
        WeightsError: The weights to begin with cannot be had.
        StoppedError: It was stopped; the same call goes on.
    """
    train, valid = shelves.train, shelves.valid
    settings = {"init": init, "augmented": augmented, **asdict(plan)}
    session.begin(out, train.examples, valid.examples, settings, resume=resume)
    for line in (
        *look_at_examples(train.examples, valid.examples),
        *look_at_images(train, valid),
    ):
        remark(line)
    lesson = ImageLesson(make_network(init, seed=plan.seed), train, valid, augmented=augmented)
    trained = fit(lesson, plan, out, hardware=hardware, listeners=listeners)
    card = _card(shelves, out, trained, settings)
    states = {f"best_{stem}": trained.best, f"final_{stem}": trained.final}
    card = save_resnet(card, states, out, published=published)
    session.finish(trained, out, title=card.name)
    return TrainedClassifier(card, trained)


def _card(shelves: Shelves, out: Path, trained: Trained, settings: dict[str, Any]) -> DetectorCard:
    train = shelves.train
    height, width = train.size
    size: dict[str, float | int | str] = {"height": height, "width": width}
    return resnet_card(
        name=out.resolve().name,
        images=train.contract,
        classes=PUBLISHED_NAMES,
        trained_on=session.origins(train.examples, "images of one's own"),
        selected_on=session.origins(shelves.valid.examples, "images of one's own"),
        training_items=session.training_items(train.examples),
        details=size | session.figures_of(trained, settings),
    )
