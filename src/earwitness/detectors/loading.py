"""Registry of detectors, and opening one with its weights.

A detector is given by its registered name or a hub id (``owner/name``), either with ``@revision``,
or by a folder with a ``card.json`` (trained here), a ``config.json`` (laid out as on the hub) or a
``detector.yaml`` (of others, see ``described``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from earwitness.core.cards import Backend, DetectorCard, Precision, Preprocessing
from earwitness.core.errors import DetectorError, RunError, UsageError, WeightsError
from earwitness.core.io import cache_folder, sha256_of
from earwitness.core.registry import Registry
from earwitness.detectors.base import (
    CARD_JSON,
    CONFIG_JSON,
    AnyDetector,
    DetectorKind,
    Explain,
    OpenOptions,
    Release,
    read_card,
)
from earwitness.detectors.described import DETECTOR_YAML, HF_PREFIX, find_described
from earwitness.detectors.tensorflow_checkpoint import list_files
from earwitness.detectors.weights import find_bundle, resolve_weights, weights_folder

DETECTORS = Registry(
    "detector",
    DetectorError,
    group="earwitness.detectors",
    accepts=lambda value: isinstance(value, DetectorKind),
    expected="a DetectorKind",
)
DETECTORS.add("comb", "earwitness.detectors.comb:COMB")
DETECTORS.add("box", "earwitness.detectors.box:BOX")
DETECTORS.add("specnn_amplitude", "earwitness.detectors.specnn:SPECNN")
DETECTORS.add("fakeprint", "earwitness.detectors.fakeprint:FAKEPRINT")
DETECTORS.add("resnet18", "earwitness.detectors.resnet:RESNET")

HUB_NAMES = tuple(
    f"sonics-spectttra-{size}-{duration}"
    for size in ("alpha", "beta", "gamma")
    for duration in ("5s", "120s")
)
_HUB_KIND = HUB_NAMES[0]
for _name in HUB_NAMES:
    DETECTORS.add(_name, "earwitness.detectors.spectttra:SPECTTTRA")

_LOFCZ_LR = "lofcz-lr"
DETECTORS.add(_LOFCZ_LR, "earwitness.detectors.lofcz:LOFCZ_LR")
DETECTORS.add("lofcz-cnn", "earwitness.detectors.lofcz:LOFCZ_CNN")

_HUB_IDS = {name: f"awsaf49/{name}" for name in HUB_NAMES} | {_LOFCZ_LR: "lofcz/ai-music-detector"}
"""Registered name → hub id."""

_DESCRIBED = Registry("kind of detector", DetectorError)
"""Kinds that ``detector.yaml`` or the hub describes; their names are not those of detectors."""
_DESCRIBED.add("onnx", "earwitness.detectors.onnx_file:ONNX_FILE")
_DESCRIBED.add("http", "earwitness.detectors.service:SERVICE")
_DESCRIBED.add("hf", "earwitness.detectors.hf:HF")
_DESCRIBED.add("command", "earwitness.detectors.command:COMMAND")

GITHUB_SERVER = "EARWITNESS_GITHUB"
"""Environment variable: address of a mirror of ``raw.githubusercontent.com``."""


def open_detector(
    asked: str,
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    n_encoders: int = 10,
    preprocessing: Preprocessing = "correct",
    precision: Precision = "fp32",
    backend: Backend = "torch",
    max_requests: int | None = None,
    fake_label: str | None = None,
) -> AnyDetector:
    """Open a detector by its registered name, its hub id or its folder.

    Args:
        asked: ``specnn_amplitude``, ``sonics-spectttra-alpha-5s``, …;
            ``awsaf49/sonics-spectttra-alpha-5s@main``; or a folder.
        weights: Detector name → path of its weights.
        device: Torch's device name, or ``auto``.
        n_encoders: Number of classes of the encoder head, if there is one.
        preprocessing: ``correct``, or ``published`` as in the published loader, where they differ.
        precision: Precision of the network, if there is one.
        backend: Library that runs the network, if there is one.
        max_requests: Maximum number of requests to a service, if it is one.
        fake_label: Name of the fake class of an ``hf:`` classifier, where names are unclear.

    Raises:
        DetectorError: No such detector.
        WeightsError: Its weights are missing, damaged or do not fit.
    """
    source = find_source(asked, weights or {})
    options = OpenOptions(
        source.name,
        device,
        n_encoders,
        preprocessing,
        precision,
        backend,
        source.published,
        source.target,
        max_requests,
        fake_label,
    )
    return _kind(source.kind).open(source.path, options)


def _kind(name: str) -> DetectorKind:
    kind: DetectorKind = (_DESCRIBED if name in _DESCRIBED else DETECTORS).load(name)
    return kind


def find_explain(card: DetectorCard) -> Explain | None:
    """Return what shows a finding of a detector, if its kind is known and offers that."""
    return _kind(card.kind).explain if card.kind in DETECTORS else None


class Source(NamedTuple):
    """Weights of a detector: output name, registered kind, path and published name, if any.

    Of a detector that is described, ``path`` is its ``detector.yaml``; see ``Described``.
    """

    name: str
    kind: str
    path: Path
    published: str | None = None
    target: str | None = None


def find_source(asked: str, weights: Mapping[str, Path], *, download: bool = True) -> Source:
    """Return the weights of a detector and the kind that opens them; folders precede the hub.

    Args:
        asked: See ``open_detector``.
        weights: Detector name → path of its weights.
        download: Whether to download weights; else the caches are used.

    Raises:
        DetectorError: No such detector.
        WeightsError: No weights found.
    """
    if asked.startswith(HF_PREFIX):
        from earwitness.detectors.hf import find_folder

        folder = find_folder(asked, weights.get(asked), download=download)
        return Source(detector_name(asked, weights), "hf", folder)
    if asked not in DETECTORS and (found := find_described(asked, weights.get(asked))):
        if found.kind not in _DESCRIBED:
            known = ", ".join(_DESCRIBED)
            raise WeightsError(f"{found.path}: kind: found {found.kind!r}, expected {known}")
        if found.kind == "hf":
            return Source(found.name, "hf", found.path.parent)
        return Source(found.name, found.kind, found.path, target=found.target)
    if asked not in DETECTORS and Path(asked).is_dir():
        return _folder_source(Path(asked))
    from earwitness.detectors.hub import is_hub_id

    if (published := published_name(asked)) or is_hub_id(asked):
        path = resolve_weights(asked, weights, fetch=lambda: _fetch(asked, download=download))
        return Source(asked, published or _kind_of_layout(path), path, published)
    kind, fetch = _kind(asked), None
    if kind.weights is not None:
        fetch = partial(Path, kind.weights)
    elif kind.release is not None:
        fetch = partial(find_release, kind.release, download=download)
    return Source(asked, asked, resolve_weights(asked, weights, fetch=fetch))


def detector_name(asked: str, weights: Mapping[str, Path]) -> str:
    """Return the output name of a detector, without opening it; see ``open_detector``."""
    if asked.startswith(HF_PREFIX):
        folder = weights.get(asked, Path(asked.removeprefix(HF_PREFIX)))
        beside = find_described(str(folder), None)
        return beside.name if beside else asked
    if asked not in DETECTORS and (found := find_described(asked, weights.get(asked))):
        return found.name
    return Path(asked).resolve().name if Path(asked).is_absolute() else asked


def published_name(asked: str) -> str | None:
    """Return the registered name of published weights on the hub, given a name or hub id."""
    stem = asked.partition("@")[0]
    return next((name for name, hub_id in _HUB_IDS.items() if stem in (name, hub_id)), None)


def _kind_of_layout(path: Path) -> str:
    """Return the registered name that opens weights in the hub's layout."""
    from earwitness.detectors.lofcz_weights import is_logistic_regression

    folder = path if path.is_dir() else path.parent
    return _LOFCZ_LR if is_logistic_regression(folder / CONFIG_JSON) else _HUB_KIND


