"""Detectors that are PyTorch networks: device, precision, backend and batches.

Conventions: features are always computed in float32. On a CPU every clip is a batch of its own, so
that its score is the same to the last bit whatever clips come with it: matrix products of other
shapes round differently. On a GPU batches are large, and halved when memory runs out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import nn

from earwitness.audio.clips import Clip
from earwitness.core.cards import Backend, DetectorCard, Precision
from earwitness.core.errors import DetectorError
from earwitness.detectors.base import Scores, mean_channel, mix_checked
from earwitness.detectors.onnx import Outputs, choose_network

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NetworkRunner:
    """A network, the features it wants, and where and how it runs.

    Args:
        features: Of ``(n, n_samples)`` float32 on the device, what the network takes.
        network: Of features, tensors of ``n`` rows each.
        device: Where it runs.
        precision: What the network computes in.
        batch_size: Clips at once.
        one_by_one: Send every clip through the network alone, whatever the batch size.

    Attributes:
        batch_size: Clips at once; smaller after memory ran out.
        remarks: What a user should know of how it went.
    """

    def __init__(
        self,
        features: Callable[[torch.Tensor], torch.Tensor],
        network: Callable[[torch.Tensor], Outputs],
        *,
        device: torch.device,
        precision: Precision,
        batch_size: int,
        one_by_one: bool = False,
    ) -> None:
        self._features = features
        self._network = network
        self._device = device
        self._precision = precision
        self.batch_size = batch_size
        self._most_clips = 1 if one_by_one else batch_size
        self.remarks: list[str] = []
        self._compared = precision == "fp32"

    def run(self, samples: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
        """Return the network's outputs for clips, ``(n_clips, …)`` float64 each.

        Args:
            samples: At least one clip, all of one length, ``(n_samples,)`` float32.

        Raises:
            DetectorError: Memory does not suffice for a single clip.
        """
        parts: list[Outputs] = []
        done = 0
        while done < len(samples):
            some = samples[done : done + min(self.batch_size, self._most_clips)]
            try:
                parts.append(self._run_few(some))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(some))
                continue
            done += len(some)
        return [torch.cat(rows).numpy() for rows in zip(*parts, strict=True)]

    def _run_few(self, samples: Sequence[NDArray[np.float32]]) -> Outputs:
        batch = np.stack(samples)
        with torch.inference_mode(), full_precision():
            features = self._features(torch.from_numpy(batch).to(self._device))
            outputs = self._reduced(features)
            if not self._compared:
                self._compared = True
                self._compare(self._network(features)[0], outputs[0])
        return tuple(output.cpu().double() for output in outputs)

    def _reduced(self, features: torch.Tensor) -> Outputs:
        if self._precision == "fp32":
            return self._network(features)
        with torch.autocast(self._device.type, _DTYPES[self._precision]):
            return tuple(output.float() for output in self._network(features))

    def _compare(self, exact: torch.Tensor, reduced: torch.Tensor) -> None:
        """Say by how much reduced precision moves the logits, from the first clips."""
        gap = float((exact - reduced).abs().max())
        n = "the first clip" if len(exact) == 1 else f"the first {len(exact)} clips"
        batches = "; they may depend on batch size by as much" if self._most_clips > 1 else ""
        self.remarks.append(
            f"{self._precision}: on {n} logits differ from fp32 by up to {gap:.2g}{batches}"
        )

    def _halve(self, n_clips: int) -> None:
        if n_clips == 1:
            raise DetectorError(f"out of memory on {self._device} for a single clip")
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
        self.batch_size = max(1, n_clips // 2)
        self.remarks = [r for r in self.remarks if not r.startswith("out of memory")]
        self.remarks.append(
            f"out of memory on {self._device}: went on with batches of {self.batch_size}"
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell a lack of memory from other errors: only CUDA's has a type of its own."""
    text = str(error)
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory")
    )


@dataclass(frozen=True, eq=False)
class Graph:
    """A network and what goes in and comes out.

    Attributes:
        network: Of features ``(n, …)``, a tuple of outputs.
        features: Of samples ``(n, n_samples)`` float32 as the detector's contract has them (mono,
            at its rate), what goes in.
        outputs: Names of what comes out.
        about: What the features are, in a sentence.
    """

    network: nn.Module
    features: Callable[[torch.Tensor], torch.Tensor]
    outputs: tuple[str, ...]
    about: str


