"""Choosing where networks run."""

from __future__ import annotations

import re
from collections.abc import Callable

from earwitness.core.errors import UsageError

_DEVICE = re.compile(r"^(auto|cpu|cuda|cuda:\d+|mps)$")


def choose_device(device: str, gpu: int | None, remark: Callable[[str], None]) -> str:
    """Return the device asked for, or the CPU where it is not there.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        gpu: The published ``--gpu``: N is ``cuda:N``, -1 is ``cpu``; overrides ``device``.
        remark: Told once when the CPU stands in for a device that is not there.

    Raises:
        UsageError: No such kind of device.
    """
    if gpu is not None:
        device = f"cuda:{gpu}" if gpu >= 0 else "cpu"
    if not _DEVICE.match(device):
        raise UsageError(f"--device {device}: expected auto, cpu, cuda, cuda:N or mps")
    if device in ("auto", "cpu"):
        return device
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    there = has_mps if device == "mps" else int(device.partition(":")[2] or 0) < n_cuda
    if not there:
        remark(f"{device} is not there ({n_cuda} CUDA devices found); running on the CPU")
    return device if there else "cpu"
