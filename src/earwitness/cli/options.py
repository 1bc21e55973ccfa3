"""Options shared by several commands, and functions that parse their values."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from annotated_types import Ge, Le
from pydantic import ByteSize, PlainValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from earwitness.cli import console
from earwitness.core.errors import UsageError
from earwitness.core.remote import to_path
from earwitness.scoring.options import ScoringOptions, fields, option_of

if TYPE_CHECKING:
    from earwitness.core.manifest import Manifest


def option(metavar: str | None, text: str, panel: str | None = None, **more: Any) -> Any:
    """Return a Typer option with a help text."""
    return typer.Option(metavar=metavar, help=text, rich_help_panel=panel, **more)


def switch(name: str, text: str) -> Any:
    """Return a Typer option without a value and without ``--no-…``."""
    return typer.Option(name, help=text)


Root = Annotated[Path | None, option("DIR", "Base folder of relative paths in the manifests.")]
Key = Annotated[Path | None, option("FILE", "Key file of ASVspoof score files.")]
Aggregation = Annotated[
    Literal["mean", "max"] | None,
    typer.Option(
        help="Combine the scores of several rows of one file (default: such files are refused)."
    ),
]
Weights = Annotated[
    list[str] | None,
    option(
        "NAME=PATH",
        "Path of a detector's weights; a bare path is for a single detector (default: "
        "$EARWITNESS_WEIGHTS/NAME, then the hub).",
    ),
]
Classes = Annotated[
    str | None,
    option(
        "NAMES",
        "Classes of outputs 0 and 1, such as deepfake,original (the order of class folders), of a "
        "ResNet-18 without a card.",
    ),
]
GPU_HELP = "N is --device cuda:N, -1 is --device cpu."
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, metavar="SCORE", help="Decision threshold (default: the labels in the file)."
    ),
]


def comma_list(values: Iterable[str] | None) -> list[str]:
    """Return the distinct values of a repeated, comma-separated option, in order.

    An existing path is not split at its commas.
    """
    parts: list[str] = []
    for value in values or ():
        whole = Path(value).exists()
        parts += [value] if whole else [part.strip() for part in value.split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def parse_bytes(name: str, value: str) -> int:
    """Return the number of bytes of a size such as 4GB or 512MiB."""
    try:
        return TypeAdapter(ByteSize).validate_python(value)
    except ValidationError:
        raise UsageError(f"{name} {value}: expected a size such as 4GB or 512MiB") from None


def open_manifests(values: Iterable[str] | None, root: Path | None) -> list[Manifest]:
    """Return the manifests of an option, which may name folders of them."""
    from earwitness.splits.manifests import expand_manifests, read_manifest

    given = [to_path(value) for value in comma_list(values)]
    if not given:
        raise UsageError("no manifest given, expected --manifest FILE")
    return [read_manifest(path, root=root) for path in dict.fromkeys(expand_manifests(given))]


def remark_on_manifests(manifests: Iterable[Manifest]) -> None:
    """Print notes on manifests and their missing files."""
    from earwitness.splits.manifests import describe_missing

    for manifest in manifests:
        console.remark(*filter(None, (*manifest.notes, describe_missing(manifest))))


def refuse_inputs(option: str, written: Iterable[Path], read: Iterable[Path | None]) -> None:
    """Raise ``UsageError`` if an input file would be overwritten."""
    inputs = {path.resolve() for path in read if path is not None}
    for path in written:
        if path.resolve() in inputs:
            raise UsageError(f"{option}: {path} would be overwritten, but it is an input")


def weights_by_name(values: Iterable[str] | None, detectors: list[str]) -> dict[str, Path]:
    """Return the paths of ``NAME=PATH`` options; a bare path is for a single detector."""
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


def parse_option(name: str, text: str) -> Any:
    """Return the value of an option of ``predict``; raise ``UsageError`` for other text."""
    return getattr(_parse_options({name: text}), name)


def predict_option(name: str) -> Any:
    """Return an option of ``predict`` for the signature of another command."""
    return _typer_option(name, fields()[name])


def with_options(
    replaced: str,
    options: Iterable[inspect.Parameter],
    parse: Callable[[dict[str, Any]], Any],
    command: Callable[..., None],
) -> Callable[..., None]:
    """Return a command with options in place of the parameter that is parsed from them.

    Options that the command has itself are not added.
    """
    own = inspect.signature(command, eval_str=True).parameters
    added = [option for option in options if option.name not in own]
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        parameters += added if name == replaced else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        parsed = parse({option.name: given.pop(option.name) for option in added})
        command(**given, **{replaced: parsed})

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def with_cache_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add options of the copies of remote files, which become those of worker processes, too."""
    own = inspect.signature(command, eval_str=True)
    panel = "Files at URLs"
    asked: dict[str, Any] = {
        "cache_dir": option(
            "DIR", "Folder of local copies (default: ~/.cache/earwitness/remote).", panel
        ),
        "cache_size": option("SIZE", "Maximum size of the folder, such as 500M.", panel),
    }
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, shown]
        )
        for (name, shown), kind in zip(asked.items(), (Path | None, str | None), strict=True)
    ]

    @functools.wraps(command)
    def run(*, cache_dir: Path | None, cache_size: str | None, **given: Any) -> None:
        from earwitness.core.cache import CACHE_DIR, CACHE_SIZE, parse_size

        if cache_dir is not None:
            os.environ[CACHE_DIR] = str(cache_dir.absolute())
        if cache_size is not None:
            os.environ[CACHE_SIZE] = str(parse_size(cache_size))
        command(**given)

    parameters = [*own.parameters.values(), *added]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def with_scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``options`` of a command by one option per scoring option."""
    shown = (
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option_of(field).shown_default or field.default,
            annotation=Annotated[_typer_type(field), _typer_option(name, field)],
        )
        for name, field in fields().items()
    )
    return with_options("options", shown, _parse_options, command)


def _typer_type(field: FieldInfo) -> Any:
    """Return the type for Typer: text for choices, which pydantic validates."""
    is_parsed = any(isinstance(part, PlainValidator) for part in field.metadata)
    plain = (bool, int, float, int | None, float | None)
    return field.annotation if field.annotation in plain and not is_parsed else str


def _typer_option(name: str, field: FieldInfo) -> Any:
    option = option_of(field)
    bounds = {type(part): part for part in field.metadata}
    low, high = bounds.get(Ge), bounds.get(Le)
    return typer.Option(
        _flag(name),
        help=option.help,
        metavar=option.metavar,
        rich_help_panel=option.panel,
        min=low.ge if low else None,
        max=high.le if high else None,
    )


def _flag(name: str) -> str:
    return option_of(fields()[name]).flag or f"--{name.replace('_', '-')}"


def _parse_options(given: dict[str, Any]) -> ScoringOptions:
    values = {
        name: int(value) if isinstance(value, str) and value.isdecimal() else value
        for name, value in given.items()
    }
    try:
        return ScoringOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        choices = first.get("ctx", {}).get("expected", "").replace("'", "")
        expected = f"expected {choices}" if choices else first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{_flag(name)} {given[name]}: {expected}") from None


def two_numbers(option: str, text: str) -> tuple[float, float]:
    """Return the two numbers of ``LOW,HIGH``; raise ``UsageError`` for other text."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}, expected two frequencies like 5000,16000") from error
    return low, high


def requested_device(device: str, gpu: int | None = None) -> str:
    """Return the requested device; ``gpu`` overrides it: N is ``cuda:N``, -1 is ``cpu``."""
    if gpu is not None:
        device = f"cuda:{gpu}" if gpu >= 0 else "cpu"
    return str(parse_option("device", device))


def choose_device(device: str, gpu: int | None = None) -> str:
    """Return the requested device, or the CPU with a note if it is unavailable."""
    device = requested_device(device, gpu)
    if device in ("auto", "cpu"):
        return device
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    is_available = has_mps if device == "mps" else int(device.partition(":")[2] or 0) < n_cuda
    if not is_available:
        console.remark(
            f"{device} is not available ({n_cuda} CUDA devices found); running on the CPU"
        )
    return device if is_available else "cpu"
