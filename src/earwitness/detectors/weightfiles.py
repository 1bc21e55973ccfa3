"""The files that a detector's weights are made of, and what identifies them.

Convention: nothing is opened as weights, so that this costs no more than reading the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earwitness.core.errors import WeightsError
from earwitness.core.files import sha256_of
from earwitness.detectors.opening import CARD_JSON, Source, find_source
from earwitness.detectors.spectttra_config import CONFIG_JSON
from earwitness.detectors.tensorbundle import list_files
from earwitness.detectors.weights import find_bundle

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
    if source.kind == _CHECKPOINT_KIND:
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
