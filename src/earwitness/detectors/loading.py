"""Detectors by name: the table of kinds, and opening one with its weights.

Conventions: a detector is asked for by its registered name, by the id of a hub repository
(``owner/name``), either with ``@revision`` behind it, or by a folder of weights: one that holds a
``card.json`` (trained here) or a ``config.json`` (laid out as on the hub).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from earwitness.core.cards import Backend, DetectorCard, Precision, Preprocessing
from earwitness.core.errors import DetectorError, UsageError, WeightsError
from earwitness.core.io import write_json
from earwitness.core.registry import Registry
from earwitness.detectors.base import Detector
from earwitness.detectors.spectttra_config import CONFIG_JSON
from earwitness.detectors.weights import resolve_weights

CARD_JSON = "card.json"

DETECTORS = Registry("detector", DetectorError)
"""Every kind of detector: its name and the function that opens it."""
DETECTORS.add("specnn_amplitude", "earwitness.detectors.specnn:open_specnn")
DETECTORS.add("fakeprint", "earwitness.detectors.fakeprint:open_fakeprint")
DETECTORS.add("resnet18", "earwitness.detectors.resnet:open_resnet")

CARDS = Registry("detector", DetectorError)
"""The same names and the function that tells a detector's card without loading PyTorch."""
CARDS.add("specnn_amplitude", "earwitness.detectors.specnn_card:describe_specnn")
CARDS.add("fakeprint", "earwitness.detectors.fakeprint_card:describe_fakeprint")
CARDS.add("resnet18", "earwitness.detectors.resnet_card:describe_resnet")

HUB_OWNER = "awsaf49/"
"""Who publishes the weights of the detectors in ``HUB_NAMES``, under the same names."""
HUB_NAMES = tuple(
    f"sonics-spectttra-{size}-{duration}"
    for size in ("alpha", "beta", "gamma")
    for duration in ("5s", "120s")
)
_HUB_KIND = HUB_NAMES[0]
"""What opens weights that are laid out as on the hub, whatever their name."""
for _name in HUB_NAMES:
    DETECTORS.add(_name, "earwitness.detectors.sonics:open_sonics")
    CARDS.add(_name, "earwitness.detectors.sonics_card:describe_sonics")


@dataclass(frozen=True)
class OpenOptions:
    """How to open a detector.

    Attributes:
        name: The name it goes by in the output.
        device: Where its network runs, as PyTorch names it.
        n_encoders: Classes of the encoder head, for detectors that have one.
        preprocessing: How audio is made ready, for detectors that have a choice.
        precision: What its network computes in, for detectors that have one.
        backend: What computes its network, for detectors that have one.
        published: The registered name whose published weights these are said to be.
    """

    name: str
    device: str = "cpu"
    n_encoders: int = 10
    preprocessing: Preprocessing = "correct"
    precision: Precision = "fp32"
    backend: Backend = "torch"
    published: str | None = None


def open_detector(
    asked: str,
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    n_encoders: int = 10,
    preprocessing: Preprocessing = "correct",
    precision: Precision = "fp32",
    backend: Backend = "torch",
) -> Detector:
    """Open a detector by its registered name, its hub id or its folder.

    Args:
        asked: ``specnn_amplitude``, ``sonics-spectttra-alpha-5s``, …;
            ``awsaf49/sonics-spectttra-alpha-5s@main``; or a folder, see above.
        weights: Where the weights of named detectors lie.
        device: Where its network runs, as PyTorch names it.
        n_encoders: Classes of the encoder head, for detectors that have one.
        preprocessing: ``correct``, or ``published`` for what the published loader did, for
            detectors that have a choice; their cards say which one they use.
        precision: What its network computes in, for detectors that have one.
        backend: What computes its network, for detectors that have one.

    Raises:
        DetectorError: No such detector.
        WeightsError: Its weights are missing, damaged or do not fit.
    """
    source = find_source(asked, weights or {})
    options = OpenOptions(
        source.name, device, n_encoders, preprocessing, precision, backend, source.published
    )
    detector: Detector = DETECTORS.load(source.kind)(source.path, options)
    return detector


class Source(NamedTuple):
    """What was asked for, found.

    Attributes:
        name: The name it goes by in the output.
        kind: The registered name of the code that opens it.
        path: Its weights.
        published: The registered name whose published weights these are said to be.
    """

    name: str
    kind: str
    path: Path
    published: str | None = None


def find_source(asked: str, weights: Mapping[str, Path], *, download: bool = True) -> Source:
    """Return where a detector's weights lie and what opens them; a folder comes before the hub.

    Args:
        asked: See ``open_detector``.
        weights: Where the weights of named detectors lie.
        download: Ask the hub; otherwise what its cache holds is taken.

    Raises:
        DetectorError: No such detector.
        WeightsError: There are no weights where they are looked for.
    """
    if asked not in DETECTORS and Path(asked).is_dir():
        return _folder_source(Path(asked))
    published = published_name(asked)
    if published or _is_hub_id(asked):
        fetch = _fetch if download else _take_cached
        path = resolve_weights(asked, weights, fetch=lambda: fetch(asked))
        return Source(asked, published or _HUB_KIND, path, published)
    CARDS.load(asked)  # an unknown name is told before its weights are looked for
    return Source(asked, asked, resolve_weights(asked, weights))


def published_name(asked: str) -> str | None:
    """Return the registered name of the published weights on the hub that are asked for."""
    known = asked.partition("@")[0].removeprefix(HUB_OWNER)
    return known if known in HUB_NAMES else None


def _folder_source(folder: Path) -> Source:
    name = folder.resolve().name
    if (folder / CARD_JSON).is_file():
        return Source(name, read_card(folder).kind, folder)
    if (folder / CONFIG_JSON).is_file():
        return Source(name, _HUB_KIND, folder)
    raise WeightsError(
        f"{folder}: no detector there, expected {CARD_JSON} (trained here) or {CONFIG_JSON} "
        "(laid out as on the hub)"
    )


def _is_hub_id(asked: str) -> bool:
    from earwitness.detectors.hub import is_hub_id

    return is_hub_id(asked)


def _hub_id(asked: str) -> str:
    return asked if "/" in asked else HUB_OWNER + asked


def _take_cached(asked: str) -> Path:
    from earwitness.detectors.hub import find_cached

    if (folder := find_cached(_hub_id(asked))) is None:
        raise WeightsError("the hub's cache does not hold it")
    return folder


def _fetch(asked: str) -> Path:
    from earwitness.detectors.hub import fetch_folder

    if "/" not in asked:
        return fetch_folder(_hub_id(asked))
    try:
        return fetch_folder(asked)
    except WeightsError as error:
        raise WeightsError(f"no folder of that name here, and {error}") from error


def open_detectors(
    asked: Iterable[str],
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    n_encoders: int = 10,
    preprocessing: Preprocessing = "correct",
    precision: Precision = "fp32",
    backend: Backend = "torch",
) -> list[Detector]:
    """Open several detectors, see ``open_detector``.

    Raises:
        UsageError: None was asked for, or two go by one name.
    """
    detectors = [
        open_detector(
            name,
            weights=weights,
            device=device,
            n_encoders=n_encoders,
            preprocessing=preprocessing,
            precision=precision,
            backend=backend,
        )
        for name in asked
    ]
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
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as a detector's card ({error})") from error


def write_card(card: DetectorCard, folder: Path) -> None:
    """Write a card as ``card.json``, atomically."""
    write_json(folder / CARD_JSON, card.model_dump(mode="json"))
