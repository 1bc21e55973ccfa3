"""Detectors by name: the table of kinds, and opening one with its weights.

Conventions: a detector is asked for by its registered name, by the id of a hub repository
(``owner/name``), either with ``@revision`` behind it, or by a folder of weights: one that holds a
``card.json`` (trained here) or a ``config.json`` (laid out as on the hub).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from earwitness.core.cards import Backend, DetectorCard, Precision, Preprocessing
from earwitness.core.errors import DetectorError, UsageError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.core.registry import Registry
from earwitness.detectors.base import (
    CARD_JSON,
    CONFIG_JSON,
    Detector,
    DetectorKind,
    OpenOptions,
    read_card,
)
from earwitness.detectors.tensorflow_checkpoint import list_files
from earwitness.detectors.weights import find_bundle, resolve_weights, weights_shelf

DETECTORS = Registry(
    "detector",
    DetectorError,
    group="earwitness.detectors",
    accepts=lambda value: isinstance(value, DetectorKind),
    expected="a DetectorKind",
)
DETECTORS.add("specnn_amplitude", "earwitness.detectors.specnn:SPECNN")
DETECTORS.add("fakeprint", "earwitness.detectors.fakeprint:FAKEPRINT")
DETECTORS.add("resnet18", "earwitness.detectors.resnet:RESNET")

HUB_OWNER = "awsaf49/"
"""Publishes the weights of the detectors in ``HUB_NAMES``, under the same names."""
HUB_NAMES = tuple(
    f"sonics-spectttra-{size}-{duration}"
    for size in ("alpha", "beta", "gamma")
    for duration in ("5s", "120s")
)
_HUB_KIND = HUB_NAMES[0]
"""Opens weights in the hub's layout, whatever their name."""
for _name in HUB_NAMES:
    DETECTORS.add(_name, "earwitness.detectors.spectttra:SPECTTTRA")

_LOFCZ_LR = "lofcz-lr"
DETECTORS.add(_LOFCZ_LR, "earwitness.detectors.lofcz:LOFCZ_LR")
DETECTORS.add("lofcz-cnn", "earwitness.detectors.lofcz:LOFCZ_CNN")

_HUB_IDS = {name: HUB_OWNER + name for name in HUB_NAMES} | {_LOFCZ_LR: "lofcz/ai-music-detector"}
"""Repositories on the hub by registered name."""


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
    return _kind(source.kind).open(source.path, options)


def _kind(name: str) -> DetectorKind:
    kind: DetectorKind = DETECTORS.load(name)
    return kind


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
    """Return the weights of a detector and the kind that opens them; folders precede the hub.

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
        return Source(asked, published or _kind_of_layout(path), path, published)
    own = _own_weights(_kind(asked), download=download)
    return Source(asked, asked, resolve_weights(asked, weights, fetch=own))


def _own_weights(kind: DetectorKind, *, download: bool) -> Callable[[], Path] | None:
    """Return what finds the weights that come with a kind or are released with it, if any."""
    shipped, release = kind.weights, kind.release
    if shipped is not None:
        return lambda: shipped
    if release is None:
        return None
    from earwitness.detectors.releases import find_release

    return lambda: find_release(release, download=download)


def published_name(asked: str) -> str | None:
    """Return the registered name of the published weights on the hub that are asked for."""
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
        f"{folder}: no detector there, expected {CARD_JSON} (trained here) or {CONFIG_JSON} "
        "(laid out as on the hub)"
    )


def _is_hub_id(asked: str) -> bool:
    from earwitness.detectors.hub import is_hub_id

    return is_hub_id(asked)


def _hub_id(asked: str) -> str:
    name, at, revision = asked.partition("@")
    return f"{_HUB_IDS.get(name, name)}{at}{revision}"


def _take_cached(asked: str) -> Path:
    from earwitness.detectors.hub import find_cached

    if (folder := find_cached(_hub_id(asked))) is None:
        raise WeightsError("not in the cache")
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


@dataclass(frozen=True)
class Listing:
    """A detector and its weights, as far as they are here.

    Attributes:
        asked: What ``open_detector`` takes for it: a name, a hub id or a folder.
        card: Its card; ``None`` for a folder whose files cannot be read as a detector's.
        weights: Where its weights lie; ``None`` where they are not here.
        problem: Why these weights cannot be used, as far as known without opening them.
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
    return [*listings, *(_look_into(folder) for folder in _folders_of_ones_own())]


def look_up(asked: str, *, weights: Mapping[str, Path] | None = None) -> Listing:
    """Return what is known of one detector.

    Args:
        asked: A name, hub id or folder, as ``open_detector`` takes it.
        weights: Where the weights of named detectors lie.

    Raises:
        DetectorError: No such detector.
        WeightsError: A folder that holds no detector, or a hub id that is neither a published
            detector's nor in the hub's cache.
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
    options = OpenOptions(source.name, published=source.published)
    try:
        return Listing(asked, _kind(source.kind).describe(source.path, options), source.path)
    except WeightsError as error:
        card = _kind(known).describe(None, options) if known else None
        return Listing(asked, card, source.path, str(error))


def _look_into(folder: Path) -> Listing:
    try:
        return look_up(str(folder))
    except WeightsError as error:
        return Listing(str(folder), None, folder, str(error))


def _folders_of_ones_own() -> list[Path]:
    """Return folders of weights on the shelf that belong to no registered name."""
    shelf = weights_shelf()
    if shelf is None or not shelf.is_dir():
        return []
    return sorted(
        folder
        for folder in shelf.iterdir()
        if published_name(folder.name.replace("__", "/").replace("--", "@")) is None
        and folder.name not in DETECTORS
        and any((folder / name).is_file() for name in (CARD_JSON, CONFIG_JSON))
    )


_CHECKPOINT_KIND = "specnn_amplitude"
_BESIDE = (CARD_JSON, CONFIG_JSON)


def hash_weights(asked: str, weights: Mapping[str, Path]) -> dict[str, str]:
    """Return file name → SHA-256 of what a detector would be opened from.

    Args:
        asked: See ``open_detector``.
        weights: Where the weights of named detectors lie.

    Returns:
        Nothing where the weights would have to be downloaded first.

    Raises:
        DetectorError: No such detector.
        WeightsError: A file that should be there is not, or cannot be read.
    """
    try:
        source = find_source(asked, weights, download=False)
    except WeightsError:
        if asked in weights:
            raise
        return {}
    return {path.name: _hash(path) for path in _files(source)}


def _files(source: Source) -> list[Path]:
    trained = (source.path / CARD_JSON).is_file()
    if source.kind == _CHECKPOINT_KIND and not trained:
        return list_files(find_bundle(source.path))
    if source.path.is_dir():
        return sorted(p for p in source.path.iterdir() if p.is_file() and p.name[0] != ".")
    beside = (source.path.parent / name for name in _BESIDE)
    return [source.path, *(path for path in beside if path.is_file())]


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
