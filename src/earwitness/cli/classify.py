"""``earwitness classify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.drawing import parse_size
from earwitness.cli.lists import comma_list

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.workflows.classify import Answers, Table


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
            "could not be judged.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
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
    from earwitness.cli.devices import choose_device
    from earwitness.core.errors import WeightsError
    from earwitness.core.files import missing
    from earwitness.detectors.resnet import load_resnet
    from earwitness.passes.interrupts import held_interrupts
    from earwitness.workflows import classify as work

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
        held_interrupts() as stopping,
    ):
        answers = work.judge(tables, detector, advance=advance, stopping=stopping)
    if strict:
        work.refuse_differences(answers)
    for table in tables:
        work.write_answers(table, answers, cut)
    notes = (*work.describe_differences(answers), *work.describe_notes(answers))
    for line in (*notes, *detector.remarks):
        console.remark(line)
    _report(tables, answers, cut, detector.card)
    _finish(tables, answers, strict=strict)


def _report(tables: list[Table], answers: Answers, threshold: float, card: DetectorCard) -> None:
    from earwitness.workflows import classreports as reports

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


def _finish(tables: list[Table], answers: Answers, *, strict: bool) -> None:
    rows = [image for table in tables for image in table.images if image is not None]
    errors = [error for image in rows if (error := answers.error_of(image))]
    for reason in sorted(set(errors), key=lambda reason: -errors.count(reason))[:5]:
        first = next(i for i in rows if answers.error_of(i) == reason)
        shown = f" (as {first})" if isinstance(first, Path) else ""
        console.remark(f"{errors.count(reason)} × {reason}{shown}")
    where = " (see the column prediction_error)" if errors else ""
    scored, failed = map(console.thousands, (len(rows) - len(errors), len(errors)))
    console.out.print(f"{scored} rows judged, {failed} failed{where}")
    if errors and (strict or len(errors) == len(rows)):
        raise typer.Exit(1)
