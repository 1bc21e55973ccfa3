"""Training an image classifier, from folders of images or from manifests of audio.

Conventions: what is written is ``<best>.pth`` and ``<final>.pth``, plain states that torchvision
loads, and for our own loader ``weights.safetensors`` and ``card.json``; beside them the split, the
learning curves and TensorBoard's events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import expit

from earwitness.core.cards import DetectorCard, Windows
from earwitness.core.estimate import Estimate
from earwitness.core.io import atomic_write, write_json
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import PUBLISHED_NAMES, SpectrogramContract
from earwitness.detectors.nets.resnet18 import ResNet18, ResnetDetector
from earwitness.detectors.resnet import STEM, resnet_card
from earwitness.detectors.resnet_checkpoints import save_resnet
from earwitness.evaluation.estimates import count, estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.metrics.sample import Items, numbered
from earwitness.scoring.options import Resume
from earwitness.training import run
from earwitness.training.data_checks import look_at_examples, look_at_images
from earwitness.training.examples import (
    Example,
    SplitConfig,
    check_classes,
    check_sides,
    hold_out_test,
    join_groups,
    list_audio,
    share_groups,
)
from earwitness.training.image_task import IMAGENET, ImageLesson, make_network
from earwitness.training.pixels import ImageDataset, shelve_images
from earwitness.training.rendering import shelve_audio
from earwitness.training.task import TrainConfig
from earwitness.training.trainer import Callbacks, Hardware, Trained, fit

"""What the published pipeline calls its weights, after ``best_`` and ``final_``."""


@dataclass(frozen=True)
class Shelves:
    """Images to train a classifier with.

    Attributes:
        train: To learn from.
        valid: To tell how far it has come.
        failures: Examples that could not be read, with the reason.
        test: To test with in the end; nothing is chosen by it.
    """

    train: ImageDataset
    valid: ImageDataset
    failures: tuple[tuple[Example, str], ...] = ()
    test: ImageDataset | None = None

    @property
    def tested(self) -> tuple[Example, ...]:
        """Examples of the test."""
        return self.test.examples if self.test else ()


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and how its training went.

    Attributes:
        card: Its card, as it was written.
        trained: Figures and states.
        test: What the best state scores on the held-out test, where there is one.
    """

    card: DetectorCard
    trained: Trained
    test: HeldOut | None = None


