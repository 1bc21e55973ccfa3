"""``earwitness render``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console, image_options
from earwitness.cli.image_options import parse_size
from earwitness.cli.options import (
    comma_list,
    open_manifests,
    parse_option,
    predict_option,
    remark_on_manifests,
)

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.core.manifest import Manifest
    from earwitness.images.classify import Answers, Table
    from earwitness.images.render import Rendering


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
    style: image_options.Style = "usual",
    contract: image_options.Contract = None,
    size: image_options.Size = "224",
    clip_s: image_options.ClipS = 5.0,
    sample_rate_hz: image_options.RateHz = None,
    scale: image_options.Scale = None,
    band_hz: image_options.Band = None,
    n_fft: image_options.NFft = None,
    top_db: image_options.TopDb = None,
    colours: image_options.Colours = None,
    resume: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Images that are there already: missing keeps them, always renders again, never "
            "refuses the folder.",
        ),
    ] = "missing",
    num_workers: Annotated[int | None, predict_option("num_workers")] = None,
) -> None:
    """Draw audio as spectrogram images.

    Into a folder as an image classifier is trained on: original/combined and deepfake/combined,
    with manifest.csv, test.csv, and spectrogram.json, which says how all of them are drawn and
    is in each image, too. After Ctrl-C the same command resumes.
    """
    from earwitness.core.errors import UsageError
    from earwitness.images.render import render as draw
    from earwitness.scoring.run_folder import refuse_contents
    from earwitness.scoring.workers import held_interrupts

    if (manifest is None) == (folder is None):
        raise UsageError("expected one of --manifest FILES, --folder DIR")
    how = parse_option("resume", resume)
    if how == "never":
        refuse_contents(out)
    drawn_by = image_options.contract_of(
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
    with console.progress_bar("drawing", n_files) as advance, held_interrupts() as should_stop:
        done = draw(
            manifests,
            out,
            contract=drawn_by,
            windows=parse_option("windows", windows),
            anew=how == "always",
            n_workers=num_workers,
            advance=advance,
            should_stop=should_stop,
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


def classify(
    *,
    weights: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A .pth or safetensors of a ResNet-18, ours or torchvision's, or a folder that "
            "earwitness train wrote.",
        ),
    ] = Path("models/experiments/best_laundered_processed.pth"),
    base: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that img_path starts from.")
    ] = Path("data"),
    csv: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES",
            help="CSVs with img_path and, where known, actual_output; by comma or repeated "
            "(default: test_data/test.csv).",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What outputs 0 and 1 stand for, such as deepfake,original (the order of class "
            "folders); for weights without a card.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS",
            help="Height and width of the images that weights without a card were trained on, 128 "
            "or 128x256 (default: 224).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            help="Deepfake from this score up (default: the card's, 0.5).",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse images that differ from those of the training, and exit 1 when a row "
            "has no score.",
        ),
    ] = False,
    device: Annotated[str, predict_option("device")] = "auto",
    gpu: Annotated[
        int | None,
        typer.Option(min=-1, metavar="N", help="N is --device cuda:N, -1 is --device cpu."),
    ] = None,
) -> None:
    """Classify the images that CSVs list.

    predicted_output and prob_fake are written into the CSVs themselves; all else in them stays as
    it is, and the first time the old file is kept as .bak. Where actual_output is filled, a report
    and a confusion matrix are written beside each, and aggregate_test_reports.json beside the
    first.
    """
    from earwitness.cli.options import choose_device
    from earwitness.core.errors import WeightsError
    from earwitness.core.io import missing
    from earwitness.detectors.nets.resnet18 import load_resnet
    from earwitness.images import classify as work
    from earwitness.scoring.workers import held_interrupts

    if not weights.exists():
        raise WeightsError(f"--weights {missing(weights)}; train a network with earwitness train")
    names = tuple(comma_list([classes])) if classes else None
    detector = load_resnet(
        weights,
        classes=names,
        size=parse_size(size) if size else None,
        device=choose_device(device, gpu, console.remark),
    )
    tables = work.read_tables([Path(p) for p in comma_list(csv or ["test_data/test.csv"])], base)
    cut = detector.card.threshold if threshold is None else threshold
    n_images = work.count_images(tables)
    with (
        console.progress_bar("classifying", n_images, "images") as advance,
        held_interrupts() as should_stop,
    ):
        answers = work.score_tables(tables, detector, advance=advance, should_stop=should_stop)
    if strict:
        work.refuse_differences(answers)
    for table in tables:
        work.write_answers(table, answers, cut)
    notes = (*work.describe_differences(answers), *work.describe_notes(answers))
    for line in (*notes, *detector.remarks):
        console.remark(line)
    _report(tables, answers, cut, detector.card)
    _finish_classify(tables, answers, strict=strict)


def _report(tables: list[Table], answers: Answers, threshold: float, card: DetectorCard) -> None:
    from earwitness.images import class_reports as reports

    for table in tables:
        if not table.is_labelled:
            console.remark(f"{table.path}: no actual_output, only predictions were written")
    labelled = [table for table in tables if table.is_labelled]
    made = [reports.make_report(str(t.path), [t], answers, threshold) for t in labelled]
    for table, report in zip(labelled, made, strict=True):
        if len(report.items):
            written = reports.write_report(report, table, card)
            accuracy = report.estimates["accuracy"].number
            console.out.print(
                f"{table.path}: accuracy {accuracy:.4f} of {len(report.items)} "
                f"({', '.join(path.name for path in written)})",
                markup=False,
            )
            if note := reports.polarity_note(report, card):
                console.remark(note)
    made = [report for report in made if len(report.items)]
    if made:
        alone = len(labelled) == 1
        pooled = (
            made[0] if alone else reports.make_report(reports.POOLED, labelled, answers, threshold)
        )
        path = tables[0].path.with_name(reports.AGGREGATE_JSON)
        reports.write_aggregate(made, pooled, card, path)
        console.out.print(f"all CSVs: {path}", markup=False)


def _finish_classify(tables: list[Table], answers: Answers, *, strict: bool) -> None:
    rows = [image for table in tables for image in table.images if image is not None]
    errors = [error for image in rows if (error := answers.error_of(image))]
    for reason in sorted(set(errors), key=lambda reason: -errors.count(reason))[:5]:
        first = next(i for i in rows if answers.error_of(i) == reason)
        shown = f" (as {first})" if isinstance(first, Path) else ""
        console.remark(f"{errors.count(reason)} × {reason}{shown}")
    where = " (see the column prediction_error)" if errors else ""
    scored, failed = map(console.thousands, (len(rows) - len(errors), len(errors)))
    console.out.print(f"{scored} rows scored, {failed} failed{where}")
    if errors and (strict or len(errors) == len(rows)):
        raise typer.Exit(1)
