"""``earwitness detectors`` and ``export``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from earwitness.cli import console
from earwitness.cli.options import Classes, comma_list, option, switch
from earwitness.core.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from earwitness.core.cards import DetectorCard
    from earwitness.detectors.base import Detector
    from earwitness.detectors.loading import Listing
    from earwitness.evaluation.stress import Matrix


def detectors(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Names, hub ids or folders of detectors to show in full."
        ),
    ] = None,
    *,
    stress: Annotated[
        Path | None,
        option("DIR", "Folder of a stress test; show what it measured of each detector, too."),
    ] = None,
    as_json: Annotated[bool, switch("--json", "Print JSON to stdout.")] = False,
) -> None:
    """List detectors with the location of their weights, or how to get them.

    Nothing is downloaded.
    """
    from earwitness.detectors.loading import list_detectors, look_up

    listings = [look_up(name) for name in names] if names else list_detectors()
    measured = [_measured(stress, listing) for listing in listings] if stress else None
    if as_json:
        records = list(map(_listing_record, listings))
        for record, matrix in zip(records, measured or (), strict=bool(measured)):
            record["stress"] = matrix.model_dump(mode="json")
        print(json.dumps(records, indent=2, allow_nan=False))
        return
    for at, listing in enumerate(listings):
        for line in _describe(listing, width=console.out.width, in_full=bool(names)):
            console.out.print(line)
        if measured:
            _print_measured(measured[at])


def _measured(folder: Path, listing: Listing) -> Matrix:
    """Return the rows of a detector in a stress test."""
    from earwitness.evaluation.stress import STRESS_JSON, read_matrix

    matrix = read_matrix(folder / STRESS_JSON if folder.is_dir() else folder)
    name = listing.card.name if listing.card else listing.asked
    own = {
        part: [row for row in getattr(matrix, part) if row.detector == name]
        for part in ("rows", "sensitivity")
    }
    if not own["rows"]:
        tested = ", ".join(dict.fromkeys(row.detector for row in matrix.rows))
        raise UsageError(f"{folder}: no row of {name}, expected one of {tested or 'none'}")
    return type(matrix).model_validate(dict(matrix) | own)


def _print_measured(matrix: Matrix) -> None:
    from earwitness.report.stress import describe_sensitivity, sensitivity_table, stress_table

    for table in (stress_table(matrix), sensitivity_table(matrix)):
        if table.rows:
            console.out.print(table, "")
    for text in describe_sensitivity(matrix):
        console.out.print(text)


def _describe(listing: Listing, *, width: int, in_full: bool) -> list[Text]:
    """Return the lines on one detector: its whole card, or a summary."""
    card = listing.card
    heading = Text(listing.asked, style="bold")
    fields = [("weights", _weights(listing))]
    if card is not None and in_full:
        fields += _fields(card)
    elif card is not None:
        heading.append(f"  {card.summary}" if card.summary else "", style="not bold")
        origin = _origin(listing.weights is not None, card)
        fields += [("input", _contract(card)), ("licence", card.licence), *origin]
        fields.append(("limits", card.limits))
    return [heading, *console.labelled_lines(fields, width), Text()]


def _listing_record(listing: Listing) -> dict[str, Any]:
    """Return the JSON record of a detector."""
    return {
        "detector": listing.asked,
        "is_here": listing.is_here,
        "weights": None if listing.weights is None else str(listing.weights),
        "problem": listing.problem,
        "card": None if listing.card is None else card_record(listing.card),
    }


def card_record(card: DetectorCard) -> dict[str, Any]:
    """Return the JSON record of a card, without the hashes of training items."""
    hashes = {"training_items": {"item_sha256", "group_sha256"}}
    return card.model_dump(mode="json", exclude=hashes)


def _weights(listing: Listing) -> str:
    card = listing.card
    if listing.problem is not None:
        return f"cannot be used: {listing.problem}"
    if listing.weights is None or card is None:
        return f"not available; {card.weights_from if card else ''}"
    return f"{listing.weights} (SHA-256 {(card.weights_sha256 or '')[:12]}…)"


def _fields(card: DetectorCard) -> Iterator[tuple[str, str]]:
    yield "name", card.name
    yield "kind", card.kind
    yield "summary", card.summary or "none"
    yield "input", _contract(card)
    yield "preprocessing", card.preprocessing
    band_hz = card.band_hz
    yield "band", f"{band_hz[0]:g} to {band_hz[1]:g} Hz" if band_hz else "unknown"
    yield "needs", f"{card.needs.min_level_dbfs:g} dBFS in its band, else it abstains"
    is_probability = card.score_kind == "probability"
    yield "score", "a calibrated probability" if is_probability else "uncalibrated, no probability"
    yield "threshold", f"{card.threshold:g}"
    rate = card.false_positives
    counts = rate and f"{rate.n_flagged} of {rate.n_items}, {rate.corpus}"
    yield "false positives", counts or "unknown"
    seen = (card.invariances or {}).items()
    yield "logit changes", "; ".join(f"{v:g} by {name}" for name, v in seen) or "unknown"
    yield "finds", _names(card.known_kinds)
    yield "misses", _names(card.unknown_kinds)
    if card.encoders:
        yield "encoders", ", ".join(card.encoders)
    yield from _origin(card.weights_sha256 is not None, card)
    if card.training_items is not None:
        items = card.training_items
        yield "training items", f"{items.n_items}, manifest digest {items.manifest_digest}"
    yield "licence", card.licence
    yield "source", card.source
    yield "get weights", card.weights_from or "unknown"
    yield "limits", card.limits
    yield "SHA-256", card.weights_sha256 or "unknown until the weights are available"
    for name, value in card.details.items():
        yield name, str(value)


def _names(kinds: Sequence[str] | None) -> str:
    return "unknown" if kinds is None else ", ".join(kinds) or "none"


def _contract(card: DetectorCard) -> str:
    contract = card.contract
    if contract.reads_files:
        return "whole files, read by the detector"
    rate_hz = contract.sample_rate_hz
    if contract.clip_samples:
        length = f"clips of {contract.clip_samples / rate_hz:.3g} s"
    elif contract.max_samples:
        length = f"whole files up to {contract.max_samples / rate_hz:g} s"
    else:
        length = "whole files"
    native = " (files are not resampled)" if contract.native_rate else ""
    native = " (resampled by the detector)" if contract.resampled_by else native
    return f"{length} at {rate_hz} Hz{native}"


def _origin(is_here: bool, card: DetectorCard) -> list[tuple[str, str]]:
    """Return its training and selection data, as far as known without its weights."""
    if not is_here and card.trained_on is None:
        return [("trained on", "depends on the weights")]
    return [("trained on", _known(card.trained_on)), ("selected on", _known(card.selected_on))]


def _known(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "unknown"
    return "; ".join(names) or "nothing"


def export(
    *,
    weights: Annotated[
        Path, option("PATH", "Detector folder, or a .pth or .safetensors file of a ResNet-18.")
    ],
    out: Annotated[Path, option("DIR", "Output folder.")],
    detector: Annotated[
        str | None, option("NAME", "Name of the detector, if the folder does not contain it.")
    ] = None,
    classes: Classes = None,
    contract: Annotated[
        Path | None,
        option(
            "FILE",
            "spectrogram.json with the rendering parameters, for a ResNet-18 without a card.",
        ),
    ] = None,
    format_: Annotated[
        Literal["onnx", "folder", "published"],
        typer.Option(
            "--format",
            help="onnx; for a ResNet-18 also folder (weights with a card, for the other commands) "
            "or published (the same with a .pth as saved by the published training script: output "
            "0 is deepfake, the linear layer is fc.1).",
        ),
    ] = "onnx",
    push_to_hub: Annotated[
        str | None,
        option(
            "OWNER/NAME", "Also upload the folder to the Hugging Face hub (after hf auth login)."
        ),
    ] = None,
) -> None:
    """Export a detector's network, with its card and a model card for the Hugging Face hub.

    With --format onnx, the logits of ONNX Runtime are compared with the detector's first.
    """
    from earwitness.detectors.export import ONNX_FILE, push_folder, write_folder, write_onnx

    opened = _open(weights, detector, classes, contract)
    console.remark(*opened.remarks)
    if format_ == "onnx":
        gap = write_onnx(opened, out)
        done = f"{out / ONNX_FILE}: logits differ from the detector's by at most {gap:.1g}"
    else:
        path = write_folder(opened, out, published=format_ == "published")
        done = f"{path}: use it with --detector {out}"
    console.echo(done)
    if push_to_hub:
        console.echo(f"uploaded to {push_folder(out, push_to_hub)}")


def _open(
    weights: Path, detector: str | None, classes: str | None, contract: Path | None
) -> Detector:
    from earwitness.core.io import missing
    from earwitness.detectors.base import FileDetector
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
        raise UsageError("--classes and --contract: expected only with a .pth or .safetensors file")
    given = {detector: weights} if detector is not None else {}
    opened = open_detector(detector or str(weights), weights=given)
    if isinstance(opened, FileDetector):
        raise UsageError(f"{opened.card.name}: reads files itself and has no network to export")
    return opened
