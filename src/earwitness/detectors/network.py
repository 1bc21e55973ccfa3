"""PyTorch network detectors: device, precision, backend (PyTorch or ONNX Runtime) and batches.

Features are always computed in float32. On a CPU the batch size is 1: matrix products of other
shapes round differently, and a score must not depend on the other clips of a batch.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import nn

from earwitness.audio.clips import Clip
from earwitness.core.cards import Backend, DetectorCard, Precision
from earwitness.core.errors import DetectorError
from earwitness.detectors.base import Scores, mean_channel, mix_checked

if TYPE_CHECKING:
    import onnxruntime

LARGEST_GAP = 1e-4
"""Tolerance between ONNX Runtime and PyTorch, relative to the largest output if that is over 1."""

Outputs = tuple[torch.Tensor, ...]
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_N_ROWS = 2  # a batch of one would be exported with a fixed batch size


class OnnxNetwork:
    """A network converted to ONNX in memory, and checked against PyTorch on an example batch.

    Raises:
        DetectorError: Packages are not installed, or the outputs differ from PyTorch's.
    """

    def __init__(self, network: nn.Module, example: torch.Tensor) -> None:
        check_installed("backend onnxruntime")
        self._session = open_session(export_onnx(network, example))
        with torch.inference_mode():
            expected = network(example)
        for ours, theirs in zip(self(example), expected, strict=True):
            gap = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))
            if not gap <= LARGEST_GAP:
                raise DetectorError(
                    f"backend onnxruntime: outputs differ from PyTorch's by {gap:.2g}, expected "
                    f"at most {LARGEST_GAP:g}"
                )

    def __call__(self, features: torch.Tensor) -> Outputs:
        """Return the outputs, ``n`` rows each."""
        fed = {self._session.get_inputs()[0].name: features.numpy()}
        return tuple(torch.from_numpy(rows) for rows in self._session.run(None, fed))


def check_installed(wanted_by: str) -> None:
    """Require the ONNX packages, else raise ``DetectorError``."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DetectorError(
            f"{wanted_by}: {', '.join(missing)} not installed, expected "
            "pip install 'earwitness[onnx]'"
        )


def export_onnx(
    network: nn.Module, features: torch.Tensor, outputs: Sequence[str] | None = None
) -> bytes:
    """Return the ONNX model of a network in evaluation mode, with a dynamic batch size.

    Args:
        network: In evaluation mode.
        features: An example batch; the model's input is named ``features``.
        outputs: Names of the outputs.
    """
    rows = features[:1].repeat(_N_ROWS, *[1] * (features.ndim - 1)).clone()
    registering = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registering.level
    registering.setLevel(logging.ERROR)  # it warns that torchvision is not installed
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # deprecations within the exporter
            program = torch.onnx.export(
                network,
                (rows,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("n")},),
                input_names=["features"],
                output_names=list(outputs) if outputs else None,
                verbose=False,
            )
    finally:
        registering.setLevel(level)
    assert program is not None  # noqa: S101 - never with dynamo
    model: bytes = program.model_proto.SerializeToString()
    return model


def choose_network(
    network: nn.Module,
    features: Callable[[torch.Tensor], torch.Tensor],
    *,
    n_samples: int,
    backend: Backend,
    device: torch.device,
    precision: Precision,
) -> nn.Module | OnnxNetwork:
    """Return the network, converted for ONNX Runtime if that is the backend.

    Raises:
        DetectorError: ONNX Runtime is not installed, or does not support device or precision.
    """
    if backend == "torch":
        return network
    if device.type != "cpu" or precision != "fp32":
        raise DetectorError(f"backend onnxruntime: {device} in {precision}, expected cpu in fp32")
    noise = torch.rand(_N_ROWS, n_samples, generator=torch.Generator().manual_seed(0)) - 0.5
    return OnnxNetwork(network, features(noise))


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU, single-threaded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # score() is called from several threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class NetworkRunner:
    """Runs a network over clips in batches, halved when a GPU runs out of memory.

    Args:
        features: Maps ``(n, n_samples)`` float32 on the device to the network's input.
        network: Maps features to tensors of ``n`` rows.
        device: The device.
        precision: Precision of the network.
        batch_size: Maximum batch size.
        one_by_one: Run every clip through the network alone.
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
        """Return the network's outputs ``(n_clips, …)`` float64 of one or more clips of one length.

        Raises:
            DetectorError: Out of memory for a single clip.
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
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self._precision]
        with torch.autocast(self._device.type, dtype):
            return tuple(output.float() for output in self._network(features))

    def _compare(self, exact: torch.Tensor, reduced: torch.Tensor) -> None:
        """Record how far reduced precision moves the logits of the first batch."""
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
            f"out of memory on {self._device}: batch size reduced to {self.batch_size}"
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out; only CUDA has its own error type."""
    text = str(error)
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory")
    )


@dataclass(frozen=True, eq=False)
class Graph:
    """A network with its features.

    Attributes:
        network: Maps features ``(n, …)`` to a tuple of outputs.
        features: Maps mono samples ``(n, n_samples)`` float32 at the contract's rate to features.
        outputs: Names of the outputs.
        about: The features in a sentence.
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
    """A network and the function that maps it and its features to the detector's outputs."""

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
        """Score clips that meet the card's contract; any other raises ``DetectorError``."""
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
    """Return an available device by torch's name ("cpu", "cuda:0"); ``auto`` prefers a GPU.

    Raises:
        DetectorError: No such device.
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
    """Return ``bf16`` if the device, named or ``auto``, supports it natively, else ``fp32``."""
    if name.startswith("cuda") or (name == "auto" and torch.cuda.is_available()):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    on_cpu = name == "cpu" or (name == "auto" and not torch.backends.mps.is_available())
    supports = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if on_cpu and supports() else "fp32"


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Run a GPU's convolutions in float32, deterministically."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
