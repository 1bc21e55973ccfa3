"""``earwitness detectors``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.cli import console
from earwitness.cli.options import comma_list

if TYPE_CHECKING:
    from earwitness.detectors.base import Detector


def detectors(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="Show the whole card of these: names or folders."),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON to stdout, and nothing else there.")
    ] = False,
) -> None:
    """List detectors: what they are, and where their weights are or how to get them.

    Nothing is downloaded. With a name, hub id or folder, the whole card is shown.
    """
    from earwitness.cli.detector_text import listing_record, tell_card, tell_listing
    from earwitness.detectors.catalogue import list_detectors, look_up

    listings = [look_up(name) for name in names] if names else list_detectors()
    if as_json:
        print(json.dumps([listing_record(each) for each in listings], indent=2, allow_nan=False))
        return
    tell = tell_card if names else tell_listing
    for listing in listings:
        for line in tell(listing, width=console.out.width):
            console.out.print(line)


_FORMATS = ("onnx", "folder", "published")


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
            help="What outputs 0 and 1 of a ResNet-18 without a card stand for, such as "
            "deepfake,original (the order of class folders).",
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A spectrogram.json that says how images are drawn, for a ResNet-18 without a "
            "card.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="onnx; for a ResNet-18 also folder (with a card, as every command takes it) or "
            "published (the same, its .pth in the shape of the published training script: output 0 "
            "is the deepfake, the linear layer is fc.1).",
        ),
    ] = "onnx",
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the folder to the Hugging Face hub, too (log in with hf auth login).",
        ),
    ] = None,
) -> None:
    """Write a detector's network for use elsewhere.

    With --format onnx the graph is run with ONNX Runtime before it takes its place; logits must be
    those of the detector. Beside it: a model card as the Hugging Face hub has it, and the
    detector's own.
    """
    from earwitness.core.errors import UsageError
    from earwitness.detectors.export import ONNX_FILE, push_folder, write_folder, write_onnx

    if format_ not in _FORMATS:
        raise UsageError(f"--format {format_}: expected {', '.join(_FORMATS)}")
    opened = _open(weights, detector, classes, contract)
    for line in opened.remarks:
        console.remark(line)
    if format_ == "onnx":
        gap = write_onnx(opened, out)
        done = f"{out / ONNX_FILE}: logits differ from the detector's by {gap:.1g} at most"
    else:
        path = write_folder(opened, out, published=format_ == "published")
        done = f"{path}: use it with --detector {out}"
    console.out.print(done, markup=False)
    if push_to_hub:
        console.out.print(f"uploaded to {push_folder(out, push_to_hub)}", markup=False)


def _open(
    weights: Path, detector: str | None, classes: str | None, contract: Path | None
) -> Detector:
    from earwitness.core.errors import UsageError, WeightsError
    from earwitness.core.io import missing
    from earwitness.detectors.loading import open_detector
    from earwitness.detectors.resnet import load_resnet
    from earwitness.images.items import read_contract

    if not weights.exists():
        raise WeightsError(f"--weights {missing(weights)}")
    if detector is None and not weights.is_dir():
        return load_resnet(
            weights,
            classes=tuple(comma_list([classes])) if classes else None,
            images=read_contract(contract) if contract else None,
        )
    if classes or contract:
        raise UsageError("--classes and --contract: expected with a .pth or safetensors alone")
    if detector is not None:
        return open_detector(detector, weights={detector: weights})
    return open_detector(str(weights))
