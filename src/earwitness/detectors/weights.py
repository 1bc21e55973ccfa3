"""Paths of weights, and Keras checkpoints converted to safetensors in a cache.

A checkpoint is identified by the SHA-256 of its concatenated index and data files. A cache that
cannot be read or written is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from earwitness.core.errors import RunError, WeightsError
from earwitness.core.io import atomic_write, cache_folder, file_stem
from earwitness.detectors.tensorflow_checkpoint import list_files, list_tensors, read_tensors

_CACHE_FORMAT = "1"

Tensors = dict[str, NDArray[np.generic]]


class KerasWeights(NamedTuple):
    """Layer variables of a Keras model.

    Attributes:
        tensors: Name ("layer_with_weights-0/kernel") → array in TensorFlow's layout.
        sha256: Identity of the checkpoint.
    """

    tensors: Tensors
    sha256: str


def resolve_weights(
    name: str, given: Mapping[str, Path], *, fetch: Callable[[], Path] | None = None
) -> Path:
    """Return the path of a detector's weights: a file, a folder or the prefix of a checkpoint.

    1. The given path, if there is one. A relative path is also tried in the folders of the
       published scripts, ``weights/final`` and ``deepfake-detector/weights/final``.
    2. Else ``$EARWITNESS_WEIGHTS/NAME`` (in NAME ``/`` is ``__`` and ``@`` is ``--``), then
       ``fetch``, or without it ``NAME`` in those folders.

    Args:
        name: Name of the detector.
        given: Detector name → path of its weights.
        fetch: Downloads the weights, or raises ``WeightsError`` with the reason.

    Raises:
        WeightsError: No weights found.
    """
    asked, root = given.get(name), weights_folder()
    places = [root / file_stem(name)] if root else []
    if asked is not None:
        places, fetch = [asked], None
    if fetch is None and not (asked and asked.is_absolute()):
        published = (Path("weights/final"), Path("deepfake-detector/weights/final"))
        places += [folder / (asked or name) for folder in published]
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
        path: A SavedModel folder, another folder with one ``*.index``, an index, or a prefix as
            for ``save_weights``.

    Raises:
        WeightsError: No checkpoint, or more than one.
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
        raise WeightsError(f"{path}: {len(indexes)} indexes ({names}), expected one")
    found = "holds no *.index" if path.is_dir() else "no checkpoint there"
    raise WeightsError(
        f"{path}: {found}; looked for {path / 'variables'}, {path / '*.index'} and "
        f"{_index_of(path)}, expected a SavedModel folder or a checkpoint of save_weights"
    )


def convert_bundle(prefix: Path, *, cache: Path | None = None) -> KerasWeights:
    """Return a checkpoint's layer variables, converted once; no optimizer state or metrics.

    Args:
        prefix: Path of the checkpoint, see ``find_bundle``.
        cache: Folder for converted weights; by default ``cache_folder()``.

    Raises:
        WeightsError: The checkpoint is incomplete or damaged.
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
    """Return the SHA-256 of a checkpoint, or raise ``WeightsError`` if it is unreadable."""
    digest = hashlib.sha256()
    for path in list_files(prefix):
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def weights_folder() -> Path | None:
    """Return ``$EARWITNESS_WEIGHTS``, a folder of weights by detector name."""
    folder = os.environ.get("EARWITNESS_WEIGHTS")
    return Path(folder) if folder else None


def _index_of(path: Path) -> Path:
    return Path(f"{path}.index")


def _read_layers(prefix: Path) -> Tensors:
    """Return the variables of a checkpoint's layers by short name."""
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [
        name
        for name in list_tensors(prefix)
        if name.startswith("layer_with_weights-")
        and name.endswith(suffix)
        and ".OPTIMIZER_SLOT" not in name
    ]
    tensors = read_tensors(prefix, names)
    return {name.removesuffix(suffix): tensor for name, tensor in tensors.items()}


def _load_kept(path: Path) -> Tensors | None:
    """Return converted weights, or ``None`` if the file is missing, outdated or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    current = metadata.get("format") == _CACHE_FORMAT
    return tensors if current and metadata.get("tensors") == _hash_tensors(tensors) else None


def _keep(path: Path, tensors: Tensors, *, source: str) -> None:
    """Write converted weights with a checksum."""
    metadata = {"format": _CACHE_FORMAT, "tensors": _hash_tensors(tensors), "source": source}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def _hash_tensors(tensors: Tensors) -> str:
    """Return the SHA-256 of names, types, shapes and values, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def check_header(path: Path) -> None:
    """Raise ``WeightsError`` for a safetensors file with a header over 4 MiB.

    The safetensors library would accept 25 times as much.
    """
    max_bytes = 4 << 20
    try:
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"{path}: cannot be read as weights ({reason})") from error
    if n_bytes > max_bytes:
        raise WeightsError(
            f"{path}: cannot be read (header of {n_bytes} bytes, expected at most {max_bytes})"
        )
