"""Networks' states on disk: safetensors, or PyTorch files read without running code.

Conventions: a state fits its network name by name and shape by shape, or it is refused with every
name that does not; nothing is left at its random start.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from earwitness.core.errors import WeightsError
from earwitness.detectors.placeholders import load_tensors
from earwitness.detectors.safeheader import check_header
from earwitness.detectors.torchfile import check_file, check_tensors

_N_NAMED = 8


def load_state(network: nn.Module, path: Path) -> None:
    """Fill a network, buffers and all, with a state from disk.

    Raises:
        WeightsError: The file cannot be read, holds code, or does not fit: missing, unexpected
            and misshapen names are all told in one line.
    """
    fill(network, read_state(path), path, expected="the network of its config.json")


def fill(
    network: nn.Module, state: Mapping[str, torch.Tensor], path: Path, *, expected: str
) -> None:
    """Fill a network, buffers and all, with a state.

    Args:
        network: What is filled.
        state: Tensors by name.
        path: Where they come from, for the message.
        expected: What they should be, for the message.

    Raises:
        WeightsError: Names are missing, unexpected or misshapen; all are told in one line.
    """
    problems = list(_list_problems(state, network.state_dict()))
    if problems:
        others = len(problems) - _N_NAMED
        shown = "; ".join(problems[:_N_NAMED]) + (f"; and {others} more" if others > 0 else "")
        raise WeightsError(f"{path}: not {expected}: {shown}")
    network.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name; nothing in it is run.

    Args:
        path: See ``read_content``.

    Raises:
        WeightsError: The file cannot be read, or holds something else.
    """
    state = read_content(path)
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: expected a table of tensors by name")
    return state


def read_content(path: Path) -> Any:
    """Return what a file of weights holds: tensors and plain containers; nothing in it is run.

    Args:
        path: A safetensors file by its suffix, or a PyTorch file.

    Raises:
        WeightsError: The file cannot be read, or holds code.
    """
    if path.suffix == ".safetensors":
        check_header(path)
    try:
        return load_file(path) if path.suffix == ".safetensors" else _read_pickled(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds more than tensors, or is damaged; expected a PyTorch file of tensors, "
            "as torch.save(model.state_dict(), path) writes it"
        ) from error
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: cannot be read as weights ({reason})") from error


def _read_pickled(path: Path) -> Any:
    """Return what a PyTorch file holds, tensors and plain containers only."""
    check_file(path)
    with warnings.catch_warnings():  # what is odd about the file becomes an error or is harmless
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        content = load_tensors(path)
    check_tensors(content)
    return content


def _list_problems(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    for name in own:
        if name not in state:
            yield f"{name} is missing"
    for name in state:
        if name not in own:
            yield f"{name} is not expected"
    for name, values in state.items():
        if name not in own:
            continue
        if values.shape != own[name].shape:
            yield f"{name} has shape {tuple(values.shape)}, expected {tuple(own[name].shape)}"
        elif values.is_floating_point() != own[name].is_floating_point():
            kind = "floating-point" if own[name].is_floating_point() else "whole"
            yield f"{name} is {values.dtype}, expected {kind} numbers"
        elif not values.isfinite().all():
            yield f"{name} holds numbers that are not finite"
