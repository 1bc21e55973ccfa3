"""Options that say how spectrograms are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli.lists import two_numbers
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.images import SpectrogramContract

PANEL = "How images are drawn"


def _option(metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=PANEL, **more)


Contract = Annotated[
    Path | None,
    _option("FILE", "A spectrogram.json that says how to draw, in place of the options below."),
]
Size = Annotated[str, _option("PIXELS", "Height and width: 224 or 128x256.")]
ClipS = Annotated[float, _option("SECONDS", "Length of a clip.", min=0.05, max=600)]
RateHz = Annotated[
    int,
    _option(
        "HZ",
        "Rate that all audio is brought to. A rate that some of your audio does not have shows in "
        "its images.",
        min=1_000,
    ),
]
Scale = Annotated[str, _option("NAME", "Frequencies: mel, linear or log.")]
Band = Annotated[
    str | None, _option("LOW,HIGH", "Band that is drawn (default: 20 Hz to half the rate).")
]
NFft = Annotated[int, _option("N", "Samples a window.", min=16)]
TopDb = Annotated[float, _option("DB", "Range below a clip's loudest.", min=1, max=200)]
Colours = Annotated[str, _option("NAME", "grey, viridis or magma.")]


def contract_of(
    contract: Path | None,
    *,
    size: str,
    clip_s: float,
    sample_rate_hz: int,
    scale: str,
    band_hz: str | None,
    n_fft: int,
    top_db: float,
    colours: str,
) -> SpectrogramContract:
    """Put options together to a contract, or read the file that one is in.

    Raises:
        UsageError: Options do not go together.
        RunError: The file is no contract.
    """
    from pydantic import ValidationError

    from earwitness.core.images import SpectrogramContract
    from earwitness.rendering.items import read_contract

    if contract is not None:
        return read_contract(contract)
    height, width = parse_size(size)
    options: dict[str, Any] = {
        "sample_rate_hz": sample_rate_hz,
        "n_fft": n_fft,
        "hop": max(1, round(clip_s * sample_rate_hz / (width - 1))),
        "width": width,
        "height": height,
        "scale": scale,
        "band_hz": two_numbers("--band-hz", band_hz) if band_hz else (20.0, sample_rate_hz / 2),
        "top_db": top_db,
        "colours": colours,
    }
    try:
        return SpectrogramContract.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"--{first['loc'][0]} ".replace("_", "-") if first["loc"] else ""
        raise UsageError(f"{name}{first['msg']}") from None


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width.

    Raises:
        UsageError: The text is neither a number nor two of them.
    """
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(width or height) > 1):
        raise UsageError(f"--size {text}: expected pixels like 224, or height and width as 128x256")
    return int(height), int(width or height)