def shelve_folder(
    examples: Sequence[Example],
    sharing: SplitConfig,
    *,
    valid: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
    folder: Path | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Read images, see ``find_images``, and share out the groups of sides that are not given.

    Args:
        examples: Images.
        sharing: How.
        valid: Images to validate with.
        test: Images to test with; where ``valid`` is given and these are not, nothing is tested.
        folder: Where their pixels are kept meanwhile, see ``PixelFile``.
        advance: Told of every image, and whether it could be read.

    Raises:
        DatasetError: A class is missing on a side, nothing can be read, or there is no room on
            the disk.
    """
    everything = [*examples, *(valid or ()), *(test or ())]
    shelf = shelve_images(everything, folder=folder, advance=advance)
    read = {example.name for example in shelf.examples}
    given = [example for example in examples if example.name in read]
    if test is None and valid is None and sharing.test_share:
        given, test, sharing = hold_out_test(given, sharing)
    train, held = (given, list(valid)) if valid is not None else share_groups(given, sharing)
    check_classes("train", train)
    check_classes("valid", held := [e for e in held if e.name in read])
    tested = [example for example in test or () if example.name in read]
    if test:
        check_classes("test", tested)
    return Shelves(
        shelf.chosen(train),
        shelf.chosen(held),
        shelf.failures,
        shelf.chosen(tested) if tested else None,
    )


def shelve_manifests(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    contract: SpectrogramContract,
    sharing: SplitConfig,
    *,
    test: Sequence[Manifest] = (),
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Draw the audio of manifests; without ``valid`` the groups are shared out.

    The arguments are those of ``list_sides`` and ``shelve_audio``.

    Raises:
        DatasetError: A class is missing on a side, a group is on two, nothing can be read, or there
            is no room on the disk.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    examples, held, tested = list_sides(train, valid, sharing, test)
    ours, theirs = (
        shelve_audio(
            side, contract, windows=windows, folder=folder, n_workers=n_workers, advance=advance
        )
        for side in (examples, held)
    )
    check_sides(ours.examples, theirs.examples)
    failures = (*ours.failures, *theirs.failures)
    if not tested:
        return Shelves(ours, theirs, failures)
    last = shelve_audio(
        tested, contract, windows=windows, folder=folder, n_workers=n_workers, advance=advance
    )
    check_sides(ours.examples, last.examples, "test")
    check_sides(theirs.examples, last.examples, "test")
    return Shelves(ours, theirs, (*failures, *last.failures), last)


def list_sides(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    sharing: SplitConfig,
    test: Sequence[Manifest] = (),
) -> tuple[list[Example], list[Example], list[Example]]:
    """Return the files to learn from, to validate and to test with.

    Without ``valid`` groups are shared out; without ``test`` as well, some are held out for it
    where ``sharing`` says so.

    Raises:
        DatasetError: A class is missing on a side, or a group is on two.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    listed = [list_audio(some, group_by=sharing.group_by) for some in (train, valid, test)]
    joined = iter(join_groups([one for side in listed for one in side]))
    examples, held, tested = ([next(joined) for _ in side] for side in listed)
    if not (valid or test) and sharing.test_share:
        examples, tested, sharing = hold_out_test(examples, sharing)
    if not valid:
        examples, held = share_groups(examples, sharing)
    check_sides(examples, held)
    if tested:
        check_sides(examples, tested, "test")
        check_sides(held, tested, "test")
    return examples, held, tested


def train_classifier(
    shelves: Shelves,
    out: Path,
    plan: TrainConfig,
    *,
    init: str = IMAGENET,
    augmented: bool = True,
    stem: str = STEM,
    published: bool = False,
    resume: Resume = "missing",
    hardware: Hardware | None = None,
    listeners: Callbacks | None = None,
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
    run.begin(out, train.examples, valid.examples, settings, test=shelves.tested, resume=resume)
    for line in (
        *look_at_examples(train.examples, valid.examples, shelves.tested),
        *look_at_images(train, valid, shelves.test),
    ):
        remark(line)
    lesson = ImageLesson(make_network(init, seed=plan.seed), train, valid, augmented=augmented)
    trained = fit(lesson, plan, out, hardware=hardware, listeners=listeners)
    card = _card(shelves, out, trained, settings)
    test = None
    if shelves.test:
        test = run_test(trained.best, card, shelves.test, out, hardware or Hardware())
        card = card.model_copy(update={"details": card.details | test.details})
    run.draw(trained, out, title=card.name)
    states = {f"best_{stem}": trained.best, f"final_{stem}": trained.final}
    card = save_resnet(card, states, out, published=published)
    run.drop_checkpoints(out)
    return TrainedClassifier(card, trained, test)


def _card(shelves: Shelves, out: Path, trained: Trained, settings: dict[str, Any]) -> DetectorCard:
    train = shelves.train
    height, width = train.size
    size: dict[str, float | int | str] = {"height": height, "width": width}
    return resnet_card(
        name=out.resolve().name,
        images=train.contract,
        classes=PUBLISHED_NAMES,
        trained_on=run.origins(train.examples, "images of one's own"),
        selected_on=run.origins(shelves.valid.examples, "images of one's own"),
        training_items=run.training_items(train.examples),
        details=size | run.figures_of(trained, settings),
    )


TEST_JSON, TEST_CSV = "test.json", "test_predictions.csv"
METRICS = ("auroc", "balanced_accuracy", "accuracy", "recall", "specificity")


@dataclass(frozen=True)
class HeldOut:
    """Metrics of the held-out test.

    Attributes:
        estimates: With intervals over groups, by name.
        n_images: Images of the test.
        n_groups: Groups they are from.
    """

    estimates: Mapping[str, Estimate]
    n_images: int
    n_groups: int

    @property
    def details(self) -> dict[str, float | int | str]:
        """What a card keeps of it."""
        values = {
            f"test_{name}": round(estimate.value, 6)
            for name, estimate in self.estimates.items()
            if estimate.value is not None
        }
        return {"n_test_images": self.n_images, "n_test_groups": self.n_groups, **values}


def run_test(
    state: Mapping[str, torch.Tensor],
    card: DetectorCard,
    shelf: ImageDataset,
    out: Path,
    hardware: Hardware,
) -> HeldOut:
    """Score the test, write ``test_predictions.csv`` and ``test.json``, and return its metrics.

    Args:
        state: The network's, by torchvision's names.
        card: Its card.
        shelf: Images of the test.
        out: Folder of the training.
        hardware: Where the training ran.
    """
    network = ResNet18(2)
    network.load_state_dict(state)
    device = "cpu" if hardware.device == "auto" else hardware.device
    logits = _score(ResnetDetector(network, card, device=device), shelf)
    targets = np.array([example.target for example in shelf.examples])
    probs = expit(logits)
    decisions = (probs >= card.threshold).astype(np.int64)
    groups = numbered([example.group for example in shelf.examples])
    items = Items(targets, groups, decisions, logits, logits, probs)
    _write_predictions(shelf, card, logits, out / TEST_CSV)
    result = HeldOut(estimate_some(METRICS, items, Settings()), len(items), items.n_groups)
    counts = count(items)
    write_json(
        out / TEST_JSON,
        {
            "n_images": result.n_images,
            "n_groups": result.n_groups,
            "confusion": counts and {name.upper(): n for name, n in asdict(counts).items()},
            "metrics": {n: e.model_dump(mode="json") for n, e in result.estimates.items()},
        },
    )
    return result


def _score(detector: ResnetDetector, shelf: ImageDataset) -> NDArray[np.float64]:
    images = (i if i.ndim > 2 else np.repeat(i[..., None], 3, axis=2) for i in shelf.images())
    logits = []
    while batch := list(itertools.islice(images, detector.batch_size)):
        logits.append(detector.score_images(batch))
    return np.concatenate(logits)


def _write_predictions(
    shelf: ImageDataset, card: DetectorCard, logits: NDArray[np.float64], path: Path
) -> None:
    """Write the scores as ``earwitness predict`` does, so that ``evaluate`` reads them."""
    probs = expit(logits)
    frame = pl.DataFrame(
        {
            "filepath": [example.name for example in shelf.examples],
            "target": [example.target for example in shelf.examples],
            "split_tag": ["test"] * len(logits),
            "generator": pl.Series([e.generator for e in shelf.examples], dtype=pl.String),
            "group_id": [example.group for example in shelf.examples],
            "detector": [card.name] * len(logits),
            "logit": logits,
            "pred_prob": probs,
            "pred_label": (probs >= card.threshold).astype(np.int64),
        }
    )
    with atomic_write(path) as temporary:
        frame.write_csv(temporary)
