"""What one kind of detector learns from, and how: the part of training that differs between them.

Conventions: inputs are drawn by item and epoch and put together into batches; what is done to a
batch on its device is the lesson's, too. Losses come one an item, logits are of the fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.training.examples import Example

Monitor = Literal["valid_loss", "valid_auroc"]


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast to learn.

    Attributes:
        epochs: At most.
        patience: Epochs without a better figure after which training stops.
        monitor: The figure: the smallest loss or the largest AUROC.
        batch_size: Examples a step.
        optimizer: AdamW or Adam.
        learning_rate: The largest.
        weight_decay: Of AdamW.
        schedule: ``cosine`` rises over the first steps and falls to nothing at the last;
            ``plateau`` falls to a fifth where the loss does not.
        warm_up: Share of the steps over which ``cosine`` rises.
        freeze_epochs: Epochs in which all but the new layers stays as it was.
        clip_norm: Gradients are shortened to this; ``None`` leaves them.
        balanced: Draw as many of either class.
        seed: Of every draw.
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


class TrainingTask(Protocol):
    """What is learned."""

    @property
    def network(self) -> nn.Module:
        """What learns; everything that is kept of it is in its state."""
        ...

    @property
    def train(self) -> Sequence[Example]:
        """Examples to learn from."""
        ...

    @property
    def valid(self) -> Sequence[Example]:
        """Examples to tell how far it has come."""
        ...

    @property
    def n_loaders(self) -> int:
        """Processes that make inputs ready; 0 makes them in this one."""
        ...

    def train_input(self, at: int, rng: np.random.Generator) -> NDArray[np.generic]:
        """Return a drawn input of an example."""
        ...

    def valid_input(self, at: int) -> NDArray[np.generic]:
        """Return the input of an example of the validation."""
        ...

    def label(self, example: Example) -> int:
        """Return what else is learned of an example beside its class, as a number."""
        ...

    def judge(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the network's outputs for a batch; logits of the fake ``(n,)`` come first."""
        ...

    def losses(
        self, outputs: tuple[torch.Tensor, ...], targets: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Return losses ``(n,)``."""
        ...

    def frozen(self) -> Sequence[nn.Module]:
        """Return what stays as it was in the first epochs."""
        ...
