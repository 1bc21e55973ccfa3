"""``earwitness detectors`` and ``export``."""

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
        typer.Argument(metavar="[NAME…]", help="Names or folders of detectors to show in full."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")] = False,
) -> None:
    """List detectors and where their weights are, or how to get them.

    Nothing is downloaded. Given a name, hub id or folder, the whole card is shown.
    """
    from earwitness.cli.detector_text import listing_record, tell_card, tell_listing
    from earwitness.detectors.loading import list_detectors, look_up

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
            help="Detector folder, or a .pth or .safetensors file of a ResNet-18.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")],
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the detector, if the folder does not contain it."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Classes of outputs 0 and 1 of a ResNet-18 without a card, such as "
            "deepfake,original (in the order of the class folders).",
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="spectrogram.json with the rendering parameters, for a ResNet-18 without a card.",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="onnx; for a ResNet-18 also folder (weights with a card, as every command reads "
            "them) or published (the same with a .pth as the published training script saves it: "
            "output 0 is deepfake, the linear layer is fc.1).",
        ),
    ] = "onnx",
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Also upload the folder to the Hugging Face hub (log in with hf auth login).",
        ),
    ] = None,
) -> None:
    """Export a detector's network.

    With --format onnx, the graph is run with ONNX Runtime and its logits are compared with the
    detector's before it is written. The model card for the Hugging Face hub and the detector's own
    card are written too.
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
    from earwitness.detectors.nets.resnet18 import load_resnet
    from earwitness.images.png import read_contract

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
