"""Fine-tuning a SpecTTTra from existing weights.

Conventions: training uses random clips of the network's length, channels averaged; validation the
clip that scoring uses. The front end is not trained. The output folder has the layout of the hub.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.cards import DetectorCard, TrainingItems
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
from earwitness.training.examples import Example, check_splits
from earwitness.training.sampling import draw_crop, read_crop
from earwitness.training.task import (
    TRAINING_JSON,
    Details,
    Trained,
    TrainingTask,
    list_origins,
    save_weights,
    training_items,
)

RECIPE = {"learning_rate": 5e-5, "weight_decay": 0.05}
"""Hyperparameters of fine-tuning."""


@dataclass(frozen=True)
class Start:
    """Initial weights: registered name of the detector, location, and card."""

    detector: str
    source: Source
    card: DetectorCard


def find_start(asked: str, init: str | None) -> Start:
    """Return the initial weights: a folder, a file in one or a hub id; else the published ones.

    ``asked`` is a registered SpecTTTra or its hub id. ``UsageError`` if ``init`` is none of these,
    ``WeightsError`` if there are no such weights or they are another detector's.
    """
    detector = published_name(asked) or asked
    if init is None:
        try:
            source = find_source(asked, {})
        except WeightsError as error:
            where = str(error).partition("; give ")[0]
            raise WeightsError(f"{where}; give a folder of weights with --init") from None
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


class SpectttraTask(TrainingTask):
    """A SpecTTTra on readable audio files, fine-tuned from given weights."""

    network: SpecTTTra

    def __init__(
        self,
        start: Start,
        train: Sequence[Example],
        valid: Sequence[Example],
        *,
        n_loaders: int = 0,
    ) -> None:
        check_splits(train, valid)
        self.network, config = load_spectttra(start.source.path)
        self.train, self.valid = train, valid
        self.settings = {
            "detector": start.detector,
            "begun_with": start.source.name,
            "begun_with_sha256": start.card.weights_sha256,
        }
        self.n_loaders = n_loaders
        self._start = start
        self._contract = start.card.contract
        self._normalize = bool(config.audio.normalize)

    def check_folder(self, out: Path) -> None:
        """Raise ``RunError`` for a folder with weights that no training wrote."""
        if (out / CONFIG_JSON).is_file() and not (out / TRAINING_JSON).is_file():
            raise RunError(f"{out}: contains foreign weights, expected a new folder")

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a random clip."""
        return self._scaled(draw_crop(self.train[at].path, self._contract, rng.random()))

    def valid_input(self, at: int) -> NDArray[np.float32]:
        """Return the clip that scoring uses."""
        return self._scaled(read_crop(self.valid[at].path, self._contract))

    def _scaled(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return scale_samples(samples[0].astype(np.float64), normalize=self._normalize)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the fake."""
        with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
            images = self.network.make_images(inputs)
        return (self.network.logits(images),)

    def frozen(self) -> Sequence[nn.Module]:
        """Return all modules but the last layer."""
        return [self.network.encoder]

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the card of the initial weights with the changes of fine-tuning."""
        start, before = self._start, self._start.card
        changes = {
            "name": name,
            "kind": start.detector,
            "trained_on": _add_origins(before.trained_on, self.train),
            "selected_on": _add_origins(before.selected_on, self.valid),
            "training_items": _add_items(before.training_items, self.train),
            "licence": "the weights are their trainer's; the method is MIT",
            "weights_from": f"trained by you: earwitness train --detector {start.detector}",
            "limits": (
                "Knows the generators that it was fine-tuned on and, as far as it did not forget "
                f"them, those of {start.source.name}."
            ),
            "details": details,
        }
        return before.model_copy(update=changes)

    def save(self, trained: Trained, card: DetectorCard, out: Path) -> DetectorCard:
        """Write a folder with the layout of the hub."""
        card = save_weights(trained.best, out / SAFETENSORS, card)
        with atomic_write(out / CONFIG_JSON) as temporary:
            config = find_state(self._start.source.path).with_name(CONFIG_JSON)
            shutil.copyfile(config, temporary)
        write_card(card, out)
        return card


def _add_origins(
    before: tuple[str, ...] | None, examples: Sequence[Example]
) -> tuple[str, ...] | None:
    """Return datasets with those of examples; ``None`` stays unknown."""
    if before is None:
        return None
    return tuple(dict.fromkeys((*before, *list_origins(examples))))


def _add_items(before: TrainingItems | None, train: Sequence[Example]) -> TrainingItems:
    """Return hashes of examples and of earlier ones, marked as incomplete."""
    items = training_items(train).model_copy(update={"complete": False})
    if before is None:
        return items
    files, groups = (
        tuple(sorted({*getattr(before, name), *getattr(items, name)}))
        for name in ("item_sha256", "group_sha256")
    )
    return items.model_copy(
        update={"n_items": len(files), "item_sha256": files, "group_sha256": groups}
    )
