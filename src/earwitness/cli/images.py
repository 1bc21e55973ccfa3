"""``earwitness render`` and ``earwitness classify``; rendering options of ``train``."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.engines import (
    SHARDING,
    Engine,
    command_of_shards,
    print_shard,
    with_engine_options,
)
from earwitness.cli.options import (
    GPU_HELP,
    Classes,
    Root,
    choose_device,
    comma_list,
    open_manifests,
    option,
    parse_option,
    predict_option,
    remark_on_manifests,
    switch,
    two_numbers,
    with_options,
)
from earwitness.core.errors import UsageError

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.core.spectrogram import SpectrogramContract
    from earwitness.images.classify import Scores, Table


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
"""Parameters by style; without ``hop`` there is one frame per column."""
# librosa's logarithmic axis, which the authors of the image track used, is linear below 65.4 Hz,
# over half an octave's height; a purely logarithmic axis begins at 46.25 Hz.


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
    """Return the rendering parameters that options describe; ``None`` is the style's value."""
    given = locals()
    from pydantic import ValidationError

    from earwitness.core.spectrogram import SpectrogramContract
    from earwitness.images.png import read_contract

    if style not in STYLES:
        raise UsageError(f"--style {style}: expected {' or '.join(STYLES)}")
    if contract is not None:
        return read_contract(contract)
    height, width = parse_size(size)
    own = ("sample_rate_hz", "n_fft", "scale", "top_db", "colours")
    options = STYLES[style] | {name: given[name] for name in own if given[name] is not None}
    if sample_rate_hz is not None:
        options["native_rate"] = False
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
    """Replace the parameter ``rendering`` of a command by the options of ``make_contract``."""
    shared = inspect.signature(make_contract, locals={"SpectrogramContract": Any}, eval_str=True)
    return with_options("rendering", shared.parameters.values(), dict, command)


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width; ``UsageError`` if the text is neither a number nor two of them."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and (width or height).isdecimal() and int(width or height) > 1):
        raise UsageError(f"--size {text}: expected pixels like 224, or height and width as 128x256")
    return int(height), int(width or height)


@with_rendering_options
@with_engine_options
def render(
    *,
    manifest: Annotated[
        list[str] | None, option("FILES", "Audio manifests, or a folder of them; several by comma.")
    ] = None,
    folder: Annotated[
        Path | None, option("DIR", "Audio of your own: real/** and fake/<generator>/** below it.")
    ] = None,
    out: Annotated[
        Path, option("DIR", "Folder of images: original/combined, deepfake/combined.")
    ] = Path("data"),
    root: Root = None,
    windows: Annotated[
        str,
        option(
            "N",
            "Images per file: published (the one in its centre), N evenly spaced, or all, end to "
            "end.",
        ),
    ] = "published",
    rendering: dict[str, Any],
    resume: Annotated[
        str,
        option(
            "HOW",
            "Existing images: missing keeps them, always renders them again, never refuses the "
            "folder.",
        ),
    ] = "missing",
    num_workers: Annotated[int | None, predict_option("num_workers")] = None,
    run_on: Engine,
) -> None:
    """Render audio as spectrogram images.

    The output folder is one for training an image classifier: original/combined,
    deepfake/combined, manifest.csv, test.csv and spectrogram.json (the rendering parameters, also
    stored in each image). After Ctrl-C the same command resumes.

    Shards only render images; the same command without them writes the tables.
    """
    from earwitness.core.manifest import Manifest
    from earwitness.datasets.folder import catalog_folder
    from earwitness.images import render as work
    from earwitness.scoring.file_shards import SHARDS_FOLDER, number_files
    from earwitness.scoring.run_folder import refuse_contents
    from earwitness.scoring.workers import held_interrupts

    run_on.check(out, sharding=SHARDING)
    shard = run_on.choose_shard(out / SHARDS_FOLDER)
    if (manifest is None) == (folder is None):
        raise UsageError("expected one of --manifest FILES, --folder DIR")
    how = parse_option("resume", resume)
    if how != "missing" and (shard or run_on.shards):
        raise UsageError(f"--resume {how}: expected missing with shards, which share a folder")
    if how == "never":
        refuse_contents(out)
    contract = make_contract(**rendering)
    if folder is None:
        manifests = open_manifests(manifest, root)
    else:
        catalog = catalog_folder(folder)
        manifests = [Manifest(catalog.source, catalog.frame.drop("key"))]
    if run_on.start_shards(out):
        return
    remark_on_manifests(manifests if folder is None else ())
    numbers = [*number_files(manifests, shard.of if shard else 1).values()]
    n_files = numbers.count(shard.number if shard else 1)
    with console.progress_bar("rendering", n_files) as advance, held_interrupts() as should_stop:
        done = work.render(
            manifests,
            out,
            contract=contract,
            windows=parse_option("windows", windows),
            overwrite=how == "always",
            n_workers=num_workers,
            advance=advance,
            should_stop=should_stop,
            shard=shard,
            command=command_of_shards(sys.argv[1:]) if shard else (),
        )
    console.remark(*[f"not rendered: {p}: {why}" for p, why in done.failures.items()][:5])
    kept = f", {console.thousands(done.n_kept)} of them kept" if done.n_kept else ""
    more = f" (see {out / 'errors.csv'})" if done.failures and not shard else ""
    console.echo(
        f"{console.thousands(done.n_images)} images of {console.thousands(len(done.images))} files"
        f"{kept}; {len(done.failures)} could not be rendered{more}"
    )
    if shard is not None:
        print_shard(shard, n_files, len(done.failures))
        return
    if not done.images:
        raise typer.Exit(1)
    console.echo(f"written to {out}; train with earwitness train --images {out}")


