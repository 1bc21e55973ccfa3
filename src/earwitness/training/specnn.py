"""Training SpecCNN by Deezer's recipe: a real/fake head and an encoder head, on random slices.

Conventions: the losses of the two heads weigh 1.0 and 0.2; a slice of 0.78 s is drawn anywhere in a
file, its two channels are mixed at random and its gain is 0.5 to 1. Validation uses the slice in
the middle, as scoring does. The encoder of a fake is its ``generator``.

Source: Afchar et al. 2024; github.com/deezer/deepfake-detector.
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
from earwitness.training.examples import Example, check_sides
from earwitness.training.outputs import OWN_AUDIO, list_origins, save_weights, training_items
from earwitness.training.sampling import draw_crop, read_crop
from earwitness.training.task import Details, Trained, TrainingTask

ENCODER_WEIGHT = 0.2
_QUIETEST_GAIN = 0.5
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
    """A SpecCNN on audio files.

    Args:
        train: Training files, readable ones.
        valid: Validation files.
        seed: Random seed of the initial weights.
        n_loaders: Processes that read slices; 0 reads in this one.

    Raises:
        DatasetError: A class is missing on either side.
    """

    network: SpecCNN

    def __init__(
        self,
        train: Sequence[Example],
        valid: Sequence[Example],
        *,
        seed: int = 0,
        n_loaders: int = 0,
    ) -> None:
        check_sides(train, valid)
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
        """Return a slice drawn anywhere in a file, mixed and scaled at random."""
        place, mix = rng.random(), rng.random()
        gain = rng.uniform(_QUIETEST_GAIN, 1)
        samples = draw_crop(self.train[at].path, CONTRACT, place)
        mono = mix * samples[0] + (1 - mix) * samples[min(1, len(samples) - 1)]
        slice_: NDArray[np.float32] = (gain * mono).astype(np.float32)
        return slice_

    def valid_input(self, at: int) -> NDArray[np.float32]:
        """Return the slice in the middle of a file, the mean of two channels."""
        return mix_first_two(read_crop(self.valid[at].path, CONTRACT))

    def label(self, example: Example) -> int:
        """Return the number of an example's encoder; one that was not met in training is -1."""
        if example.target == 0:
            return 0
        return self._numbers.get(example.generator or _UNNAMED, -1)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits of the fake and of the encoders."""
        with torch.autocast(inputs.device.type, enabled=False):
            images = amplitude_features(inputs).unsqueeze(1)
        real, encoders = self.network(images)
        return -real, encoders

    def losses(
        self, outputs: tuple[torch.Tensor, ...], targets: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return the losses of both heads, weighed."""
        head = nn.functional.binary_cross_entropy_with_logits(
            outputs[0], targets.to(outputs[0].dtype), reduction="none"
        )
        encoder = nn.functional.cross_entropy(outputs[1], labels, reduction="none", ignore_index=-1)
        return head + ENCODER_WEIGHT * encoder

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the published card with what differs for a network trained here."""
        changes = {
            "trained_on": list_origins(self.train, OWN_AUDIO),
            "selected_on": list_origins(self.valid, OWN_AUDIO),
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
