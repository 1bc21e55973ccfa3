"""Training SpecCNN by Deezer's recipe (Afchar et al. 2024, github.com/deezer/deepfake-detector).

Conventions: a real/fake head and an encoder head, whose losses are weighted 1.0 and 0.2. Training
uses random slices of 0.78 s with a random mix of two channels and a gain of 0.5 to 1, validation
the slice in the middle. The encoder of a fake is its ``generator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import mix_first_two
from earwitness.core.cards import DetectorCard
from earwitness.detectors.base import WEIGHTS_FILE, write_card
from earwitness.detectors.nets.specnn import SpecCNN, amplitude_features
from earwitness.detectors.specnn import CONTRACT, specnn_card
from earwitness.training.examples import Example, check_splits
from earwitness.training.sampling import draw_crop, read_crop
from earwitness.training.task import (
    Details,
    Trained,
    TrainingTask,
    list_origins,
    save_weights,
    training_items,
)

_UNNAMED = "unknown"

PUBLISHED = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "plateau",
    "patience": 20,
    "clip_norm": None,
}
"""Hyperparameters of the published recipe."""


class SpecnnTask(TrainingTask):
    """A SpecCNN on readable audio files, from random weights."""

    network: SpecCNN

    def __init__(
        self,
        train: Sequence[Example],
        valid: Sequence[Example],
        *,
        seed: int = 0,
        n_loaders: int = 0,
    ) -> None:
        check_splits(train, valid)
        names = sorted({one.generator or _UNNAMED for one in train if one.target == 1})
        self.encoders = ("real", *names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SpecCNN(len(self.encoders))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train, self.valid = train, valid
        self.settings = {"detector": "specnn_amplitude"}
        self.n_loaders = n_loaders
        self._numbers = {name: number for number, name in enumerate(self.encoders)}

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a random slice with a random mix and gain."""
        place, mix = rng.random(), rng.random()
        gain = rng.uniform(0.5, 1)
        samples = draw_crop(self.train[at].path, CONTRACT, place)
        mono = mix * samples[0] + (1 - mix) * samples[min(1, len(samples) - 1)]
        slice_: NDArray[np.float32] = (gain * mono).astype(np.float32)
        return slice_

    def valid_input(self, at: int) -> NDArray[np.float32]:
        """Return the mean of two channels of the slice in the middle."""
        return mix_first_two(read_crop(self.valid[at].path, CONTRACT))

    def label(self, example: Example) -> int:
        """Return the number of an example's encoder; -1 for unknown ones."""
        return self._numbers.get(example.generator or _UNNAMED, -1) if example.target else 0

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the fake and of the encoders."""
        with torch.autocast(inputs.device.type, enabled=False):
            images = amplitude_features(inputs).unsqueeze(1)
        real, encoders = self.network(images)
        return -real, encoders

    def losses(
        self, outputs: tuple[torch.Tensor, ...], targets: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted losses of both heads."""
        head = nn.functional.binary_cross_entropy_with_logits(
            outputs[0], targets.to(outputs[0].dtype), reduction="none"
        )
        encoder = nn.functional.cross_entropy(outputs[1], labels, reduction="none", ignore_index=-1)
        return head + 0.2 * encoder

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the published card with the changes of a new training."""
        changes = {
            "trained_on": list_origins(self.train),
            "selected_on": list_origins(self.valid),
            "training_items": training_items(self.train),
            "licence": "the weights are their trainer's; the method's code is CC-BY-NC-4.0",
            "weights_from": "trained by you: earwitness train --detector specnn_amplitude",
            "details": details,
            "encoders": self.encoders,
        }
        return specnn_card(name, len(self.encoders), None).model_copy(update=changes)

    def save(self, trained: Trained, card: DetectorCard, out: Path) -> DetectorCard:
        """Write the weights as safetensors, then the card."""
        card = save_weights(trained.best, out / WEIGHTS_FILE, card)
        write_card(card, out)
        return card
