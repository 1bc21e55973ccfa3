"""FMA: real tracks and their auto-encoder reconstructions, in Deezer's layout.

Layout (relative to the workspace root)::

    deepfake-detector/fma_real_medium/resampled/**/<track>.mp3
    deepfake-detector/fma_rebuilt_medium/<encoder>/**/<track>.mp3
    deepfake-detector/data/dataset_medium_split_filtered.npy

Convention: the group is the track, whose id is the file's stem. The split file is a pickle, parsed
instead of loaded, see ``string_pickle``.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.core.errors import DatasetError
from earwitness.core.io import compose
from earwitness.datasets.catalog import (
    AudioFolder,
    Catalog,
    CatalogRequest,
    DatasetCard,
    Item,
    Layout,
    Omission,
    items_frame,
    scan_audio,
)
from earwitness.datasets.string_pickle import read_pickle

SOURCE = "FMA"
ENCODERS = (
    *("encodec3", "encodec6", "encodec24", "griffin256", "griffin512"),
    *("lac14", "lac2", "lac7", "musika"),
)


def catalog_fma(
    *,
    real_root: Path | None,
    fake_root: Path,
    split_npy: Path,
    split_name: str = "valid",
    encoders: Sequence[str] = ENCODERS,
    train_check: bool = True,
    allow_missing: bool = False,
) -> Catalog:
    """Return the catalog of the real and reconstructed tracks of one split.

    Missing files, second files of a track and, if checked, tracks of the train split are omitted.

    Args:
        real_root: Folder of the real tracks; ``None`` leaves them out.
        fake_root: Folder with one folder per encoder.
        split_npy: Deezer's split file.
        split_name: ``train``, ``valid`` (or ``validation``) or ``test``.
        encoders: Names of the encoder folders.
        train_check: Leave out tracks that are also in the train split, unless that is listed.
        allow_missing: Describe folders of encoders that are missing instead of raising an error.

    Raises:
        DatasetError: A folder, the split file or an encoder's folder is missing.
    """
    splits = read_split_file(split_npy)
    split = "validation" if split_name == "valid" else split_name
    if split not in splits:
        raise DatasetError(f"{split_npy}: no split {split_name!r}, expected one of {list(splits)}")
    missing = [e for e in encoders if not (fake_root / e).is_dir()]
    if missing and not allow_missing:
        raise _no_encoder(fake_root, missing[0])
    folders = [(1, encoder, fake_root / encoder) for encoder in encoders if encoder not in missing]
    if real_root is not None:
        folders.insert(0, (0, "", real_root))
    sides = [(target, encoder) for target, encoder, _ in folders]
    tracks, omitted = _listed_tracks(splits, split, sides, train_check=train_check)
    items: list[Item] = []
    looked_at = [f"{split_npy}: {len(splits[split])} names in {split!r}"]
    looked_at += [f"{fake_root / encoder}: no such file" for encoder in missing]
    for target, encoder, folder in folders:
        scanned = scan_audio(folder)
        prefix = folder.absolute().as_posix().rstrip("/")
        looked_at.append(scanned.describe())
        found = _first_by_stem(scanned, target, encoder, tracks, omitted)
        split_tag = f"deezer_{split}_{'fake' if target else 'real'}"
        for track in tracks:
            if track not in found:
                omitted.append(Omission(target, _name(encoder, track), "no such file"))
                continue
            key = _name(encoder or "real", found[track])
            path = f"{prefix}/{found[track]}"
            items.append(Item(key, path, target, split_tag, encoder or None, f"fma:{track}"))
    frame = items_frame(items, source=SOURCE)
    word = "valid" if split == "validation" else split
    return Catalog(SOURCE, frame, tuple(omitted), tuple(looked_at), word)


def _listed_tracks(
    splits: dict[str, tuple[str, ...]],
    split: str,
    sides: Sequence[tuple[int, str]],
    *,
    train_check: bool,
) -> tuple[list[str], list[Omission]]:
    listed = list(dict.fromkeys(map(_track, splits[split])))
    if not train_check or split == "train":
        return listed, []
    train = set(map(_track, splits["train"]))
    omitted = [
        Omission(target, _name(encoder, track), "also in the train split")
        for track in listed
        if track in train
        for target, encoder in sides
    ]
    return [track for track in listed if track not in train], omitted


def _track(path: str) -> str:
    """Return the track of a file: its stem in Unicode NFC."""
    name = compose(path).rpartition("/")[2]
    return os.path.splitext(name)[0]  # noqa: PTH122 - names by the 100 000; Path is much slower


def _no_encoder(fake_root: Path, encoder: str) -> DatasetError:
    there = sorted(p.name for p in fake_root.iterdir()) if fake_root.is_dir() else []
    held = ", ".join(there[:20]) or "nothing"
    folder = fake_root / encoder
    return DatasetError(f"{folder}: no such folder for encoder {encoder!r}; found {held}")


def _first_by_stem(
    scanned: AudioFolder, target: int, encoder: str, tracks: list[str], omitted: list[Omission]
) -> dict[str, str]:
    wanted = set(tracks)
    first: dict[str, str] = {}
    for path in scanned.files:
        track = _track(path)
        if track not in wanted:
            continue
        if track in first:
            omitted.append(Omission(target, _name(encoder, path), f"second file of {track}"))
        else:
            first[track] = path
    omitted += scanned.list_unreadable(target=target, prefix=_name(encoder, ""))
    return first


def _name(encoder: str, track: str) -> str:
    return f"{encoder}/{track}" if encoder else track


def _list_files(request: CatalogRequest) -> Catalog:
    options = request.options
    real_root = options["fma_real_root"] or request.folder / "fma_real_medium/resampled"
    npy = request.folder / "data/dataset_medium_split_filtered.npy"
    return catalog_fma(
        real_root=real_root if request.n_wanted[0] else None,
        fake_root=options["fma_fake_root"] or real_root.parent.parent / "fma_rebuilt_medium",
        split_npy=options["deezer_split_npy"] or npy,
        split_name=options["deezer_split_name"],
        encoders=options["fma_encoders"] if request.n_wanted[1] else (),
        train_check="song" in request.train_check,
        allow_missing=request.allow_missing,
    )


LAYOUT = Layout(
    SOURCE,
    _list_files,
    place=Path("deepfake-detector"),
    options=(
        *("fma_real_root", "fma_fake_root", "fma_encoders"),
        *("deezer_split_npy", "deezer_split_name"),
    ),
    card=DatasetCard(
        summary="real tracks and their reconstructions by nine auto-encoders and vocoders",
        layout="deepfake-detector/{fma_real_medium,fma_rebuilt_medium/<encoder>} and a split file",
        licence="Creative Commons, one per track; Deezer's material CC BY-NC 4.0",
        size="25 000 tracks of 30 s (medium), each in nine reconstructions",
        get="https://github.com/mdeff/fma; reconstruct with the code of Deezer",
        leaks="Deezer's detectors stop training on the validation split; a track and its "
        "reconstructions are one group",
        docs="https://github.com/deezer/deepfake-detector, https://github.com/mdeff/fma",
    ),
    track_of=lambda stem, _: f"{SOURCE}:{stem}",
)


LARGEST_BYTES = 1 << 28
"""Maximum size of a split file; that of all of FMA has 3 MB."""

_EXPECTED = "expected a pickled dict of arrays of names"


def read_split_file(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the file names of each split; ``valid`` is read as ``validation``.

    Args:
        path: Deezer's ``.npy`` file: a 0-d object array with a dict of ``train``, ``validation``
            and ``test`` arrays of file names.

    Raises:
        DatasetError: No such file, another kind of file, or a pickle of anything but arrays of
            strings.
    """
    try:
        value = _array_of_one(_read(path))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}), expected Deezer's split file; give "
            "--deezer-split-npy, or --n-fma-real 0 --n-fma-fake 0 to go without FMA"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path}: refused, {reason}; {_EXPECTED}") from error
    return _check_splits(path, value)


