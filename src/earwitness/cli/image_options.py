"""Rendering options of ``render`` and ``train``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from earwitness.cli.options import option, two_numbers
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.spectrogram import SpectrogramContract

PANEL = "Rendering of images"
STYLES: dict[str, dict[str, Any]] = {
    "usual": {
        "sample_rate_hz": 16_000,
        "n_fft": 2_048,
        "scale": "mel",
        "low_hz": 20.0,
        "top_db": 80.0,
        "colours": "grey",
    },
    "published": {
        "sample_rate_hz": 44_100,
        "native_rate": True,
        "n_fft": 1_024,
        "hop": 512,
        "scale": "log",
        "low_hz": 46.25,
        "top_db": 80.0,
        "colours": "magma",
    },
}
"""Parameters by style; without ``hop`` there is one frame per column.

``published`` imitates librosa's logarithmic axis, as used by the authors of the image track: it is
linear below 65.4 Hz, over half an octave's height; a purely logarithmic axis begins at 46.25 Hz.
"""


_option = functools.partial(option, panel=PANEL)


def make_contract(
    *,
    style: Annotated[
        str,
        _option(
            "NAME",
            "usual, or published: transform 1024/512, logarithmic axis, magma, each file at its "
            "own rate. Other options override it.",
        ),
    ] = "usual",
    contract: Annotated[
        Path | None,
        _option("FILE", "A spectrogram.json with all parameters, in place of these options."),
    ] = None,
    size: Annotated[str, _option("PIXELS", "Height and width: 224 or 128x256.")] = "224",
    clip_s: Annotated[float, _option("SECONDS", "Length of a clip.", min=0.05, max=600)] = 5.0,
    sample_rate_hz: Annotated[
        int | None,
        _option(
            "HZ",
            "Rate that all audio is resampled to (default: 16000). A rate above that of some "
            "files is visible in their images.",
            min=1_000,
        ),
    ] = None,
    scale: Annotated[
        str | None, _option("NAME", "Frequency scale: mel, linear or log (default: mel).")
    ] = None,
    band_hz: Annotated[
        str | None, _option("LOW,HIGH", "Frequency band (default: 20 Hz to half the rate).")
    ] = None,
    n_fft: Annotated[
        int | None, _option("N", "Samples per window (default: 2048).", min=16)
    ] = None,
    top_db: Annotated[
        float | None,
        _option("DB", "Dynamic range below a clip's maximum (default: 80).", min=1, max=200),
    ] = None,
    colours: Annotated[
        str | None, _option("NAME", "grey, viridis or magma (default: grey).")
    ] = None,
) -> SpectrogramContract:
    """Return the rendering parameters that options describe.

    Options that are ``None`` take the style's value; with ``sample_rate_hz`` audio is resampled.

    Raises:
        UsageError: Options do not go together.
        RunError: The file is no contract.
    """
    from pydantic import ValidationError

    from earwitness.core.spectrogram import SpectrogramContract
    from earwitness.images.png import read_contract

    if style not in STYLES:
        raise UsageError(f"--style {style}: expected {' or '.join(STYLES)}")
    if contract is not None:
        return read_contract(contract)
    height, width = parse_size(size)
    own = {
        "sample_rate_hz": sample_rate_hz,
        "native_rate": None if sample_rate_hz is None else False,
        "n_fft": n_fft,
        "scale": scale,
        "top_db": top_db,
        "colours": colours,
    }
    options = STYLES[style] | {name: value for name, value in own.items() if value is not None}
    rate_hz, low_hz = options["sample_rate_hz"], options.pop("low_hz")
    options |= {"width": width, "height": height}
    options["band_hz"] = two_numbers("--band-hz", band_hz) if band_hz else (low_hz, rate_hz / 2)
    if "hop" in options:
        options["n_frames"] = round(clip_s * rate_hz / options["hop"]) + 1
    else:
        options["hop"] = max(1, round(clip_s * rate_hz / (width - 1)))
    try:
        return SpectrogramContract.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"--{first['loc'][0]} ".replace("_", "-") if first["loc"] else ""
        raise UsageError(f"{name}{first['msg']}") from None


def with_rendering_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``rendering`` of a command by the options of ``make_contract``.

    Options that the command has itself are not added.
    """
    own = inspect.signature(command, eval_str=True).parameters
    shared = inspect.signature(make_contract, locals={"SpectrogramContract": Any}, eval_str=True)
    added = {n: p for n, p in shared.parameters.items() if n not in own}
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        parameters += added.values() if name == "rendering" else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        rendering = {name: given.pop(name) for name in added}
        command(**given, rendering=rendering)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width; ``UsageError`` if the text is neither a number nor two of them."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(width or height) > 1):
        raise UsageError(f"--size {text}: expected pixels like 224, or height and width as 128x256")
    return int(height), int(width or height)
