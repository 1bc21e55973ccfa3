"""Where networks run, and how exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from earwitness.core.cards import Precision
from earwitness.core.errors import DetectorError


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
