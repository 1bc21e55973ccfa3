"""Finds a detector's weights, and turns Keras checkpoints into something quick to load.

Conventions: the identity of a checkpoint is the SHA-256 of its index and data files, one after
the other. Converted weights are kept in a cache folder under that identity; the cache is only
ever a shortcut, so one that cannot be written or read is done without.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from earwitness.core.errors import RunError, WeightsError
from earwitness.core.io import atomic_write, file_stem
from earwitness.detectors.tensorflow_checkpoint import list_files, list_tensors, read_tensors

_MOST_HEADER_BYTES = 4 << 20
"""Some forty thousand tensors; the safetensors library would take a header 25 times as long."""

_PUBLISHED_FOLDERS = (Path("weights/final"), Path("deepfake-detector/weights/final"))
_LAYER = "layer_with_weights-"
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_CACHE_FORMAT = "1"

Tensors = dict[str, NDArray[np.generic]]


class KerasWeights(NamedTuple):
    """The variables of a Keras model's layers.

    Attributes:
        tensors: Arrays in TensorFlow's layout by name ("layer_with_weights-0/kernel").
        sha256: Identity of the checkpoint they came from.
    """

    tensors: Tensors
    sha256: str


def resolve_weights(
    name: str, given: Mapping[str, Path], *, fetch: Callable[[], Path] | None = None
) -> Path:
    """Return where the weights of a detector lie: the first of these places that is there.

    1. The path given for it. Where a relative one is not there as such, the folders that the
       published scripts use are tried: ``weights/final`` and ``deepfake-detector/weights/final``
       under the working folder.
    2. With no path given, ``$EARWITNESS_WEIGHTS/NAME`` (NAME as a file name: ``/`` is ``__`` and
       ``@`` is ``--``), then ``NAME`` in those folders, or in their place what ``fetch`` gets.

    A given path that leads nowhere is never replaced by other weights.

    Args:
        name: Name of the detector.
        given: Paths of weights by detector name.
        fetch: Gets the weights from elsewhere; its ``WeightsError`` says why it could not.

    Returns:
        A file, a folder, or the prefix of a checkpoint (``path.index`` is there).

    Raises:
        WeightsError: There is nothing in any of these places.
    """
    asked = given.get(name)
    places = [asked] if asked is not None else _environment_places(name)
    fetch = fetch if asked is None else None
    if fetch is None and not (asked and asked.is_absolute()):
        places += [folder / (asked or name) for folder in _PUBLISHED_FOLDERS]
    for place in places:
        if place.exists() or _index_of(place).is_file():
            return place
    looked = [f"looked at {', '.join(str(place) for place in places)}"] if places else []
    if fetch is not None:
        try:
            return fetch()
        except WeightsError as error:
            looked.append(str(error))
    raise WeightsError(f"no weights for {name}: {'; '.join(looked)}; give --weights {name}=PATH")


def find_bundle(path: Path) -> Path:
    """Return the prefix of the checkpoint at ``path``.

    Args:
        path: A SavedModel folder, its ``variables`` folder, another folder with one ``*.index``
            in it, an index, or the prefix that ``save_weights`` was given.

    Raises:
        WeightsError: There is no checkpoint there, or more than one.
    """
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    indexes: list[Path] = []
    for folder in (path / "variables", path):
        indexes = indexes or sorted(file for file in folder.glob("*.index") if file.is_file())
    if len(indexes) == 1:
        return indexes[0].with_suffix("")
    if _index_of(path).is_file():
        return path
    if indexes:
        names = ", ".join(index.name for index in indexes[:5])
        raise WeightsError(f"{path}: holds {len(indexes)} indexes ({names}), expected one")
    found = "holds no *.index" if path.is_dir() else "no checkpoint there"
    raise WeightsError(
        f"{path}: {found}; looked for {path / 'variables'}, {path / '*.index'} and "
        f"{_index_of(path)}, expected a SavedModel folder or a checkpoint of save_weights"
    )


def convert_bundle(prefix: Path, *, cache: Path | None = None) -> KerasWeights:
    """Return a checkpoint's layer variables, from the cache where they were converted before.

    What is no part of the model is left out: optimizer state and slots, metrics, the object
    graph, counters.

    Args:
        prefix: Path of the checkpoint, as ``find_bundle`` gives it.
        cache: Folder for converted weights; by default ``cache_folder()``.

    Raises:
        WeightsError: The checkpoint is missing a file or is damaged.
    """
    sha256 = hash_bundle(prefix)
    folder = cache or cache_folder()
    if folder is None:
        return KerasWeights(_read_layers(prefix), sha256)
    kept = folder / "weights" / f"{sha256}.safetensors"
    tensors = _load_kept(kept)
    if tensors is None:
        tensors = _read_layers(prefix)
        with contextlib.suppress(OSError, RunError):
            _keep(kept, tensors, source=prefix.name)
    return KerasWeights(tensors, sha256)


def hash_bundle(prefix: Path) -> str:
    """Return the SHA-256 of a checkpoint's index and data files, one after the other.

    Raises:
        WeightsError: A file is missing or cannot be read, or the index is damaged.
    """
    digest = hashlib.sha256()
    for path in list_files(prefix):
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def cache_folder() -> Path | None:
    """Return the folder for what can be made again, or ``None`` where there is no home folder.

    ``$EARWITNESS_CACHE``, else ``earwitness`` under ``%LOCALAPPDATA%`` on Windows, else under
    ``$XDG_CACHE_HOME``, else ``~/.cache/earwitness``.
    """
    if own := os.environ.get("EARWITNESS_CACHE"):
        return Path(own)
    if shared := os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"):
        return Path(shared) / "earwitness"
    try:
        return Path.home() / ".cache" / "earwitness"
    except RuntimeError:
        return None


def weights_folder() -> Path | None:
    """Return the folder that ``$EARWITNESS_WEIGHTS`` names: weights by detector."""
    folder = os.environ.get("EARWITNESS_WEIGHTS")
    return Path(folder) if folder else None


def _environment_places(name: str) -> list[Path]:
    shelf = weights_folder()
    return [shelf / file_stem(name)] if shelf else []


def _index_of(path: Path) -> Path:
    return Path(f"{path}.index")


def _read_layers(prefix: Path) -> Tensors:
    """Return the variables of a checkpoint's layers, under their short names."""
    names = [
        name
        for name in list_tensors(prefix)
        if name.startswith(_LAYER) and name.endswith(_VARIABLE) and ".OPTIMIZER_SLOT" not in name
    ]
    tensors = read_tensors(prefix, names)
    return {name.removesuffix(_VARIABLE): tensor for name, tensor in tensors.items()}


def _load_kept(path: Path) -> Tensors | None:
    """Return converted weights, or ``None`` where the file is missing, old or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    current = metadata.get("format") == _CACHE_FORMAT
    return tensors if current and metadata.get("tensors") == _hash_tensors(tensors) else None


def _keep(path: Path, tensors: Tensors, *, source: str) -> None:
    """Write converted weights with a checksum of their own."""
    metadata = {"format": _CACHE_FORMAT, "tensors": _hash_tensors(tensors), "source": source}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def _hash_tensors(tensors: Tensors) -> str:
    """Return the SHA-256 of names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def check_header(path: Path) -> None:
    """Refuse a safetensors file whose header is absurdly long.

    Raises:
        WeightsError: It is, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{path}: cannot be read as weights ({reason})") from error
    if n_bytes > _MOST_HEADER_BYTES:
        raise WeightsError(
            f"{path}: cannot be read (states a header of {n_bytes} bytes, expected at most "
            f"{_MOST_HEADER_BYTES})"
        )
