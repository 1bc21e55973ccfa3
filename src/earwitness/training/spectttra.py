"""Fine-tuning a SpecTTTra: it goes on learning from weights that are there, on audio of one's own.

Conventions: a clip of the network's own length is drawn anywhere in a file, the mean of its
channels; validation hears the clip that scoring hears. The front end is the network's own and is
not learned. What is written is a folder laid out as on the hub, with a card that says what the
weights were begun with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.cards import ClipContract, DetectorCard, TrainingItems
from earwitness.core.errors import RunError, UsageError, WeightsError
from earwitness.core.io import atomic_write, missing
from earwitness.detectors.base import CONFIG_JSON, OpenOptions, write_card
from earwitness.detectors.hub import is_hub_id
from earwitness.detectors.loading import Source, find_source, published_name
from earwitness.detectors.nets.spectttra import SpecTTTra, load_spectttra, scale_samples
from earwitness.detectors.spectttra import (
    SAFETENSORS,
    check_name,
    describe_spectttra,
    find_state,
    read_config,
)
from earwitness.scoring.options import Resume
from earwitness.training import run
from earwitness.training.crops import draw_crop, read_crop
from earwitness.training.data_checks import look_at_examples
from earwitness.training.examples import Example, check_sides
from earwitness.training.task import TrainConfig
from earwitness.training.trainer import Callbacks, Hardware, Trained, fit

RECIPE = {"learning_rate": 5e-5, "weight_decay": 0.05}
"""What a plan says otherwise for weights that have learned already."""


class SpectttraLesson:
    """A SpecTTTra and files of audio.

    Args:
        network: What learns.
        contract: Which clips it hears.
        train: Files to learn from.
        valid: Files to tell how far it has come.
        normalize: Whether samples are divided by their spread.
        n_loaders: Processes that read clips; 0 reads in this one.
    """

    def __init__(
        self,
        network: SpecTTTra,
        contract: ClipContract,
        train: Sequence[Example],
        valid: Sequence[Example],
        *,
        normalize: bool,
        n_loaders: int = 0,
    ) -> None:
        self.network = network
        self.train = train
        self.valid = valid
        self.n_loaders = n_loaders
        self._contract = contract
        self._normalize = normalize

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a clip drawn anywhere in a file."""
        return self._scaled(draw_crop(self.train[at].path, self._contract, rng.random()))

    def valid_input(self, at: int) -> NDArray[np.float32]:
        """Return the clip that scoring hears."""
        return self._scaled(read_crop(self.valid[at].path, self._contract))

    def _scaled(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return scale_samples(samples[0].astype(np.float64), normalize=self._normalize)

    def label(self, example: Example) -> int:
        """Return the class: there is nothing else to learn."""
        return example.target

    def judge(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the fake."""
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            images = self.network.make_images(inputs)
        return (self.network.logits(images),)

    def losses(
        self,
        outputs: tuple[torch.Tensor, ...],
        targets: torch.Tensor,
        labels: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return cross entropies."""
        logits = outputs[0].float()
        return nn.functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), reduction="none"
        )

    def frozen(self) -> Sequence[nn.Module]:
        """Return all but the last layer."""
        return [self.network.encoder]


@dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Attributes:
        detector: The registered name of their architecture.
        source: Where they lie.
        card: What they say of themselves.
    """

    detector: str
    source: Source
    card: DetectorCard


def find_start(asked: str, init: str | None) -> Start:
    """Return the weights to begin with.

    Args:
        asked: A registered SpecTTTra, or its hub id.
        init: A folder, the file of weights in one, or a hub id; ``None`` stands for the weights
            that scoring would take.

    Raises:
        UsageError: ``init`` is none of these.
        WeightsError: There are no weights there, or not of this detector.
    """
    detector = published_name(asked) or asked
    if init is None:
        source = _find_published(asked)
    elif Path(init).exists():
        source = Source(Path(init).resolve().name, detector, Path(init))
    elif is_hub_id(init):
        source = find_source(init, {})
    else:
        raise UsageError(f"--init {missing(Path(init))}; expected a folder of weights or a hub id")
    folder = find_state(source.path).parent
    check_name(detector, read_config(folder), folder / CONFIG_JSON)
    card = describe_spectttra(source.path, OpenOptions(source.name, published=source.published))
    return Start(detector, source, card)


def _find_published(asked: str) -> Source:
    try:
        return find_source(asked, {})
    except WeightsError as error:
        where = str(error).partition("; give ")[0]
        raise WeightsError(f"{where}; give a folder of weights with --init") from None


def train_spectttra(
    start: Start,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    plan: TrainConfig,
    *,
    n_loaders: int = 0,
    resume: Resume = "missing",
    hardware: Hardware | None = None,
    listeners: Callbacks | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> tuple[DetectorCard, Trained]:
    """Fine-tune a SpecTTTra, or go on where an earlier call stopped.

    Args:
        start: The weights to begin with.
        train: Files to learn from, readable ones.
        valid: Files to tell how far it has come.
        out: Folder for what is written; its name is the detector's.
        plan: How; ``RECIPE`` is made for weights that have learned already.
        n_loaders: Processes that read clips.
        resume: What happens to a training that the folder holds.
        hardware: Where; the CPU by default.
        listeners: Who is told.
        remark: Told what may keep the network from learning, before it begins.

    Raises:
        DatasetError: A class is missing on either side.
        RunError: The folder holds another training, a finished one, or weights from elsewhere.
        WeightsError: The weights to begin with are damaged or do not fit their config.
        StoppedError: It was stopped; the same call goes on.
    """
    check_sides(train, valid)
    network, config = load_spectttra(start.source.path)
    if (out / CONFIG_JSON).is_file() and not (out / run.TRAINING_JSON).is_file():
        raise RunError(f"{out}: holds weights from elsewhere, expected a new folder")
    begun_with = {"begun_with": start.source.name, "begun_with_sha256": start.card.weights_sha256}
    settings = {"detector": start.detector, **begun_with, **asdict(plan)}
    run.begin(out, train, valid, settings, resume=resume)
    for line in look_at_examples(train, valid):
        remark(line)
    normalize = bool(config.audio.normalize)
    lesson = SpectttraLesson(
        network, start.card.contract, train, valid, normalize=normalize, n_loaders=n_loaders
    )
    trained = fit(lesson, plan, out, hardware=hardware, listeners=listeners)
    card = _card(start, train, valid, out)
    sha256 = run.save_state(trained.best, out / SAFETENSORS, card)
    with atomic_write(out / CONFIG_JSON) as temporary:
        shutil.copyfile(find_state(start.source.path).with_name(CONFIG_JSON), temporary)
    figures = run.figures_of(trained, settings)
    card = card.model_copy(update={"weights_sha256": sha256, "details": figures})
    run.draw(trained, out, title=card.name)
    write_card(card, out)
    run.drop_checkpoints(out)
    return card, trained


def _card(
    start: Start, train: Sequence[Example], valid: Sequence[Example], out: Path
) -> DetectorCard:
    """Return what the fine-tuned network says of itself: what it began with, and what was added."""
    before = start.card
    told = {
        "name": out.resolve().name,
        "kind": start.detector,
        "trained_on": _with(before.trained_on, train),
        "selected_on": _with(before.selected_on, valid),
        "training_items": _items(before.training_items, train),
        "licence": "the weights are their trainer's; the method is MIT",
        "weights_from": f"trained by you: earwitness train --detector {start.detector}",
        "limits": (
            f"Knows the generators that it was fine-tuned on and, as far as it did not forget "
            f"them, those of {start.source.name}."
        ),
    }
    return before.model_copy(update=told)


def _with(before: tuple[str, ...] | None, examples: Sequence[Example]) -> tuple[str, ...] | None:
    """Return data sets with those of examples; what was unknown stays unknown."""
    if before is None:
        return None
    return tuple(dict.fromkeys((*before, *run.origins(examples, "audio of one's own"))))


def _items(before: TrainingItems | None, train: Sequence[Example]) -> TrainingItems:
    """Return hashes of examples with those of before; they are not all that it has met."""
    items = run.training_items(train).model_copy(update={"complete": False})
    if before is None:
        return items
    files, groups = (
        tuple(sorted({*getattr(before, name), *getattr(items, name)}))
        for name in ("item_sha256", "group_sha256")
    )
    return items.model_copy(
        update={"n_items": len(files), "item_sha256": files, "group_sha256": groups}
    )
