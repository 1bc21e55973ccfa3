"""Options that say how spectrograms are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.options import comma_list, two_numbers
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.cards import Windows
    from earwitness.core.manifest import Manifest
    from earwitness.core.spectrogram import SpectrogramContract
    from earwitness.training.examples import Example, SplitConfig
    from earwitness.training.image_sources import ImageSources
    from earwitness.training.rendering import Shelves

PANEL = "How images are drawn"


def _option(metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=PANEL, **more)


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
"""Settings by the name of a style; ``hop`` is that of the transform, else one frame a column.

``published`` is librosa's picture of a short-time transform on a logarithmic axis, as the authors
of the image track drew theirs. Its axis is linear below 65.4 Hz, over half an octave's height; a
logarithmic axis of that height begins at 46.25 Hz.
"""

Style = Annotated[
    str,
    _option(
        "NAME",
        "usual, or published: transform 1024/512, logarithmic axis, magma, each file at its own "
        "rate. The options below change it.",
    ),
]
Contract = Annotated[
    Path | None,
    _option("FILE", "A spectrogram.json that says how to draw, in place of the options below."),
]
Size = Annotated[str, _option("PIXELS", "Height and width: 224 or 128x256.")]
ClipS = Annotated[float, _option("SECONDS", "Length of a clip.", min=0.05, max=600)]
RateHz = Annotated[
    int | None,
    _option(
        "HZ",
        "Rate that all audio is brought to (default: 16000). A rate that some of your audio does "
        "not have shows in its images.",
        min=1_000,
    ),
]
Scale = Annotated[str | None, _option("NAME", "Frequencies: mel, linear or log (default: mel).")]
Band = Annotated[
    str | None, _option("LOW,HIGH", "Band that is drawn (default: 20 Hz to half the rate).")
]
NFft = Annotated[int | None, _option("N", "Samples a window (default: 2048).", min=16)]
TopDb = Annotated[
    float | None, _option("DB", "Range below a clip's loudest (default: 80).", min=1, max=200)
]
Colours = Annotated[str | None, _option("NAME", "grey, viridis or magma (default: grey).")]


def contract_of(
    contract: Path | None,
    *,
    style: str,
    size: str,
    clip_s: float,
    sample_rate_hz: int | None,
    scale: str | None,
    band_hz: str | None,
    n_fft: int | None,
    top_db: float | None,
    colours: str | None,
) -> SpectrogramContract:
    """Put options together to a contract, or read the file that one is in.

    Options that are ``None`` take the style's value; a rate that is asked for is resampled to.

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


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width.

    Raises:
        UsageError: The text is neither a number nor two of them.
    """
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(width or height) > 1):
        raise UsageError(f"--size {text}: expected pixels like 224, or height and width as 128x256")
    return int(height), int(width or height)


TEST_SHARE = 0.15


def read_folder(
    root: Path, real_folders: list[str] | None, fake_folders: list[str] | None, group_by: str
) -> ImageSources:
    """Find the images of a folder and say how its class folders were read."""
    from earwitness.training.image_sources import find_images

    reals, fakes = (comma_list(some) if some else [] for some in (real_folders, fake_folders))
    if both := sorted(set(reals) & set(fakes)):
        raise UsageError(f"--real-folders and --fake-folders: {both[0]!r} is in both")
    classes = dict.fromkeys(reals, 0) | dict.fromkeys(fakes, 1)
    return _noted(find_images(root, group_by=group_by, classes=classes))


def read_csvs(
    train: list[str], base: Path, valid: list[str] | None, test: list[str] | None, group_by: str
) -> ImageSources:
    """Read CSVs of images."""
    from earwitness.training.image_sources import read_image_csvs

    ours, held, tested = (
        [Path(p) for p in comma_list(some or [])] for some in (train, valid, test)
    )
    return _noted(read_image_csvs(ours, base, valid=held, test=tested, group_by=group_by))


def _noted(sources: ImageSources) -> ImageSources:
    for note in sources.notes:
        console.remark(note)
    return sources


def settle_test(examples: Sequence[Example], sharing: SplitConfig, *, asked: bool) -> SplitConfig:
    """Return how to share out: without a test where there are too few groups, unless asked for."""
    from earwitness.training.examples import hold_out_test, share_groups

    if asked or not sharing.test_share:
        return sharing
    rest, test, how = hold_out_test(examples, sharing)
    sides = (test, *share_groups(rest, how))
    if all({example.target for example in side} == {0, 1} for side in sides):
        return sharing
    console.remark("too few groups to hold some out for a test: there is none (--test-share)")
    return replace(sharing, test_share=0.0)


def shelve_images(
    sources: ImageSources, out: Path, sharing: SplitConfig, *, asked: bool
) -> Shelves:
    """Read images."""
    from earwitness.training.rendering import shelve_folder

    if sources.valid is None and sources.test is None:
        sharing = settle_test(sources.examples, sharing, asked=asked)
    sides = (sources.examples, sources.valid or (), sources.test or ())
    with console.progress_bar("reading", sum(map(len, sides)), "images") as advance:
        return shelve_folder(
            sources.examples,
            sharing,
            valid=sources.valid,
            test=sources.test,
            folder=out,
            advance=advance,
        )


def shelve_audio(
    sides: tuple[list[Manifest], list[Manifest], list[Manifest]],
    contract: SpectrogramContract,
    out: Path,
    sharing: SplitConfig,
    *,
    asked: bool,
    windows: Windows,
    num_workers: int | None,
) -> Shelves:
    """Draw the audio of manifests.

    Args:
        sides: Manifests to learn from, to validate and to test with.
        contract: How to draw.
        out: Folder of the training.
        sharing: How groups are shared out.
        asked: Whether the share of the test was asked for.
        windows: Clips per file.
        num_workers: Decoding processes.
    """
    from earwitness.training.examples import join_groups, list_audio
    from earwitness.training.rendering import shelve_manifests

    train, valid, test = sides
    if not (valid or test):
        examples = join_groups(list_audio(train, group_by=sharing.group_by))
        sharing = settle_test(examples, sharing, asked=asked)
    n_files = len({path for m in (*train, *valid, *test) for path in m.locate_all()})
    with console.progress_bar("drawing", n_files) as advance:
        return shelve_manifests(
            train,
            valid,
            contract,
            sharing,
            test=test,
            windows=windows,
            folder=out,
            n_workers=num_workers,
            advance=advance,
        )
