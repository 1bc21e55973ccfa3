"""Card of the image network (ResNet-18), without importing torch.

A safetensors file holds its card in its metadata; a ``.pth`` has a ``card.json`` with its SHA-256.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from earwitness.core.cards import DetectorCard, TrainingItems, clips_for
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.spectrogram import PUBLISHED_NAMES, SpectrogramContract
from earwitness.detectors.base import (
    CARD_JSON,
    WEIGHTS_FILE,
    Detector,
    DetectorKind,
    OpenOptions,
    read_card,
)
from earwitness.detectors.weights import check_header

KIND = "resnet18"
STEM = "laundered_processed"
CARD_KEY = "card"
"""Metadata key of the card in a safetensors file."""


def resnet_card(
    *,
    name: str,
    images: SpectrogramContract | None,
    classes: tuple[str, ...] = PUBLISHED_NAMES,
    trained_on: tuple[str, ...] | None = None,
    selected_on: tuple[str, ...] | None = None,
    training_items: TrainingItems | None = None,
    details: dict[str, float | int | str] | None = None,
) -> DetectorCard:
    """Return the card of an image network, without a hash of weights."""
    drawn = images or SpectrogramContract()
    return DetectorCard(
        name=name,
        kind=KIND,
        summary="ResNet-18 on images of spectrograms",
        contract=clips_for(drawn),
        images=images,
        classes=classes,
        band_hz=drawn.band_hz,
        trained_on=trained_on,
        selected_on=selected_on,
        training_items=training_items,
        licence="the weights are their trainer's",
        source="He et al., CVPR 2016, Deep Residual Learning for Image Recognition",
        weights_from="trained by you: earwitness train --images DIR --out DIR",
        limits=(
            "Knows the generators and the kind of images that it was trained on. Images drawn "
            "otherwise give numbers that mean nothing."
        ),
        details=details or {},
    )


def describe_resnet(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with these weights, else raise ``WeightsError``."""
    if weights is None:
        return resnet_card(name=options.name, images=SpectrogramContract())
    path = find_weights(weights)
    card = find_card(path)
    if card is None:
        raise WeightsError(
            f"{path}: no card, expected one with its classes and spectrogram settings; earwitness "
            f"export --format folder --weights {path.name} --classes deepfake,original "
            "--contract spectrogram.json --out DIR writes one"
        )
    changes = {"name": options.name, "precision": options.precision}
    return card.model_copy(update=changes | {"weights_sha256": sha256_of(path)})


def find_weights(path: Path) -> Path:
    """Return the file of weights at a path or in a folder, else raise ``WeightsError``."""
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(f"{file}: no such file, expected weights")
    return file


def find_card(path: Path) -> DetectorCard | None:
    """Return the card of a file of weights, or ``None``.

    Raises:
        WeightsError: The file or its card cannot be read, or is another detector's.
    """
    card = _card_inside(path) if path.suffix == ".safetensors" else _card_beside(path)
    if card is not None and card.kind != KIND:
        raise WeightsError(f"{path}: card of a {card.kind!r}, expected {KIND!r}")
    return card


def _card_inside(path: Path) -> DetectorCard | None:
    check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CARD_KEY)
        return DetectorCard.model_validate_json(text) if text else None
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(f"{path}: its card cannot be read: {first['msg']}") from error


def _card_beside(path: Path) -> DetectorCard | None:
    if not (path.parent / CARD_JSON).is_file():
        return None
    card = read_card(path.parent)
    return card if sha256_of(path) in card.details.values() else None


def _open(weights: Path, options: OpenOptions) -> Detector:
    from earwitness.detectors.nets.resnet18 import open_resnet

    return open_resnet(weights, options)


RESNET = DetectorKind(describe_resnet, _open)
