"""FMA: real tracks and their auto-encoder reconstructions, as Deezer lays them out.

Layout (relative to the workspace root)::

    deepfake-detector/fma_real_medium/resampled/**/<track>.mp3
    deepfake-detector/fma_rebuilt_medium/<encoder>/**/<track>.mp3
    deepfake-detector/data/dataset_medium_split_filtered.npy

Conventions: the group is the track under its reconstructions; its id is the file's stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from earwitness.core.errors import DatasetError
from earwitness.core.io import compose
from earwitness.datasets.catalog import (
    Catalog,
    CatalogRequest,
    Item,
    Layout,
    Omission,
    items_frame,
)
from earwitness.datasets.deezer_split import read_split_file
from earwitness.datasets.scan import AudioFolder, scan_audio

SOURCE = "FMA"
ENCODERS = (
    "encodec3",
    "encodec6",
    "encodec24",
    "griffin256",
    "griffin512",
    "lac14",
    "lac2",
    "lac7",
    "musika",
)


def catalog_fma(
    *,
    real_root: Path | None,
    fake_root: Path,
    split_npy: Path,
    split_name: str = "valid",
    encoders: Sequence[str] = ENCODERS,
    train_check: bool = True,
) -> Catalog:
    """List the tracks of one split, real and reconstructed.

    Args:
        real_root: Folder of the real tracks; ``None`` leaves them out.
        fake_root: Folder with one folder per encoder.
        split_npy: Deezer's split file.
        split_name: ``train``, ``valid`` (or ``validation``) or ``test``.
        encoders: Encoder folders to take.
        train_check: Leave out tracks that the train list names as well. The train split
            itself is not checked against itself.

    Returns:
        Rows with ``split_tag`` ``deezer_<split>_real`` or ``deezer_<split>_fake``. Listed
        tracks that are not on disk, train overlaps and second files of one track are omitted
        with their reason.

    Raises:
        DatasetError: A folder, the split file or an encoder's folder is not there.
    """
    splits = read_split_file(split_npy)
    split = "validation" if split_name == "valid" else split_name
    if split not in splits:
        raise DatasetError(f"{split_npy}: no split {split_name!r}, expected one of {list(splits)}")
    folders = [(1, encoder, _encoder_folder(fake_root, encoder)) for encoder in encoders]
    if real_root is not None:
        folders.insert(0, (0, "", real_root))
    sides = [(target, encoder) for target, encoder, _ in folders]
    tracks, omitted = _listed_tracks(splits, split, sides, train_check=train_check)
    items: list[Item] = []
    looked_at = [f"{split_npy}: {len(splits[split])} names in {split!r}"]
    for target, encoder, folder in folders:
        scanned = scan_audio(folder)
        looked_at.append(scanned.describe())
        found = _first_by_stem(scanned, target, encoder, tracks, omitted)
        split_tag = f"deezer_{split}_{'fake' if target else 'real'}"
        for track in tracks:
            if track not in found:
                omitted.append(Omission(target, _name(encoder, track), "no such file"))
                continue
            key = _name(encoder or "real", found[track])
            path = (folder.absolute() / found[track]).as_posix()
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
    """Return the track that a file is of: its stem, however its characters are written."""
    return PurePosixPath(compose(path)).stem


def _encoder_folder(fake_root: Path, encoder: str) -> Path:
    folder = fake_root / encoder
    if not folder.is_dir():
        there = sorted(p.name for p in fake_root.iterdir()) if fake_root.is_dir() else []
        held = ", ".join(there[:20]) or "nothing"
        raise DatasetError(f"{folder}: no such folder for encoder {encoder!r}; found {held}")
    return folder


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
    )


LAYOUT = Layout(
    SOURCE,
    _list_files,
    place=Path("deepfake-detector"),
    options=(
        *("fma_real_root", "fma_fake_root", "fma_encoders"),
        *("deezer_split_npy", "deezer_split_name"),
    ),
    track_of=lambda stem, _: f"{SOURCE}:{stem}",
)
