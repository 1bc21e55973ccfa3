"""Audio items and the images that are drawn of them: names, and what is there already.

Conventions: names are POSIX and relative to the folder of images; the same manifests give the same
names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from earwitness.core.cards import Windows
from earwitness.core.errors import DatasetError, ManifestError, RunError
from earwitness.core.io import distinct_stems, file_stem, missing
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import PUBLISHED_NAMES, SpectrogramContract, parse_label
from earwitness.images.csv_columns import RawCsv, read_raw_csv
from earwitness.images.png import Shown, read_shown

CLASS_FOLDERS = ("original/combined", "deepfake/combined")
"""Where images of each class lie, by its number."""


@dataclass(frozen=True)
class Item:
    """One audio file and where its images go.

    Attributes:
        path: The file.
        filepath: The file, as its manifest names it.
        stem: What its images are called, from the folder on.
        row: Its columns in the manifest.
    """

    path: str
    filepath: str
    stem: str
    row: dict[str, object]


def list_items(manifests: Sequence[Manifest]) -> list[Item]:
    """Return the distinct files of manifests in order, each with the name of its images.

    Raises:
        ManifestError: A file carries both labels.
    """
    rows: dict[str, dict[str, object]] = {}
    for manifest in manifests:
        located = manifest.locate_all()
        for path, row in zip(located, manifest.frame.iter_rows(named=True), strict=True):
            if rows.setdefault(str(path), row)["target"] != row["target"]:
                raise ManifestError(f"{path}: real in one manifest and fake in another")
    stems: dict[str, str] = {}
    for target, folder in enumerate(CLASS_FOLDERS):
        paths = [path for path, row in rows.items() if row["target"] == target]
        names = distinct_stems(_stem_of(rows[path]) for path in paths)
        stems |= {path: f"{folder}/{name}" for path, name in zip(paths, names, strict=True)}
    return [Item(path, str(row["filepath"]), stems[path], row) for path, row in rows.items()]


def _stem_of(row: dict[str, object]) -> str:
    name = str(row["filepath"]).replace("\\", "/").rpartition("/")[2]
    stem = file_stem(name.rpartition(".")[0] or name)
    made = row.get("generator") if row["target"] == 1 else None
    return f"{stem}__{file_stem(str(made))}" if made else stem


def read_contract(path: Path) -> SpectrogramContract:
    """Read a ``spectrogram.json``.

    Raises:
        RunError: It cannot be read, or is no contract.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SpectrogramContract.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as a contract ({error})") from error


def image_name(item: Item, window: int, windows: Windows) -> str:
    """Return what the image of a clip is called; only one of several is numbered."""
    several = windows not in ("published", 1)
    return f"{item.stem}__{window:03d}.png" if several else f"{item.stem}.png"


def find_images(
    item: Item, out: Path, contract: SpectrogramContract, windows: Windows
) -> list[tuple[str, Shown]]:
    """Return an item's images where all of them are there and as they should be."""
    found: list[tuple[str, Shown]] = []
    while not found or len(found) < found[0][1].n_windows:
        name = image_name(item, len(found), windows)
        path = out / name
        told = read_shown(path) if path.is_file() else None
        if told is None or told[1] != contract or told[0].file != item.filepath:
            return []
        if isinstance(windows, int) and told[0].n_windows > windows:
            return []
        found.append((name, told[0]))
    return found


PATH, TRUTH, GROUP = "img_path", "actual_output", "group_id"
_KNOWN = (TRUTH, GROUP, "split_tag", "split", "generator")


def read_image_csv(path: Path) -> RawCsv:
    """Read a CSV that has ``img_path``.

    Raises:
        DatasetError: It is missing, cannot be read, or has no such column.
    """
    if not path.is_file():
        raise DatasetError(f"{missing(path)}; expected a CSV with {PATH}")
    return read_raw_csv(path, needed=PATH, known=_KNOWN)


def locate_image(base: Path, text: str) -> Path | str:
    """Return the path of a row's image, or why it must not be opened."""
    if not text.strip():
        return f"no {PATH}"
    top = os.path.abspath(base)  # noqa: PTH100 - links are followed where they lead
    there = os.path.normpath(os.path.join(top, text))  # noqa: PTH118 - a name may be no valid Path
    if "\\" in text and not os.path.lexists(there):
        there = os.path.normpath(os.path.join(top, text.replace("\\", "/")))  # noqa: PTH118
    if os.path.commonpath([top, there]) != top:
        return "lies outside of the base folder"
    return Path(there)


def read_targets(csv: RawCsv) -> list[int | None]:
    """Return the label of each row, ``None`` where it has none.

    Raises:
        DatasetError: A label stands for neither class.
    """
    if TRUTH not in csv:
        return [None] * len(csv.rows)
    targets = [parse_label(text) if text.strip() else None for text in csv.values(TRUTH)]
    unknown = [
        (row.line, text)
        for row, text, target in zip(csv.rows, csv.values(TRUTH), targets, strict=True)
        if text.strip() and target is None
    ]
    if unknown:
        line, text = unknown[0]
        others = f" (and {len(unknown) - 1} more rows)" if unknown[1:] else ""
        raise DatasetError(
            f"{csv.path}:{line}: {TRUTH} {text!r}, expected {' or '.join(PUBLISHED_NAMES)} or the "
            f"like{others}"
        )
    return targets
