"""Reading options that hold several values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from earwitness.cli import console
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.audio.clips import Windows
    from earwitness.core.cards import Backend, Precision, Preprocessing
    from earwitness.core.manifest import Manifest
    from earwitness.scoring.run_folder import Resume

MANIFESTS = Path("ood_eval/manifests")
"""Where manifests go, and are looked for, unless it is said: the published folder."""

PREDICTIONS = Path("ood_eval/preds")
"""Where prediction files are looked for, likewise."""

COMPARISON = Path("ood_eval/final_ood_comparison.csv")
"""Where the comparison table goes, and is looked for, likewise."""

Key = Annotated[Path | None, typer.Option(metavar="FILE", help="Key file of ASVspoof score files.")]
Aggregation = Annotated[
    Literal["mean", "max"] | None,
    typer.Option(
        help="Combine the scores of several rows of one file (default: such files are refused)."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        help="Decision threshold (default: the labels in the file).",
    ),
]

_T = TypeVar("_T")

_WINDOWS: dict[str, Windows] = {"published": "published", "all": "all"}
_PREPROCESSINGS: dict[str, Preprocessing] = {"correct": "correct", "published": "published"}
_PRECISIONS: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}
_BACKENDS: dict[str, Backend] = {"torch": "torch", "onnxruntime": "onnxruntime"}
_RESUMES: dict[str, Resume] = {"missing": "missing", "always": "always", "never": "never"}


def comma_list(values: Iterable[str] | None) -> list[str]:
    """Flatten options that were repeated and hold commas, without repeats, in order.

    A value that is an existing path is taken whole, commas and all.
    """
    parts: list[str] = []
    for value in values or ():
        whole = Path(value).exists()
        parts += [value] if whole else [part.strip() for part in value.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def manifest_list(values: Iterable[str] | None) -> list[Path]:
    """Flatten manifest options; a folder stands for the manifests in it.

    Raises:
        UsageError: None was given.
    """
    from earwitness.splits.manifests import list_manifests

    given = [Path(value) for value in comma_list(values)]
    if not given:
        raise UsageError("no manifest given, expected --manifest FILE")
    paths = [p for path in given for p in (list_manifests(path) if path.is_dir() else [path])]
    return list(dict.fromkeys(paths))


def open_manifests(values: Iterable[str] | None, root: Path | None) -> list[Manifest]:
    """Read the manifests that options name.

    Raises:
        UsageError: None was given.
        ManifestError: One cannot be read.
    """
    from earwitness.splits.manifests import read_manifest

    return [read_manifest(path, root=root) for path in manifest_list(values)]


def remark_on_manifests(manifests: Iterable[Manifest]) -> None:
    """Say what is to know of manifests, once all that was asked is known to make sense."""
    from earwitness.splits.manifests import describe_missing

    for manifest in manifests:
        for line in (*manifest.notes, describe_missing(manifest)):
            if line:
                console.remark(line)


def refuse_inputs(option: str, written: Iterable[Path], read: Iterable[Path | None]) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: A file is both.
    """
    inputs = {path.resolve() for path in read if path is not None}
    for path in written:
        if path.resolve() in inputs:
            raise UsageError(f"{option}: {path} would be written over, and it is an input")


def weights_by_name(values: Iterable[str] | None, detectors: list[str]) -> dict[str, Path]:
    """Read ``NAME=PATH`` options; a bare path serves a single detector.

    Raises:
        UsageError: No detector, a bare path beside several, or a name that was not asked for.
    """
    weights: dict[str, Path] = {}
    for value in values or ():
        name, separator, path = value.partition("=")
        if separator and name in detectors:
            weights[name] = Path(path)
        elif not detectors:
            raise UsageError(f"--weights {value}: no detector given, expected --detector NAME")
        elif len(detectors) == 1:
            weights[detectors[0]] = Path(value)
        else:
            known = " or ".join(f"{detector}=PATH" for detector in detectors)
            raise UsageError(f"--weights {value}: expected {known}")
    return weights


def windows_choice(text: str) -> Windows:
    """Read ``--windows``.

    Raises:
        UsageError: Neither ``published`` nor ``all`` nor a number from 1 up.
    """
    if text in _WINDOWS:
        return _WINDOWS[text]
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise UsageError(f"--windows {text}: expected published, all or a number from 1 up")


def preprocessing_choice(text: str) -> Preprocessing:
    """Read ``--preprocessing``.

    Raises:
        UsageError: Neither ``correct`` nor ``published``.
    """
    return _one_of("--preprocessing", text, _PREPROCESSINGS)


def precision_choice(text: str) -> Precision:
    """Read ``--precision``.

    Raises:
        UsageError: None of ``fp32``, ``bf16``, ``fp16``.
    """
    return _one_of("--precision", text, _PRECISIONS)


def backend_choice(text: str) -> Backend:
    """Read ``--backend``.

    Raises:
        UsageError: Neither ``torch`` nor ``onnxruntime``.
    """
    return _one_of("--backend", text, _BACKENDS)


def resume_choice(text: str) -> Resume:
    """Read ``--resume``.

    Raises:
        UsageError: None of ``missing``, ``always``, ``never``.
    """
    return _one_of("--resume", text, _RESUMES)


def two_numbers(option: str, text: str) -> tuple[float, float]:
    """Read two numbers with a comma between them.

    Raises:
        UsageError: Something else.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}, expected two frequencies like 5000,16000") from error
    return low, high


def batch_size_choice(text: str) -> int | None:
    """Read ``--batch-size``: ``None`` for ``auto``.

    Raises:
        UsageError: Neither ``auto`` nor a number from 1 up.
    """
    if text == "auto":
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise UsageError(f"--batch-size {text}: expected auto or a number from 1 up")


def train_checks(text: str) -> tuple[str, ...]:
    """Read ``--train-check``.

    Raises:
        UsageError: A key that is none.
    """
    from earwitness.datasets.sonics import TRAIN_CHECKS

    keys = comma_list([text])
    for key in keys:
        if key not in (*TRAIN_CHECKS, "all"):
            raise UsageError(f"--train-check {key}: expected {', '.join(TRAIN_CHECKS)} or all")
    return TRAIN_CHECKS if "all" in keys else tuple(k for k in TRAIN_CHECKS if k in keys)


def _one_of(option: str, text: str, known: Mapping[str, _T]) -> _T:
    if text not in known:
        raise UsageError(f"{option} {text}: expected {' or '.join(known)}")
    return known[text]


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