def _read(path: Path) -> bytes:
    """Return the bytes of a regular file of limited size."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # opening a pipe may hang
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it is longer than {LARGEST_BYTES >> 20} MiB")
    return content


def _array_of_one(content: bytes) -> Any:
    """Return the object in a 0-d object array, as ``numpy.save`` writes a dict."""
    magic = b"\x93NUMPY"
    if not content.startswith(magic):
        raise ValueError("it is no .npy file")
    major = content[len(magic)] if len(content) > len(magic) else 0
    if major not in (1, 2, 3):
        raise ValueError(f"its .npy version is {major}")
    start = len(magic) + (4 if major == 1 else 6)
    stop = start + int.from_bytes(content[len(magic) + 2 : start], "little")
    header = ast.literal_eval(content[start:stop].decode("latin1" if major < 3 else "utf-8"))
    if header["descr"] not in ("|O", "O", "|O8", "|O4") or header["shape"] != ():
        raise ValueError(f"it holds an array of {header['descr']!r} of shape {header['shape']}")
    value = read_pickle(content[stop:])
    if not isinstance(value, tuple) or len(value) != 1:
        raise ValueError(f"it holds a {type(value).__name__}")
    return value[0]


def _check_splits(path: Path, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise DatasetError(f"{path}: holds a {type(value).__name__}, {_EXPECTED}")
    splits: dict[str, tuple[str, ...]] = {}
    for name, names in value.items():
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise DatasetError(f"{path}: split {name!r} is no array of names, {_EXPECTED}")
        splits["validation" if name == "valid" else name] = tuple(names)
    expected = ("train", "validation", "test")
    if not {*expected} <= {*splits}:
        found = ", ".join(splits) or "none"
        raise DatasetError(f"{path}: splits found: {found}; expected {', '.join(expected)}")
    return splits
