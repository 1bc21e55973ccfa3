"""``earwitness export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.lists import comma_list

if TYPE_CHECKING:
    from earwitness.detectors.base import Detector


def export(
    *,
    weights: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="Weights: a folder of a detector's, or a .pth or safetensors of a ResNet-18.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for what is written.")],
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose weights they are, where the folder does not tell."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What the outputs of a ResNet-18 without a card stand for, in order.",
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", metavar="NAME", help="onnx.")] = "onnx",
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the folder to the Hugging Face hub, too (log in with hf auth login).",
        ),
    ] = None,
) -> None:
    """Write a detector's network for use elsewhere.

    The graph is run with ONNX Runtime before it takes its place; logits must be those of the
    detector. Beside it: a model card as the Hugging Face hub has it, and the detector's own.
    """
    from earwitness.core.errors import UsageError
    from earwitness.workflows.export import ONNX_FILE, push_folder, write_onnx

    if format_ != "onnx":
        raise UsageError(f"--format {format_}: expected onnx")
    opened = _open(weights, detector, classes)
    gap = write_onnx(opened, out)
    console.out.print(
        f"{out / ONNX_FILE}: logits differ from the detector's by {gap:.1g} at most", markup=False
    )
    if push_to_hub:
        console.out.print(f"uploaded to {push_folder(out, push_to_hub)}", markup=False)


def _open(weights: Path, detector: str | None, classes: str | None) -> Detector:
    from earwitness.core.errors import WeightsError
    from earwitness.core.files import missing
    from earwitness.detectors.opening import open_detector
    from earwitness.detectors.resnet import load_resnet

    if not weights.exists():
        raise WeightsError(f"--weights {missing(weights)}")
    if detector is not None:
        return open_detector(detector, weights={detector: weights})
    if weights.is_dir():
        return open_detector(str(weights))
    return load_resnet(weights, classes=tuple(comma_list([classes])) if classes else None)
