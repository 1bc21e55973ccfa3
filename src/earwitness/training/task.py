"""Training configuration, and the part of training that differs between detectors.

Conventions: losses are per item; logits are of the fake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from earwitness.core.cards import DetectorCard, Precision, TrainingItems
from earwitness.core.estimate import Estimate
from earwitness.core.io import atomic_write, sha256_of
from earwitness.training.curves import Row
from earwitness.training.examples import Example, check_examples, fingerprint

TRAINING_JSON = "training.json"
OWN_AUDIO = "audio of one's own"
Details = dict[str, float | int | str]
Monitor = Literal["valid_loss", "valid_auroc"]


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters.

    Attributes:
        epochs: Maximum number of epochs.
        patience: Epochs without improvement after which training stops.
        monitor: Validation metric that chooses the best epoch.
        batch_size: Examples per optimizer step.
        learning_rate: Peak learning rate.
        schedule: ``cosine`` warms up and decays to zero; ``plateau`` multiplies by a fifth when
            the validation loss stops falling.
        warm_up: Share of the steps over which ``cosine`` warms up.
        freeze_epochs: Epochs in which ``TrainingTask.frozen`` modules are not trained.
        clip_norm: Maximum norm of the gradients; ``None`` does not clip.
        balanced: Sample both classes equally often.
    """

    epochs: int = 20
    patience: int = 8
    monitor: Monitor = "valid_loss"
    batch_size: int = 32
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "plateau"] = "cosine"
    warm_up: float = 0.1
    freeze_epochs: int = 0
    clip_norm: float | None = 1.0
    balanced: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Hardware:
    """A torch device (``auto``: a GPU if available), number of GPUs or processes, and precision."""

    device: str = "cpu"
    n_devices: int = 1
    precision: Precision = "fp32"

    def options(self) -> dict[str, Any]:
        """Return the arguments of Lightning's trainer."""
        kind, _, number = self.device.partition(":")
        accelerator = {"cuda": "gpu"}.get(kind, kind)
        several = self.n_devices > 1
        return {
            "accelerator": accelerator,
            "devices": [int(number)] if number else self.n_devices,
            "strategy": "ddp_find_unused_parameters_true" if several else "auto",
            "sync_batchnorm": several and accelerator != "cpu",
            "precision": {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[
                self.precision
            ],
        }


@dataclass(frozen=True)
class Trained:
    """Weights after the best and the last epoch, learning curves, and notes for the user."""

    best: Mapping[str, torch.Tensor]
    final: Mapping[str, torch.Tensor]
    rows: list[Row]
    best_epoch: int
    notes: list[str] = field(default_factory=list)

    @property
    def best_row(self) -> Row:
        """Metrics of the best epoch."""
        return self.rows[self.best_epoch - 1]


@dataclass(frozen=True)
class HeldOut:
    """Metrics of the held-out test, by name, with intervals over groups."""

    estimates: Mapping[str, Estimate]
    n_images: int
    n_groups: int

    @property
    def details(self) -> Details:
        """Entries of the card's details."""
        values = {
            f"test_{name}": round(estimate.value, 6)
            for name, estimate in self.estimates.items()
            if estimate.value is not None
        }
        return {"n_test_images": self.n_images, "n_test_groups": self.n_groups, **values}


class TrainingTask:
    """Network, examples, inputs and losses of one kind of detector.

    Attributes:
        network: The network to train.
        train: Training examples.
        valid: Validation examples.
        test: Held-out test examples.
        settings: Settings besides ``TrainConfig`` that decide the outcome.
        n_loaders: Processes that prepare inputs; 0 prepares them in this one.
    """

    network: nn.Module
    train: Sequence[Example]
    valid: Sequence[Example]
    test: Sequence[Example] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    n_loaders: int = 0

    def check_folder(self, out: Path) -> None:
        """Raise ``RunError`` if the output folder contains foreign weights."""

    def check_data(self) -> Iterable[str]:
        """Return anomalies of the examples, as sentences without a full stop."""
        return check_examples(self.train, self.valid, self.test)

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.generic]:
        """Return a random input of a training example."""
        raise NotImplementedError

    def valid_input(self, at: int) -> NDArray[np.generic]:
        """Return the input of a validation example."""
        raise NotImplementedError

    def label(self, example: Example) -> int:
        """Return an additional label, by default the class."""
        return example.target

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for a batch; logits of the fake ``(n,)`` come first."""
        raise NotImplementedError

    def losses(
        self,
        outputs: tuple[torch.Tensor, ...],
        targets: torch.Tensor,
        labels: torch.Tensor,  # noqa: ARG002
    ) -> torch.Tensor:
        """Return losses ``(n,)``, by default binary cross entropies."""
        return nn.functional.binary_cross_entropy_with_logits(
            outputs[0].float(), targets.float(), reduction="none"
        )

    def frozen(self) -> Sequence[nn.Module]:
        """Return the modules that are frozen in the first epochs, by default none."""
        return ()

    def make_card(self, name: str, details: Details) -> DetectorCard:
        """Return the card of the trained detector, without hashes of its weights."""
        raise NotImplementedError

    def evaluate(
        self, trained: Trained, card: DetectorCard, out: Path, hardware: Hardware
    ) -> HeldOut | None:
        """Score the test examples and write the results; ``None`` without any."""

    def save(self, trained: Trained, card: DetectorCard, out: Path) -> DetectorCard:
        """Write the weights, then the card, and return the card with their SHA-256."""
        raise NotImplementedError


def training_items(train: Sequence[Example]) -> TrainingItems:
    """Return hashes of the training items, for the detection of exposure."""
    groups = {example.group for example in train}
    paths = {example.path for example in train}
    return TrainingItems(
        manifest_digest=fingerprint(train),
        n_items=len(train),
        item_sha256=tuple(sorted({sha256_of(path) for path in paths})),
        group_sha256=tuple(sorted(hashlib.sha256(g.encode()).hexdigest() for g in groups)),
    )


def list_origins(examples: Sequence[Example], default: str = OWN_AUDIO) -> tuple[str, ...]:
    """Return the datasets and splits that examples are from."""
    return tuple(sorted({example.origin or default for example in examples}))


def save_weights(state: Mapping[str, torch.Tensor], path: Path, card: DetectorCard) -> DetectorCard:
    """Write a state as safetensors and return the card with its SHA-256."""
    plain = {name: values.cpu().contiguous() for name, values in state.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata={"kind": card.kind})
    return card.model_copy(update={"weights_sha256": sha256_of(path)})