def _folder_source(folder: Path) -> Source:
    name = folder.resolve().name
    if (folder / CARD_JSON).is_file():
        return Source(name, read_card(folder).kind, folder)
    if (folder / CONFIG_JSON).is_file():
        return Source(name, _kind_of_layout(folder), folder)
    raise WeightsError(
        f"{folder}: no detector there, expected {CARD_JSON} (trained here), {CONFIG_JSON} "
        f"(laid out as on the hub) or {DETECTOR_YAML}"
    )


def _fetch(asked: str, *, download: bool) -> Path:
    """Return the folder of weights on the hub, given a published name or a hub id."""
    from earwitness.detectors.hub import fetch_folder, find_cached

    name, at, revision = asked.partition("@")
    hub_id = f"{_HUB_IDS.get(name, name)}{at}{revision}"
    if not download:
        if (folder := find_cached(hub_id)) is None:
            raise WeightsError("not in the cache")
        return folder
    try:
        return fetch_folder(hub_id)
    except WeightsError as error:
        prefix = "no folder of that name here, and " if "/" in asked else ""
        raise WeightsError(f"{prefix}{error}") from error


def find_release(release: Release, *, download: bool = True) -> Path:
    """Return the file of a release, from the cache or downloaded.

    Raises:
        WeightsError: It is not in the cache and cannot be downloaded, or has another SHA-256.
    """
    folder = cache_folder()
    if folder is None:
        raise WeightsError("no cache folder, expected one in EARWITNESS_CACHE")
    path = folder / "weights" / f"{release.sha256}{PurePosixPath(release.path).suffix}"
    if path.is_file() and sha256_of(path) == release.sha256:
        return path
    if not download:
        raise WeightsError(f"not downloaded yet ({path.parent} does not contain it)")
    from earwitness.core.downloads import DownloadError, fetch_file

    server = os.environ.get(GITHUB_SERVER, "https://raw.githubusercontent.com").rstrip("/")
    url = f"{server}/{release.path}"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise WeightsError(f"{url} is not requested (HF_HUB_OFFLINE is set)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch_file(url, path, sha256_start=release.sha256, max_bytes=release.n_bytes)
    except (DownloadError, RunError, OSError) as error:
        raise WeightsError(f"{url}: download failed: {error}") from error
    return path


def check_names(detectors: list[AnyDetector]) -> list[AnyDetector]:
    """Return detectors if there are any and their names are unique, else raise ``UsageError``."""
    names = [detector.card.name for detector in detectors]
    if not names:
        raise UsageError(f"no detector asked for, expected one or more of {', '.join(DETECTORS)}")
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise UsageError(f"two detectors are named {duplicates[0]!r}; rename one of the folders")
    return detectors


@dataclass(frozen=True)
class Listing:
    """A detector and its local weights.

    Attributes:
        asked: Name, hub id or folder, for ``open_detector``.
        card: Its card; ``None`` for a folder that is not a detector's.
        weights: Path of its weights, if they are on this machine.
        problem: Why the weights cannot be used, as far as known without opening them.
    """

    asked: str
    card: DetectorCard | None
    weights: Path | None = None
    problem: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether it can be opened without a download."""
        return self.weights is not None and self.problem is None


def list_detectors() -> list[Listing]:
    """Return every registered detector, then the folders of weights in ``$EARWITNESS_WEIGHTS``."""
    listings = []
    for name in DETECTORS:
        with DETECTORS.tolerate(name):
            listings.append(look_up(name))
    for folder in _local_folders():
        try:
            listings.append(look_up(str(folder)))
        except WeightsError as error:
            listings.append(Listing(str(folder), None, folder, str(error)))
    return listings


def look_up(asked: str, *, weights: Mapping[str, Path] | None = None) -> Listing:
    """Return the listing of one detector.

    Args:
        asked: Name, hub id or folder.
        weights: Detector name → path of its weights.

    Raises:
        DetectorError: No such detector.
        WeightsError: A folder without a detector, or a hub id that is neither published nor
            cached.
    """
    published = published_name(asked)
    known = published or (asked if asked in DETECTORS else None)
    options = OpenOptions(asked, published=published)
    try:
        source = find_source(asked, weights or {}, download=False)
    except WeightsError:
        if known is None or asked in (weights or {}):
            raise
        return Listing(asked, _kind(known).describe(None, options))
    options = OpenOptions(source.name, published=source.published, target=source.target)
    try:
        return Listing(asked, _kind(source.kind).describe(source.path, options), source.path)
    except WeightsError as error:
        card = _kind(known).describe(None, options) if known else None
        return Listing(asked, card, source.path, str(error))


def _local_folders() -> list[Path]:
    """Return folders in ``$EARWITNESS_WEIGHTS`` that belong to no registered name."""
    root = weights_folder()
    if root is None or not root.is_dir():
        return []
    return sorted(
        folder
        for folder in root.iterdir()
        if published_name(folder.name.replace("__", "/").replace("--", "@")) is None
        and folder.name not in DETECTORS
        and any((folder / name).is_file() for name in (CARD_JSON, CONFIG_JSON, DETECTOR_YAML))
    )


def hash_weights(asked: str, weights: Mapping[str, Path]) -> dict[str, str]:
    """Return file name → SHA-256 of a detector's files, empty if they are not downloaded yet.

    Args:
        asked: See ``open_detector``.
        weights: Detector name → path of its weights.

    Raises:
        DetectorError: No such detector.
        WeightsError: A file is missing or cannot be read.
    """
    try:
        source = find_source(asked, weights, download=False)
    except WeightsError:
        if asked in weights:
            raise
        return {}
    return {path.name: _hash(path) for path in _files(source)}


def _files(source: Source) -> list[Path]:
    if source.kind == "onnx":
        from earwitness.detectors.onnx_file import model_file

        return [source.path, model_file(source.path, source.target)]
    if source.kind == "command":
        from earwitness.detectors.command import list_programs

        return [source.path, *list_programs(source.path)]
    if source.kind == "http":
        return [source.path]
    trained = (source.path / CARD_JSON).is_file()
    if source.kind == "specnn_amplitude" and not trained:
        return list_files(find_bundle(source.path))
    if source.path.is_dir():
        return sorted(p for p in source.path.iterdir() if p.is_file() and p.name[0] != ".")
    beside = (source.path.parent / name for name in (CARD_JSON, CONFIG_JSON))
    return [source.path, *(path for path in beside if path.is_file())]


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
