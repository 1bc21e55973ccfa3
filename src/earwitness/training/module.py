"""The Lightning module that trains any task.

Conventions: validation losses and metrics weigh both classes equally, whatever their numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from earwitness.metrics.measures import measure
from earwitness.training.sampling import EpochSampler, ValidSampler, rng_for
from earwitness.training.task import TrainConfig, TrainingTask

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_PLATEAU_FACTOR, _PLATEAU_PATIENCE = 0.2, 5


class Inputs(Dataset[tuple[Any, int, int]]):
    """Inputs by ``(epoch, item)``, each with its class and its label."""

    def __init__(self, task: TrainingTask, *, training: bool, seed: int) -> None:
        self._task = task
        self._training = training
        self._seed = seed
        self._examples = task.train if training else task.valid

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Any, int, int]:
        epoch, at = place
        example = self._examples[at]
        if self._training:
            drawn = self._task.train_input(at, rng_for(self._seed, epoch, at))
        else:
            drawn = self._task.valid_input(at)
        return drawn, example.target, self._task.label(example)


class LitModule(pl.LightningModule):
    """A task that is learned by a config.

    Args:
        task: What.
        config: How.
        n_at_once: Examples a batch.
    """

    def __init__(self, task: TrainingTask, config: TrainConfig, n_at_once: int) -> None:
        super().__init__()
        self._n_at_once = n_at_once
        self.network = task.network
        self._task = task
        self._config = config
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None
        self._seen: list[tuple[torch.Tensor, ...]] = []

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch; a short last one is left out where there are others."""
        inputs = Inputs(self._task, training=True, seed=self._config.seed)
        targets = [example.target for example in self._task.train]
        sampler = EpochSampler(targets, seed=self._config.seed, balanced=self._config.balanced)
        return self._batches(inputs, sampler, drop_last=len(sampler) > self._n_at_once)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the validation."""
        inputs = Inputs(self._task, training=False, seed=self._config.seed)
        return self._batches(inputs, ValidSampler(len(inputs)), drop_last=False)

    def _batches(self, inputs: Inputs, sampler: Any, *, drop_last: bool) -> DataLoader[Any]:
        return DataLoader(
            inputs,
            batch_size=self._n_at_once,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self._task.n_loaders,
            persistent_workers=self._task.n_loaders > 0,
        )

    def configure_optimizers(self) -> Any:
        """Return the optimizer, with a schedule by step where there is one."""
        config = self._config
        if config.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(
                self.network.parameters(), config.learning_rate
            )
        else:
            optimizer = torch.optim.AdamW(
                self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
            )
        if config.schedule == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=_PLATEAU_FACTOR, patience=_PLATEAU_PATIENCE
            )
            return optimizer
        n_steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine_share(step, n_steps, config.warm_up)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Hold still what is to stay as it was in the first epochs."""
        held = self.current_epoch < self._config.freeze_epochs
        for module in self._task.frozen():
            module.requires_grad_(not held)
            module.train(not held)

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:  # noqa: ARG002
        """Return the loss of a batch."""
        inputs, targets, labels = batch
        loss = self._task.losses(self._task.forward(inputs), targets, labels).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget what was seen in the last validation."""
        self._seen = []

    def validation_step(self, batch: Batch, number: int) -> None:  # noqa: ARG002
        """Keep what the network says of a batch."""
        inputs, targets, labels = batch
        outputs = self._task.forward(inputs)
        losses = self._task.losses(outputs, targets, labels)
        self._seen.append((targets, outputs[0].float(), losses.float()))

    def on_validation_epoch_end(self) -> None:
        """Tell the figures of the validation."""
        seen = [torch.cat(parts) for parts in zip(*self._seen, strict=True)]
        targets, logits, losses = (self._of_all(values).double().numpy() for values in seen)
        fakes = targets == 1
        right = (logits >= 0) == fakes
        self.log_dict(
            {
                "valid_loss": _mean_of_classes(losses, fakes),
                "valid_auroc": measure("auroc", targets.astype(np.int64), logits),
                "valid_balanced_accuracy": _mean_of_classes(right, fakes),
            }
        )

    def _of_all(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values of all processes, on the CPU."""
        if self.trainer.world_size == 1:
            return values.cpu()
        gathered: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(gathered, values.cpu())
        return torch.cat(gathered)

    def on_train_epoch_end(self) -> None:
        """Slow down where the loss does not fall."""
        if self._plateau is not None:
            self._plateau.step(float(self.trainer.callback_metrics["valid_loss"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how long the loss has not fallen."""
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up how long the loss had not fallen."""
        self._restored = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        """Go on with what was restored, once there is an optimizer."""
        if self._plateau is not None and self._restored:
            self._plateau.load_state_dict(self._restored)


def cosine_share(step: int, n_steps: int, warm_up: float) -> float:
    """Return which share of the largest learning rate a step takes."""
    n_rising = max(1, round(warm_up * n_steps))
    if step < n_rising:
        return (step + 1) / n_rising
    done = (step - n_rising) / max(1, n_steps - n_rising)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _mean_of_classes(values: Any, fakes: Any) -> float:
    parts = [float(np.mean(values[side])) for side in (fakes, ~fakes) if side.any()]
    return sum(parts) / len(parts)


def network_state(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the network's part of a checkpoint."""
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return {n.removeprefix("network."): v for n, v in state.items() if n.startswith("network.")}
