"""Fitting SpecCNN as Deezer did: a real/fake head and an encoder head, on random slices of sound.

Conventions: the losses of the two heads weigh 1.0 and 0.2; a slice of 0.78 s is drawn anywhere in a
file, its two channels mixed at random and its level lowered by up to a half. Validation hears the
slice in the middle, as scoring does. The encoder of a fake is its ``generator``.

Source: Afchar et al. 2024; github.com/deezer/deepfake-detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.audio.clips import mix_first_two
from earwitness.core.cards import DetectorCard
from earwitness.detectors.base import WEIGHTS_FILE, write_card
from earwitness.detectors.nets.specnn import SpecCNN, amplitude_features
from earwitness.detectors.specnn import CONTRACT, specnn_card
from earwitness.scoring.options import Resume
from earwitness.training import run
from earwitness.training.crops import draw_crop, read_crop
from earwitness.training.data_checks import look_at_examples
from earwitness.training.examples import Example, check_sides
from earwitness.training.task import TrainConfig
from earwitness.training.trainer import Callbacks, Hardware, Trained, fit

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
"""What the published recipe says of a plan."""


class SpecnnLesson:
    """A SpecCNN and files of audio.

    Args:
        network: What learns.
        train: Files to learn from.
        valid: Files to tell how far it has come.
        encoders: Classes of the encoder head, ``real`` first.
        n_loaders: Processes that read slices; 0 reads in this one.
    """

    def __init__(
        self,
        network: SpecCNN,
        train: Sequence[Example],
        valid: Sequence[Example],
        *,
        encoders: Sequence[str],
        n_loaders: int = 0,
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train = train
        self.valid = valid
        self.n_loaders = n_loaders
        self._numbers = {name: number for number, name in enumerate(encoders)}

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

    def judge(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
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

    def frozen(self) -> Sequence[nn.Module]:
        """Return nothing: all of it learns from the start."""
        return ()


def train_specnn(
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
    """Fit a SpecCNN, or go on where an earlier call stopped.

    Args:
        train: Files to learn from, readable ones.
        valid: Files to tell how far it has come.
        out: Folder for what is written; its name is the detector's.
        plan: How; ``PUBLISHED`` is what the published recipe says.
        n_loaders: Processes that read slices.
        resume: What happens to a training that the folder holds.
        hardware: Where; the CPU by default.
        listeners: Who is told.
        remark: Told what may keep the network from learning, before it begins.

    Raises:
        DatasetError: A class is missing on either side.
        RunError: The folder holds another training, or a finished one.
        StoppedError: It was stopped; the same call goes on.
    """
    check_sides(train, valid)
    names = sorted({one.generator or _UNNAMED for one in train if one.target == 1})
    encoders = ("real", *names)
    settings = {"detector": "specnn_amplitude", **asdict(plan)}
    run.begin(out, train, valid, settings, resume=resume)
    for line in look_at_examples(train, valid):
        remark(line)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = SpecCNN(len(encoders))
    lesson = SpecnnLesson(network, train, valid, encoders=encoders, n_loaders=n_loaders)
    trained = fit(lesson, plan, out, hardware=hardware, listeners=listeners)
    told = _about(train, valid, trained, settings) | {"encoders": encoders}
    card = specnn_card(out.resolve().name, len(encoders), None).model_copy(update=told)
    sha256 = run.save_state(trained.best, out / WEIGHTS_FILE, card)
    card = card.model_copy(update={"weights_sha256": sha256})
    run.draw(trained, out, title=card.name)
    write_card(card, out)
    run.drop_checkpoints(out)
    return card, trained


def _about(
    train: Sequence[Example],
    valid: Sequence[Example],
    trained: Trained,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return what the card of a network trained here says otherwise than the published one's."""
    return {
        "trained_on": run.origins(train, "audio of one's own"),
        "selected_on": run.origins(valid, "audio of one's own"),
        "training_items": run.training_items(train),
        "licence": "the weights are their trainer's; the method's code is CC-BY-NC-4.0",
        "weights_from": "trained by you: earwitness train --detector specnn_amplitude",
        "details": run.figures_of(trained, settings),
    }