@runtime_checkable
class HasGraph(Protocol):
    """A detector with a network."""

    def graph(self) -> Graph:
        """Return its network as a graph."""
        ...


class ScoringModule(nn.Module):
    """A network followed by what turns its outputs into a detector's.

    Args:
        network: The network.
        score: Maps the network and its features to a tuple of outputs.
    """

    def __init__(self, network: nn.Module, score: Callable[[Any, torch.Tensor], Outputs]) -> None:
        super().__init__()
        self.network = network
        self._score = score

    def forward(self, features: torch.Tensor) -> Outputs:
        """Return the outputs."""
        return self._score(self.network, features)


class NetworkDetector:
    """A network that scores clips of a fixed length.

    Args:
        network: Maps features to the logits of fake ``(n,)`` and, where the card names encoders,
            their logits ``(n, n_encoders)``.
        card: Its card.
        features: Maps samples ``(n, n_samples)`` float32 on the device to the network's input.
        about: The features in a sentence.
        mix: Maps the channels of a clip to mono.
        device: Torch's name of its device ("cpu", "cuda:0").
        backend: What computes the network.
        batch_sizes: Clips in a batch on a CPU and on a GPU.

    Raises:
        DetectorError: There is no such device, or the backend cannot run it.
    """

    def __init__(
        self,
        network: nn.Module,
        card: DetectorCard,
        *,
        features: Callable[[torch.Tensor], torch.Tensor],
        about: str,
        mix: Callable[[NDArray[np.float32]], NDArray[np.floating]] = mean_channel,
        device: str = "cpu",
        backend: Backend = "torch",
        batch_sizes: tuple[int, int] = (8, 256),
    ) -> None:
        self.card = card
        self.backend = backend
        self._device = open_device(device)
        self.device = str(self._device)
        outputs = ("fake_logit", "encoder_logits") if card.encoders else ("fake_logit",)
        self._graph = Graph(network.eval().to(self._device), features, outputs, about)
        self._mix = mix
        self._batch_size = batch_sizes[self._device.type != "cpu"]
        self._network = choose_network(
            self._graph.network,
            features,
            n_samples=card.contract.clip_samples or 0,
            backend=backend,
            device=self._device,
            precision=card.precision,
        )
        self._runner = self._make_runner(features)

    def _make_runner(self, features: Callable[[torch.Tensor], torch.Tensor]) -> NetworkRunner:
        return NetworkRunner(
            features,
            self._network,
            device=self._device,
            precision=self.card.precision,
            batch_size=self._batch_size,
            one_by_one=self._device.type == "cpu",
        )

    @property
    def batch_size(self) -> int:
        """Preferred batch size."""
        return self._runner.batch_size

    @property
    def remarks(self) -> Sequence[str]:
        """Notes for the user on how scoring went."""
        return self._runner.remarks

    def graph(self) -> Graph:
        """Return the network as a graph."""
        return self._graph

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips that meet the card's contract.

        Raises:
            DetectorError: A clip has another rate or length, no channel, or samples that are not
                finite.
        """
        samples = [self._mono_samples(clip, at) for at, clip in enumerate(clips)]
        n_encoders = len(self.card.encoders)
        if not samples:
            return Scores(np.empty(0), np.empty((0, n_encoders)) if n_encoders else None)
        logits, *encoders = self._runner.run(samples)
        return Scores(logits, special.softmax(encoders[0], axis=1) if encoders else None)

    def _mono_samples(self, clip: Clip, at: int) -> NDArray[np.float32]:
        """Return ``(clip_samples,)`` of a clip that meets the contract."""
        return mix_checked(clip, at, self.card, self._mix).astype(np.float32, copy=False)


def open_device(name: str) -> torch.device:
    """Return a device that tensors can be put on.

    Args:
        name: As torch names it ("cpu", "cuda:0"), or ``auto`` for a GPU where there is one.

    Raises:
        DetectorError: There is no such device here.
    """
    if name == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else mps
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DetectorError(f"device {name!r}: {reason}; expected cpu or a GPU here") from None


def native_precision(name: str) -> Precision:
    """Return ``bf16`` where a device multiplies such numbers natively, else ``fp32``.

    Args:
        name: As torch names it, or ``auto``.
    """
    if name.startswith("cuda") or (name == "auto" and torch.cuda.is_available()):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    on_cpu = name == "cpu" or (name == "auto" and not torch.backends.mps.is_available())
    supports = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if on_cpu and supports() else "fp32"


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Keep a GPU's convolutions in float32, and the same from run to run."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
