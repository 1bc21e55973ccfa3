"""Fitting a task with Lightning: checkpoints, resuming, running out of memory.

Conventions: after every epoch ``last.ckpt`` is written for resuming and ``best.ckpt`` for the best
epoch so far; both are loaded with ``weights_only``. When memory runs out, the batch is halved and
gradients are accumulated, so that a step still sees as many examples.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from earwitness.core.errors import DetectorError
from earwitness.detectors.network import is_out_of_memory
from earwitness.training.curves import Curves, Row
from earwitness.training.module import LitModule, network_state
from earwitness.training.task import Hardware, TrainConfig, Trained, TrainingTask

CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"

_MODES = {"valid_loss": "min", "valid_auroc": "max"}


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called on progress.

    Attributes:
        on_epoch: Called with the metrics of every epoch.
        advance: Called for every example of every epoch, see ``Curves``.
        should_stop: Called before every batch.
    """

    on_epoch: Callable[[Row], None] | None = None
    advance: Callable[[bool], None] | None = None
    should_stop: Callable[[], bool] = lambda: False


def fit(
    task: TrainingTask,
    config: TrainConfig,
    out: Path,
    *,
    hardware: Hardware | None = None,
    callbacks: Callbacks | None = None,
) -> Trained:
    """Fit a task, or resume from the folder's last checkpoint.

    Args:
        task: What is learned.
        config: Hyperparameters.
        out: Folder for checkpoints and curves.
        hardware: Device and precision; the CPU by default.
        callbacks: Called on progress.

    Raises:
        StoppedError: It was stopped; the same call resumes it.
        DetectorError: Out of memory for a single example.
    """
    start = copy.deepcopy(task.network.state_dict())
    remarks: list[str] = []
    n_at_once = config.batch_size
    while True:
        try:
            return _fit(
                task,
                config,
                out,
                n_at_once=n_at_once,
                hardware=hardware or Hardware(),
                callbacks=callbacks or Callbacks(),
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
            f"step of about {config.batch_size}"
        ]
        task.network.load_state_dict(start)
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def _fit(
    task: TrainingTask,
    config: TrainConfig,
    out: Path,
    *,
    n_at_once: int,
    hardware: Hardware,
    callbacks: Callbacks,
    remarks: list[str],
) -> Trained:
    curves = Curves(
        out,
        on_epoch=callbacks.on_epoch,
        n_examples=len(task.train),
        advance=callbacks.advance,
        should_stop=callbacks.should_stop,
    )
    mode = _MODES[config.monitor]
    keeper = ModelCheckpoint(
        out / CHECKPOINTS,
        filename="best",
        monitor=config.monitor,
        mode=mode,
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    stopper = _Stopper(
        config.monitor, mode=mode, patience=config.patience, check_on_train_epoch_end=True
    )
    module = LitModule(task, config, n_at_once)
    last = out / CHECKPOINTS / "last.ckpt"
    with _quiet_lightning():
        trainer = pl.Trainer(
            **hardware.options(),
            max_epochs=config.epochs,
            callbacks=[curves, stopper, keeper],
            logger=TensorBoardLogger(out, name="", version=TENSORBOARD),
            gradient_clip_val=config.clip_norm,
            accumulate_grad_batches=max(1, round(config.batch_size / n_at_once)),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
    best = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    final = {name: values.cpu() for name, values in task.network.state_dict().items()}
    return Trained(network_state(best), final, curves.rows, int(best["epoch"]) + 1, list(remarks))


class _Stopper(EarlyStopping):
    """Early stopping whose decision survives resuming."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Do not start another epoch after an earlier run had stopped."""
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
            for name in ("pytorch_lightning", "lightning_fabric"):
                warnings.filterwarnings("ignore", module=name)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
