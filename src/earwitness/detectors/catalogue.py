"""Which detectors there are and where their weights would come from, without opening any.

Conventions: nothing is downloaded and PyTorch is not loaded. Where weights are found, the card is
the one that the detector opened with them would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.loading import (
    CARD_JSON,
    CARDS,
    DETECTORS,
    OpenOptions,
    Source,
    find_source,
    published_name,
)
from earwitness.detectors.spectttra_config import CONFIG_JSON
from earwitness.detectors.tensorflow_checkpoint import list_files
from earwitness.detectors.weights import find_bundle, weights_shelf


@dataclass(frozen=True)
class Listing:
    """A detector and its weights, as far as they are here.

    Attributes:
        asked: What ``open_detector`` takes for it: a name, a hub id or a folder.
        card: Its card; ``None`` for a folder whose files cannot be read as a detector's.
        weights: Where its weights lie; ``None`` where they are not here.
        problem: Why the weights that lie there cannot be used, as far as that shows unopened.
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
    return [
        *(look_up(name) for name in DETECTORS),
        *(_look_into(folder) for folder in _folders_of_ones_own()),
    ]


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
        return Listing(asked, CARDS.load(known)(None, options))
    options = OpenOptions(source.name, published=source.published)
    try:
        return Listing(asked, CARDS.load(source.kind)(source.path, options), source.path)
    except WeightsError as error:
        card = CARDS.load(known)(None, options) if known else None
        return Listing(asked, card, source.path, str(error))


def _look_into(folder: Path) -> Listing:
    try:
        return look_up(str(folder))
    except WeightsError as error:
        return Listing(str(folder), None, folder, str(error))


def _folders_of_ones_own() -> list[Path]:
    """Return folders of weights on the shelf that no registered name stands for."""
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
