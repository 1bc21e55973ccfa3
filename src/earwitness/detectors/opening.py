"""Detectors by name: the table of kinds, and opening one with its weights.

Conventions: a detector is asked for by its registered name, or by a folder of weights that
holds a ``card.json`` (one that was trained here).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, UsageError, WeightsError
from earwitness.core.files import write_json
from earwitness.core.registry import Registry
from earwitness.detectors.base import Detector
from earwitness.detectors.weights import resolve_weights

CARD_JSON = "card.json"

DETECTORS = Registry("detector", DetectorError)
"""Every kind of detector: its name and the function that opens it."""
DETECTORS.add("specnn_amplitude", "earwitness.detectors.speccnn:open_specnn")
DETECTORS.add("fakeprint", "earwitness.detectors.fakeprint:open_fakeprint")


@dataclass(frozen=True)
class OpenOptions:
    """How to open a detector.

    Attributes:
        name: The name it goes by in the output.
        device: Where its network runs, as PyTorch names it.
        n_encoders: Classes of the encoder head, for detectors that have one.
    """

    name: str
    device: str = "cpu"
    n_encoders: int = 10


def open_detector(
    asked: str,
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    n_encoders: int = 10,
) -> Detector:
    """Open a detector by its registered name or by its folder.

    Args:
        asked: ``specnn_amplitude``, ``fakeprint``, … or a folder that holds a ``card.json``.
        weights: Where the weights of named detectors lie.
        device: Where its network runs, as PyTorch names it.
        n_encoders: Classes of the encoder head, for detectors that have one.

    Raises:
        DetectorError: No such detector.
        WeightsError: Its weights are missing, damaged or do not fit.
    """
    folder = Path(asked)
    if asked not in DETECTORS and (folder / CARD_JSON).is_file():
        kind, name, path = read_card(folder).kind, folder.resolve().name, folder
    else:
        kind, name = asked, asked
        DETECTORS.load(kind)  # an unknown name is told before its weights are looked for
        path = resolve_weights(name, weights or {})
    detector: Detector = DETECTORS.load(kind)(path, OpenOptions(name, device, n_encoders))
    return detector


def open_detectors(
    asked: Iterable[str],
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    n_encoders: int = 10,
) -> list[Detector]:
    """Open several detectors, see ``open_detector``.

    Raises:
        UsageError: None was asked for, or two go by one name.
    """
    options = {"weights": weights, "device": device, "n_encoders": n_encoders}
    detectors = [open_detector(name, **options) for name in asked]  # type: ignore[arg-type]
    names = [detector.card.name for detector in detectors]
    if not names:
        raise UsageError(f"no detector asked for, expected one or more of {', '.join(DETECTORS)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two detectors go by the name {twice[0]!r}; rename one of the folders")
    return detectors


def read_card(folder: Path) -> DetectorCard:
    """Read the ``card.json`` of a folder of weights.

    Raises:
        WeightsError: It cannot be read or is no card.
    """
    path = folder / CARD_JSON
    try:
        return DetectorCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a detector's card ({error})") from error


def write_card(card: DetectorCard, folder: Path) -> None:
    """Write a card as ``card.json``, atomically."""
    write_json(folder / CARD_JSON, card.model_dump(mode="json"))
