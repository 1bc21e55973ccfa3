"""Networks through ONNX Runtime in place of PyTorch: faster on a CPU, the same numbers.

Convention: a network is converted in memory when its detector is opened, and checked; nothing is
written to disk.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from earwitness.core.cards import Backend, Precision
from earwitness.core.errors import DetectorError

if TYPE_CHECKING:
    import onnxruntime

LARGEST_GAP = 1e-4
"""By how much an output may differ from PyTorch's, relative to the largest where that is over 1."""

Outputs = tuple[torch.Tensor, ...]
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_N_ROWS = 2  # a batch of one would be taken for a network of batches of one


class OnnxNetwork:
    """A network that ONNX Runtime computes, on one thread for each caller.

    Args:
        network: Of a tensor of ``n`` rows, a tuple of tensors of ``n`` rows.
        example: A row that it may meet, or more; the conversion is checked on it.

    Raises:
        DetectorError: The packages that it takes are not installed, or ONNX Runtime's numbers
            are not PyTorch's.
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
        """Return what the network returns."""
        fed = {self._session.get_inputs()[0].name: features.numpy()}
        return tuple(torch.from_numpy(rows) for rows in self._session.run(None, fed))


def check_installed(wanted_by: str) -> None:
    """Check that what writes and runs graphs is installed.

    Raises:
        DetectorError: It is not.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise DetectorError(
            f"{wanted_by}: {', '.join(missing)} not installed, expected "
            "pip install 'earwitness[onnx]'"
        )


def export_onnx(
    network: nn.Module, features: torch.Tensor, outputs: Sequence[str] | None = None
) -> bytes:
    """Return a network as an ONNX model with any number of rows, whose input is ``features``.

    Args:
        network: In evaluation mode.
        features: A row of what it takes, or more.
        outputs: Names of what it returns.
    """
    rows = features[:1].repeat(_N_ROWS, *[1] * (features.ndim - 1)).clone()
    registering = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registering.level
    registering.setLevel(logging.ERROR)  # it tells of operators of torchvision, which is not here
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter about itself
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
    assert program is not None  # noqa: S101 - with dynamo it always is there
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
    """Return what computes a network.

    Args:
        network: The network, on its device.
        features: Of ``(n, n_samples)`` float32, what the network takes.
        n_samples: Length of a clip.
        backend: ``torch`` or ``onnxruntime``.
        device: Where it is to run.
        precision: What it is to compute in.

    Raises:
        DetectorError: ONNX Runtime was asked for and cannot do it.
    """
    if backend == "torch":
        return network
    if device.type != "cpu" or precision != "fp32":
        raise DetectorError(
            f"backend onnxruntime: {device} in {precision}, expected cpu in fp32: it is for "
            "processors"
        )
    noise = torch.rand(_N_ROWS, n_samples, generator=torch.Generator().manual_seed(0)) - 0.5
    return OnnxNetwork(network, features(noise))


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Return what runs a model on the CPU, on one thread for each caller."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several threads ask at a time
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
