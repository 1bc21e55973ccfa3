"""``earwitness render``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console, drawing
from earwitness.cli.lists import open_manifests, remark_on_manifests, resume_choice, windows_choice

if TYPE_CHECKING:
    from earwitness.core.manifest import Manifest
    from earwitness.rendering.render import Rendering


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
    style: drawing.Style = "usual",
    contract: drawing.Contract = None,
    size: drawing.Size = "224",
    clip_s: drawing.ClipS = 5.0,
    sample_rate_hz: drawing.RateHz = None,
    scale: drawing.Scale = None,
    band_hz: drawing.Band = None,
    n_fft: drawing.NFft = None,
    top_db: drawing.TopDb = None,
    colours: drawing.Colours = None,
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
    from earwitness.rendering.render import render as draw
    from earwitness.workflows.runfolder import refuse_contents

    if (manifest is None) == (folder is None):
        raise UsageError("expected one of --manifest FILES, --folder DIR")
    how = resume_choice(resume)
    if how == "never":
        refuse_contents(out)
    drawn_by = drawing.contract_of(
        contract,
        style=style,
        size=size,
        clip_s=clip_s,
        sample_rate_hz=sample_rate_hz,
        scale=scale,
        band_hz=band_hz,
        n_fft=n_fft,
        top_db=top_db,
        colours=colours,
    )
    manifests = _manifests(manifest, folder, root)
    n_files = len({path for m in manifests for path in m.locate_all()})
    with console.progress_bar("drawing", n_files) as advance, held_interrupts() as stopping:
        done = draw(
            manifests,
            out,
            contract=drawn_by,
            windows=windows_choice(windows),
            anew=how == "always",
            n_workers=num_workers,
            advance=advance,
            stopping=stopping,
        )
    _finish(done, out)


def _manifests(
    manifest: list[str] | None, folder: Path | None, root: Path | None
) -> list[Manifest]:
    from earwitness.core.manifest import Manifest
    from earwitness.datasets.folder import catalog_folder

    if folder is None:
        read = open_manifests(manifest, root)
        remark_on_manifests(read)
        return read
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
