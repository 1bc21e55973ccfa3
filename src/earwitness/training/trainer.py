"""Fitting a task with Lightning: checkpoints, resuming, running out of memory.

Conventions: after every epoch ``last.ckpt`` is written for resuming and ``best.ckpt`` for the best
epoch so far; both are loaded with ``weights_only``. When memory runs out, the batch is halved and
gradients are accumulated. Validation losses and metrics weight both classes equally.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

from earwitness.core.errors import DetectorError
from earwitness.detectors.network import is_out_of_memory
from earwitness.metrics.measures import measure
from earwitness.training.curves import Callbacks, Curves
from earwitness.training.sampling import EpochSampler, ValidSampler, rng_for
from earwitness.training.task import Hardware, TrainConfig, Trained, TrainingTask

CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"


def fit(
    task: TrainingTask,
    config: TrainConfig,
    out: Path,
    *,
    hardware: Hardware | None = None,
    callbacks: Callbacks | None = None,
) -> Trained:
    """Fit a task, or resume from the folder's last checkpoint.

    Raises:
        StoppedError: ``callbacks.should_stop`` returned true; the same call resumes.
        DetectorError: Out of memory for a single example.
    """
    start = copy.deepcopy(task.network.state_dict())
    batch_size = config.batch_size
    hardware, callbacks = hardware or Hardware(), callbacks or Callbacks()
    while True:
        try:
            return _fit(task, config, out, batch_size, hardware=hardware, callbacks=callbacks)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if batch_size == 1:
                raise DetectorError("out of memory for a single example") from error
        batch_size //= 2
        task.network.load_state_dict(start)
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def _fit(
    task: TrainingTask,
    config: TrainConfig,
    out: Path,
    batch_size: int,
    *,
    hardware: Hardware,
    callbacks: Callbacks,
) -> Trained:
    """Fit with batches of ``batch_size``, accumulated to about ``config.batch_size``."""
    curves = Curves(out, callbacks, n_examples=len(task.train))
    mode = {"valid_loss": "min", "valid_auroc": "max"}[config.monitor]
    checkpoint = ModelCheckpoint(
        out / CHECKPOINTS,
        filename="best",
        monitor=config.monitor,
        mode=mode,
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    stopping = _EarlyStopping(
        config.monitor, mode=mode, patience=config.patience, check_on_train_epoch_end=True
    )
    last = out / CHECKPOINTS / "last.ckpt"
    with _quiet_lightning():
        trainer = pl.Trainer(
            **hardware.options(),
            max_epochs=config.epochs,
            callbacks=[curves, stopping, checkpoint],
            logger=TensorBoardLogger(out, name="", version=TENSORBOARD),
            gradient_clip_val=config.clip_norm,
            accumulate_grad_batches=max(1, round(config.batch_size / batch_size)),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = LitModule(task, config, batch_size)
        trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
    best = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True)
    prefix = "network."
    weights = best["state_dict"].items()
    state = {n.removeprefix(prefix): values for n, values in weights if n.startswith(prefix)}
    final = {name: values.cpu() for name, values in task.network.state_dict().items()}
    note = (
        f"out of memory: the batch size is {batch_size}, with gradients accumulated to steps of "
        f"about {config.batch_size}"
    )
    notes = [note] if batch_size < config.batch_size else []
    return Trained(state, final, curves.rows, int(best["epoch"]) + 1, notes)


class _EarlyStopping(EarlyStopping):
    """Early stopping whose decision survives resuming."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Do not start another epoch if an earlier run had stopped."""
        super().on_train_start(trainer, module)
        trainer.should_stop = self.wait_count >= self.patience


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's log and warnings off the terminal."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for logger in loggers:
                warnings.filterwarnings("ignore", module=logger.name)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Inputs, targets and labels."""


class _Inputs(Dataset[tuple[Any, int, int]]):
    """Input, target and label by ``(epoch, item)``."""

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
    """A task as a Lightning module."""

    def __init__(self, task: TrainingTask, config: TrainConfig, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self.network = task.network
        self._task = task
        self._config = config
        self._plateau: lr_scheduler.ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None
        self._outputs: list[tuple[torch.Tensor, ...]] = []

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch; a short last one is dropped unless it is the only one."""
        inputs = _Inputs(self._task, training=True, seed=self._config.seed)
        targets = [example.target for example in self._task.train]
        sampler = EpochSampler(targets, seed=self._config.seed, balanced=self._config.balanced)
        return self._batches(inputs, sampler, drop_last=len(sampler) > self._batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the validation."""
        inputs = _Inputs(self._task, training=False, seed=self._config.seed)
        return self._batches(inputs, ValidSampler(len(inputs)), drop_last=False)

    def _batches(self, inputs: _Inputs, sampler: Any, *, drop_last: bool) -> DataLoader[Any]:
        return DataLoader(
            inputs,
            batch_size=self._batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self._task.n_loaders,
            persistent_workers=self._task.n_loaders > 0,
        )

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule."""
        config, weights = self._config, self.network.parameters()
        optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(weights, config.learning_rate)
            if config.optimizer == "adam"
            else torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
        )
        if config.schedule == "plateau":  # stepped here: Lightning's own loses an epoch on resume
            self._plateau = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=5)
            return optimizer
        n_steps = int(self.trainer.estimated_stepping_batches)
        schedule = lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine_share(step, n_steps, config.warm_up)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Freeze modules in the first epochs."""
        is_frozen = self.current_epoch < self._config.freeze_epochs
        for module in self._task.frozen():
            module.requires_grad_(not is_frozen)
            module.train(not is_frozen)

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:  # noqa: ARG002
        """Return the loss of a batch."""
        inputs, targets, labels = batch
        loss = self._task.losses(self._task.forward(inputs), targets, labels).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:  # noqa: ARG002
        """Store targets, logits and losses of a batch."""
        inputs, targets, labels = batch
        outputs = self._task.forward(inputs)
        losses = self._task.losses(outputs, targets, labels)
        self._outputs.append((targets, outputs[0].float(), losses.float()))

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation."""
        stored = [torch.cat(parts) for parts in zip(*self._outputs, strict=True)]
        self._outputs = []
        targets, logits, losses = (self._gather(values).double().numpy() for values in stored)
        fakes = targets == 1
        right = (logits >= 0) == fakes
        self.log_dict(
            {
                "valid_loss": _mean_of_classes(losses, fakes),
                "valid_auroc": measure("auroc", targets.astype(np.int64), logits),
                "valid_balanced_accuracy": _mean_of_classes(right, fakes),
            }
        )

    def _gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values of all processes, on the CPU."""
        if self.trainer.world_size == 1:
            return values.cpu()
        gathered: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(gathered, values.cpu())
        return torch.cat(gathered)

    def on_train_epoch_end(self) -> None:
        """Step the plateau schedule."""
        if self._plateau is not None:
            self._plateau.step(float(self.trainer.callback_metrics["valid_loss"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the state of the plateau schedule."""
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the state of the plateau schedule."""
        self._restored = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        """Restore the plateau schedule; it does not exist before."""
        if self._plateau is not None and self._restored:
            self._plateau.load_state_dict(self._restored)


def cosine_share(step: int, n_steps: int, warm_up: float) -> float:
    """Return the learning rate of a step as a share of the peak."""
    n_rising = max(1, round(warm_up * n_steps))
    if step < n_rising:
        return (step + 1) / n_rising
    done = (step - n_rising) / max(1, n_steps - n_rising)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _mean_of_classes(values: Any, fakes: Any) -> float:
    parts = [float(np.mean(values[rows])) for rows in (fakes, ~fakes) if rows.any()]
    return sum(parts) / len(parts)