def classify(
    *,
    weights: Annotated[
        Path,
        option(
            "FILE",
            "A .pth or .safetensors file of a ResNet-18, or a folder written by earwitness train.",
        ),
    ] = Path("models/experiments/best_laundered_processed.pth"),
    base: Annotated[Path, option("DIR", "Base folder of img_path.")] = Path("data"),
    csv: Annotated[
        list[str] | None,
        option(
            "FILES",
            "CSVs with img_path and, if known, actual_output; by comma or repeated (default: "
            "test_data/test.csv).",
        ),
    ] = None,
    classes: Classes = None,
    size: Annotated[
        str | None,
        option(
            "PIXELS",
            "Height and width of the training images, 128 or 128x256, for weights without a card "
            "(default: 224).",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        option(
            "SCORE",
            "Scores from this value up are labelled deepfake (default: the card's, 0.5).",
            min=0,
            max=1,
        ),
    ] = None,
    strict: Annotated[
        bool,
        switch(
            "--strict",
            "Refuse images that differ from the training images, and exit 1 if a row has no score.",
        ),
    ] = False,
    device: Annotated[str, predict_option("device")] = "auto",
    gpu: Annotated[int | None, option("N", GPU_HELP, min=-1)] = None,
) -> None:
    """Classify the images that CSVs list.

    The columns predicted_output and prob_fake of the CSVs are written; all else is unchanged, and
    the original file is kept as .bak. For rows with actual_output, a report and a confusion matrix
    are written next to each CSV, and aggregate_test_reports.json next to the first.
    """
    from earwitness.core.errors import WeightsError
    from earwitness.core.io import missing
    from earwitness.detectors.nets.resnet18 import load_resnet
    from earwitness.images import classify as work
    from earwitness.scoring.workers import held_interrupts

    if not weights.exists():
        raise WeightsError(f"--weights {missing(weights)}; train a network with earwitness train")
    detector = load_resnet(
        weights,
        classes=tuple(comma_list([classes])) if classes else None,
        size=parse_size(size) if size else None,
        device=choose_device(device, gpu),
    )
    tables = work.read_tables([Path(p) for p in comma_list(csv or ["test_data/test.csv"])], base)
    threshold = detector.card.threshold if threshold is None else threshold
    images = work.list_images(tables)
    with (
        console.progress_bar("classifying", len(images), "images") as advance,
        held_interrupts() as should_stop,
    ):
        scores = work.score_images(images, detector, advance=advance, should_stop=should_stop)
    differences = scores.describe_differences()
    if strict and differences:
        raise UsageError(f"--strict: {'; '.join(differences)}")
    for table in tables:
        work.write_scores(table, scores, threshold)
    console.remark(*(*differences, *scores.describe_notes(), *detector.remarks))
    _report(tables, scores, threshold, detector.card)
    _print_counts(tables, scores, strict=strict)


def _report(tables: list[Table], scores: Scores, threshold: float, card: DetectorCard) -> None:
    """Write the report of each labelled CSV and of all together, and print the accuracies."""
    from earwitness.images import classify as work

    labelled = [table for table in tables if table.is_labelled]
    reports = []
    for table in tables:
        if not table.is_labelled:
            console.remark(f"{table.path}: no actual_output, only predictions were written")
    for table in labelled:
        report = work.make_report(str(table.path), [table], scores, threshold)
        if not len(report.items):
            continue
        reports.append(report)
        written = work.write_report(report, table, card)
        console.echo(
            f"{table.path}: accuracy {report.estimates['accuracy'].number:.4f} of "
            f"{len(report.items)} ({', '.join(path.name for path in written)})"
        )
        if note := work.polarity_note(report, card):
            console.remark(note)
    if reports:
        pooled = reports[0]
        if len(labelled) > 1:
            pooled = work.make_report("all CSVs together", labelled, scores, threshold)
        path = tables[0].path.with_name(work.AGGREGATE_JSON)
        work.write_aggregate(reports, pooled, card, path)
        console.echo(f"all CSVs: {path}")


def _print_counts(tables: list[Table], scores: Scores, *, strict: bool) -> None:
    """Print how many rows were scored, and the most frequent errors."""
    rows = [image for table in tables for image in table.images if image is not None]
    failed = [
        (error, image if isinstance(image, Path) else "")
        for image in rows
        if (error := scores.error_of(image))
    ]
    n_failed = len(failed)
    console.remark(*console.frequent(sorted(failed, key=lambda pair: pair[0])))
    where = " (see the column prediction_error)" if n_failed else ""
    n_scored, n_shown = map(console.thousands, (len(rows) - n_failed, n_failed))
    console.out.print(f"{n_scored} rows scored, {n_shown} failed{where}")
    if n_failed and (strict or n_failed == len(rows)):
        raise typer.Exit(1)
