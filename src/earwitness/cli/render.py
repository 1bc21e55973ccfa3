"""``earwitness render``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.lists import manifest_list, resume_choice, windows_choice

if TYPE_CHECKING:
    from earwitness.core.images import SpectrogramContract
    from earwitness.core.manifest import Manifest
    from earwitness.rendering.render import Rendering

_DRAWING = "How images are drawn"


def render(
    *,
    manifest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES", help="Audio to draw, or a folder of manifests; several by comma."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Audio of your own: real/** and fake/<generator>/** below it."
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of images: original/combined, deepfake/combined."),
    ] = Path("data"),
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that relative paths in the manifests start from."),
    ] = None,
    windows: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Images per file: published (the one in its centre), N spread evenly, or all, one "
            "after another.",
        ),
    ] = "published",
    contract: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A spectrogram.json that says how to draw, in place of the options below.",
            rich_help_panel=_DRAWING,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="PIXELS", help="Height and width: 224 or 128x256.", rich_help_panel=_DRAWING
        ),
    ] = "224",
    clip_s: Annotated[
        float,
        typer.Option(
            min=0.05, max=600, metavar="SECONDS", help="Length of a clip.", rich_help_panel=_DRAWING
        ),
    ] = 5.0,
    sample_rate_hz: Annotated[
        int,
        typer.Option(
            min=1_000,
            metavar="HZ",
            help="Rate that all audio is brought to. A rate that some of your audio does not have "
            "shows in its images.",
            rich_help_panel=_DRAWING,
        ),
    ] = 16_000,
    scale: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Frequencies: mel, linear or log.", rich_help_panel=_DRAWING
        ),
    ] = "mel",
    band_hz: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Band that is drawn (default: 20 Hz to half the rate).",
            rich_help_panel=_DRAWING,
        ),
    ] = None,
    n_fft: Annotated[
        int,
        typer.Option(min=16, metavar="N", help="Samples a window.", rich_help_panel=_DRAWING),
    ] = 2_048,
    top_db: Annotated[
        float,
        typer.Option(
            min=1,
            max=200,
            metavar="DB",
            help="Range below a clip's loudest.",
            rich_help_panel=_DRAWING,
        ),
    ] = 80.0,
    colours: Annotated[
        str,
        typer.Option(metavar="NAME", help="grey, viridis or magma.", rich_help_panel=_DRAWING),
    ] = "grey",
    resume: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Images that are there already: missing keeps them, always draws anew, never "
            "refuses the folder.",
        ),
    ] = "missing",
    num_workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Decoding processes; 0 decodes in this one."),
    ] = None,
) -> None:
    """Draw audio as spectrogram images.

    Into a folder as an image classifier is trained on: original/combined and deepfake/combined,
    with manifest.csv, test.csv, and spectrogram.json, which says how all of them are drawn and
    stands in each image, too. After Ctrl-C the same command goes on.
    """
    from earwitness.core.errors import UsageError
    from earwitness.passes.interrupts import held_interrupts
    from earwitness.rendering.items import read_contract
    from earwitness.rendering.render import render as draw
    from earwitness.workflows.runfolder import refuse_contents

    if (manifest is None) == (folder is None):
        raise UsageError("expected one of --manifest FILES, --folder DIR")
    how = resume_choice(resume)
    if how == "never":
        refuse_contents(out)
    drawing = (
        read_contract(contract)
        if contract
        else _contract(
            size=size,
            clip_s=clip_s,
            sample_rate_hz=sample_rate_hz,
            scale=scale,
            band_hz=band_hz,
            n_fft=n_fft,
            top_db=top_db,
            colours=colours,
        )
    )
    manifests = _manifests(manifest, folder, root)
    n_files = len({path for m in manifests for path in m.locate_all()})
    with console.progress_bar("drawing", n_files) as advance, held_interrupts() as stopping:
        done = draw(
            manifests,
            out,
            contract=drawing,
            windows=windows_choice(windows),
            anew=how == "always",
            n_workers=num_workers,
            advance=advance,
            stopping=stopping,
        )
    _finish(done, out)


def _contract(
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
    """Put options together, and say which one does not fit."""
    from pydantic import ValidationError

    from earwitness.cli.lists import two_numbers
    from earwitness.core.errors import UsageError
    from earwitness.core.images import SpectrogramContract

    height, width = _size(size)
    band = two_numbers("--band-hz", band_hz) if band_hz else (20.0, sample_rate_hz / 2)
    options: dict[str, Any] = {
        "sample_rate_hz": sample_rate_hz,
        "n_fft": n_fft,
        "hop": max(1, round(clip_s * sample_rate_hz / (width - 1))),
        "width": width,
        "height": height,
        "scale": scale,
        "band_hz": band,
        "top_db": top_db,
        "colours": colours,
    }
    try:
        return SpectrogramContract.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
        raise UsageError(f"{'--' if name else ''}{name} {first['msg']}".strip()) from None


def _size(text: str) -> tuple[int, int]:
    from earwitness.core.errors import UsageError

    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(width or height) > 1):
        raise UsageError(f"--size {text}: expected pixels like 224, or height and width as 128x256")
    return int(height), int(width or height)


def _manifests(
    manifest: list[str] | None, folder: Path | None, root: Path | None
) -> list[Manifest]:
    from earwitness.core.manifest import Manifest
    from earwitness.datasets.folder import catalog_folder
    from earwitness.manifests.files import read_manifest

    if folder is None:
        return [read_manifest(path, root=root) for path in manifest_list(manifest)]
    catalog = catalog_folder(folder)
    return [Manifest(catalog.source, catalog.frame.drop("key"))]


def _finish(done: Rendering, out: Path) -> None:
    for path, reason in list(done.failures.items())[:5]:
        console.remark(f"not drawn: {path}: {reason}")
    kept = f", {console.thousands(done.n_kept)} of them were there" if done.n_kept else ""
    failed = f"{len(done.failures)} could not be drawn"
    more = f" (see {out / 'errors.csv'})" if done.failures else ""
    console.out.print(
        f"{console.thousands(done.n_images)} images of {console.thousands(len(done.images))} files"
        f"{kept}; {failed}{more}",
        markup=False,
    )
    if not done.images:
        raise typer.Exit(1)
    console.out.print(f"written to {out}; train with earwitness train --images {out}", markup=False)
