"""Running a lesson through Lightning: checkpoints, resuming, running out of memory.

Conventions: a checkpoint is written after every epoch, ``last.ckpt`` for going on and ``best.ckpt``
for the best figure so far; both hold tensors and plain values and are read as such. Where memory
runs out, the batch is halved and gradients of several batches are added up, so that a step still
sees as many examples.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from earwitness.core.cards import Precision
from earwitness.core.errors import DetectorError
from earwitness.detectors.network import is_out_of_memory
from earwitness.training.curves import Curves, Row
from earwitness.training.module import LitModule, network_state
from earwitness.training.task import TrainConfig, TrainingTask

CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"

_PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_MODES = {"valid_loss": "min", "valid_auroc": "max"}


@dataclass(frozen=True)
class Hardware:
    """Where training runs.

    Attributes:
        device: As torch names it, or ``auto`` for a GPU where there is one.
        n_devices: GPUs (or processes of the CPU) that share the work.
        precision: What the network computes in; weights are always ``fp32``.
    """

    device: str = "cpu"
    n_devices: int = 1
    precision: Precision = "fp32"

    def options(self) -> dict[str, Any]:
        """Return what Lightning calls it."""
        kind, _, number = self.device.partition(":")
        accelerator = {"cuda": "gpu"}.get(kind, kind)
        devices: int | list[int] = [int(number)] if number else self.n_devices
        several = self.n_devices > 1
        return {
            "accelerator": accelerator,
            "devices": devices,
            "strategy": "ddp_find_unused_parameters_true" if several else "auto",
            "sync_batchnorm": several and accelerator != "cpu",
            "precision": _PRECISIONS[self.precision],
        }


@dataclass(frozen=True)
class Trained:
    """What came of training.

    Attributes:
        best: The network's state after the best epoch.
        final: The network's state after the last epoch.
        rows: Learning curves.
        best_epoch: From 1.
        remarks: What a user should know of how it went.
    """

    best: Mapping[str, torch.Tensor]
    final: Mapping[str, torch.Tensor]
    rows: list[Row]
    best_epoch: int
    remarks: list[str] = field(default_factory=list)

    @property
    def best_row(self) -> Row:
        """Figures of the best epoch."""
        return self.rows[self.best_epoch - 1]


@dataclass(frozen=True)
class Callbacks:
    """Who is told of how training goes, and asked whether it should.

    Attributes:
        told: Told of every epoch.
        advance: Called for every example of every epoch, see ``Curves``.
        should_stop: Asked before every batch.
    """

    told: Callable[[Row], None] | None = None
    advance: Callable[[bool], None] | None = None
    should_stop: Callable[[], bool] = lambda: False


def fit(
    lesson: TrainingTask,
    plan: TrainConfig,
    out: Path,
    *,
    hardware: Hardware | None = None,
    listeners: Callbacks | None = None,
) -> Trained:
    """Learn a lesson, or go on where a folder's last checkpoint is.

    Args:
        lesson: What is learned.
        plan: How.
        out: Folder for checkpoints and curves.
        hardware: Where; the CPU by default.
        listeners: Who is told.

    Raises:
        StoppedError: It was stopped; the same call goes on.
        DetectorError: Memory does not suffice for a single example.
    """
    start = copy.deepcopy(lesson.network.state_dict())
    remarks: list[str] = []
    n_at_once = plan.batch_size
    while True:
        try:
            return _fit(
                lesson,
                plan,
                out,
                n_at_once=n_at_once,
                hardware=hardware or Hardware(),
                listeners=listeners or Callbacks(),
                remarks=remarks,
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if n_at_once == 1:
                raise DetectorError("out of memory for a single example") from error
        n_at_once //= 2
        remarks[:] = [
            f"out of memory: went on with {n_at_once} examples at once, gradients added up to a "
            f"step of about {plan.batch_size}"
        ]
        lesson.network.load_state_dict(start)
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def _fit(
    lesson: TrainingTask,
    plan: TrainConfig,
    out: Path,
    *,
    n_at_once: int,
    hardware: Hardware,
    listeners: Callbacks,
    remarks: list[str],
) -> Trained:
    curves = Curves(
        out,
        told=listeners.told,
        n_examples=len(lesson.train),
        advance=listeners.advance,
        should_stop=listeners.should_stop,
    )
    mode = _MODES[plan.monitor]
    keeper = ModelCheckpoint(
        out / CHECKPOINTS,
        filename="best",
        monitor=plan.monitor,
        mode=mode,
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    stopper = _Stopper(
        plan.monitor, mode=mode, patience=plan.patience, check_on_train_epoch_end=True
    )
    learner = LitModule(lesson, plan, n_at_once)
    last = out / CHECKPOINTS / "last.ckpt"
    with _quiet_lightning():
        trainer = pl.Trainer(
            **hardware.options(),
            max_epochs=plan.epochs,
            callbacks=[curves, stopper, keeper],
            logger=TensorBoardLogger(out, name="", version=TENSORBOARD),
            gradient_clip_val=plan.clip_norm,
            accumulate_grad_batches=max(1, round(plan.batch_size / n_at_once)),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(learner, ckpt_path=last if last.is_file() else None, weights_only=True)
    best = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    final = {name: values.cpu() for name, values in lesson.network.state_dict().items()}
    return Trained(network_state(best), final, curves.rows, int(best["epoch"]) + 1, list(remarks))


class _Stopper(EarlyStopping):
    """Early stopping that a run which is picked up after it remembers."""

    def on_train_start(self, trainer: pl.Trainer, learner: pl.LightningModule) -> None:
        """Do not begin another epoch where an earlier run had stopped."""
        super().on_train_start(trainer, learner)
        trainer.should_stop = self.wait_count >= self.patience


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's log and its advice off the terminal: what matters is told elsewhere."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for module in ("pytorch_lightning", "lightning_fabric"):
                warnings.filterwarnings("ignore", module=module)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
