"""Running a network over clips: in batches that fit, in the precision that was asked for.

Conventions: features are always computed in float32, outside of any reduced precision. On a CPU
every clip goes through the network alone, so that its score is the same to the last bit whatever
clips come with it: matrix products of other shapes, or other rows of one, round differently. On a
GPU batches are large, and halved when memory runs out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.cards import Precision
from earwitness.core.errors import DetectorError

Outputs = tuple[torch.Tensor, ...]

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


class Judge(nn.Module):
    """A network, and what is made of it for a graph.

    Args:
        network: The network.
        judge: Of the network and features, a tuple of outputs.
    """

    def __init__(
        self,
        network: nn.Module,
        judge: Callable[[Any, torch.Tensor], tuple[torch.Tensor, ...]],
    ) -> None:
        super().__init__()
        self.network = network
        self._judge = judge

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs."""
        return self._judge(self.network, features)


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
