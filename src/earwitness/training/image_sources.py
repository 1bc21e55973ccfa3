"""Training images from class folders or CSVs.

Conventions: the class of a folder is known by its name (``original``, ``real``, ``deepfake``, … in
any case) or given; notes say which is which. Given splits (``train``, ``val``, ``test``) are kept;
a note says where they share groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earwitness.core.errors import DatasetError
from earwitness.core.io import compose, missing
from earwitness.core.spectrogram import parse_label
from earwitness.images.csv_columns import GROUP, TRUTH, locate_image, read_image_csv, read_targets
from earwitness.images.png import IMAGE_SUFFIXES
from earwitness.images.render import MANIFEST_CSV
from earwitness.splits.manifests import read_manifest
from earwitness.training.examples import CLASSES, GROUP_BY, Example, GroupFinder, make_example

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Split by the name of a folder or the value in a CSV."""


@dataclass(frozen=True)
class ImageSources:
    """Images and their splits; ``None`` where a split is not given, and taken from ``examples``."""

    examples: list[Example]
    valid: list[Example] | None = None
    test: list[Example] | None = None
    notes: list[str] = field(default_factory=list)


def find_images(
    root: Path, *, group_by: str = GROUP_BY, classes: Mapping[str, int] | None = None
) -> ImageSources:
    """Return the images of class folders, below a folder or its ``train``, ``val`` and ``test``.

    Metadata is read from a ``manifest.csv`` next to class folders; ``classes`` gives the class of
    folders whose names do not say it. ``DatasetError`` if a class is missing or empty.
    """
    if not root.is_dir():
        raise DatasetError(
            f"--images {missing(root)}; expected a folder with a folder for each class, such as "
            "original and deepfake"
        )
    find = GroupFinder(group_by)
    splits: dict[str, list[Example]] = {}
    notes: list[str] = []
    folders = {f.name: _SPLITS.get(f.name.lower()) for f in _folders(root)}
    if "train" not in folders.values():
        folders = {"": "train"}
    for name, split in folders.items():
        if split is not None:
            found, found_notes = _find_classes(root / name, root, find, classes or {})
            splits.setdefault(split, []).extend(found)
            notes += found_notes
    return _sources(splits, notes)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def _find_classes(
    folder: Path, root: Path, find: GroupFinder, classes: Mapping[str, int]
) -> tuple[list[Example], list[str]]:
    """Return the images of class folders, and notes on the classes of the folders."""
    read = {f.name: classes.get(f.name, parse_label(f.name)) for f in _folders(folder)}
    targets = dict(sorted(read.items(), key=lambda pair: (pair[1] is None, pair[1], pair[0])))
    unknown = sorted(set(classes) - set(targets))
    if unknown:
        raise DatasetError(f"{folder}: no folder {unknown[0]!r}, found {_join(targets)}")
    for number, word in enumerate(CLASSES):
        if number not in targets.values():
            found = f"folders {_join(targets)}" if targets else "no folders"
            raise DatasetError(
                f"{folder}: {found}, expected one whose name says {word} (original, real, … and "
                "deepfake, fake, …; --real-folders and --fake-folders name others)"
            )
    several = sum(target == 1 for target in targets.values()) > 1
    rows = _read_rows(folder / MANIFEST_CSV)
    examples, counts = [], Counter[str]()
    for name, target in targets.items():
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            counts[name] += 1
            if target is None:
                continue
            row = rows.get(path.relative_to(folder).as_posix(), {})
            if several and target == 1 and not row.get("generator"):
                row = {**row, "generator": name}
            own = path.relative_to(root).as_posix()
            group = compose(str(row.get(GROUP) or find(own)))
            examples.append(make_example(own, path, target, group, row))
    notes = list(_describe_folders(folder, targets, counts))
    for number, word in enumerate(CLASSES):
        if not any(example.target == number for example in examples):
            names = _join([name for name, t in targets.items() if t == number])
            raise DatasetError(
                f"{folder}/{names}: contains no image, expected {word} images at any depth"
            )
    return examples, notes


def _read_rows(path: Path) -> dict[str, dict[str, object]]:
    """Return the metadata of a manifest by file, empty without a manifest."""
    if not path.is_file():
        return {}
    frame = read_manifest(path).frame
    names = ("generator", GROUP, "source_dataset", "split_tag")
    kept = frame.select("filepath", *(name for name in names if name in frame.columns))
    return {row.pop("filepath"): row for row in kept.iter_rows(named=True)}


def _describe_folders(
    folder: Path, targets: Mapping[str, int | None], counts: Mapping[str, int]
) -> Iterator[str]:
    parts = []
    for target, word in enumerate(("real (0)", "fake (1)")):
        names = [f"{name} ({counts[name]} images)" for name, t in targets.items() if t == target]
        parts.append(f"{word} is {_join(names)}")
    yield f"{folder}: {'; '.join(parts)}"
    left = [f"{n} ({counts[n]} images)" for n, t in targets.items() if t is None and counts[n]]
    if left:
        yield (
            f"{folder}: not used, of neither class by their names: {_join(left)} (--real-folders, "
            "--fake-folders)"
        )


def read_image_csvs(
    paths: Sequence[Path],
    base: Path,
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    group_by: str = GROUP_BY,
) -> ImageSources:
    """Return the images of CSVs with ``img_path``, relative to ``base``, and ``actual_output``.

    A column ``split_tag`` or ``split`` assigns rows to splits; ``group_id`` and ``generator`` are
    optional. ``DatasetError`` if a CSV cannot be read or lacks a column, an image has both labels,
    or none of a CSV's images exists.
    """
    if not base.is_dir():
        raise DatasetError(f"--base {missing(base)}; expected the folder that img_path starts from")
    find = GroupFinder(group_by)
    splits: dict[str, list[Example]] = {}
    notes: list[str] = []
    for split, some in (("train", paths), ("valid", valid), ("test", test)):
        for path in some:
            for own_split, example in _read_csv(path, base, find, notes):
                splits.setdefault(own_split or split, []).append(example)
    return _sources({split: _deduplicate(some) for split, some in splits.items()}, notes)


def _read_csv(
    path: Path, base: Path, find: GroupFinder, notes: list[str]
) -> list[tuple[str | None, Example]]:
    """Return the labelled images of a CSV with their split, if given."""
    csv = read_image_csv(path)
    if TRUTH not in csv:
        raise DatasetError(f"{path}: no column {TRUTH}, expected the class of each image")
    blank = [""] * len(csv.rows)
    splits = next((csv.values(name) for name in ("split_tag", "split") if name in csv), blank)
    groups, generators = (csv.values(n) if n in csv else blank for n in (GROUP, "generator"))
    rows, left_out = [], Counter[str]()
    for at, (text, target) in enumerate(
        zip(csv.values("img_path"), read_targets(csv), strict=True)
    ):
        if csv.rows[at].is_blank:
            continue
        located = locate_image(base, text)
        if target is None or isinstance(located, str):
            left_out["no label" if target is None else str(located)] += 1
            continue
        row = {"generator": generators[at] if target == 1 else None}
        group = compose(groups[at] or find(text))
        split = _SPLITS.get(splits[at].strip().lower())
        if split is None and splits[at].strip():
            where = f"{path}:{csv.rows[at].line}"
            raise DatasetError(f"{where}: split {splits[at]!r}, expected train, valid or test")
        rows.append((split, make_example(text, located, target, group, row)))
    if rows and not any(example.path.is_file() for _, example in rows):
        raise DatasetError(
            f"{path}: none of its {len(rows)} images exists (as {rows[0][1].path}); img_path "
            f"starts from --base, here {base}"
        )
    notes += [f"{path}: {n} rows not used: {reason}" for reason, n in left_out.items()]
    return rows


def _deduplicate(examples: Sequence[Example]) -> list[Example]:
    """Return each image once; raise ``DatasetError`` if one has both labels."""
    first: dict[Path, Example] = {}
    for one in examples:
        if first.setdefault(one.path, one).target != one.target:
            raise DatasetError(f"{one.path}: {TRUTH} is real in one row and fake in another")
    return list(first.values())


def _sources(splits: Mapping[str, list[Example]], notes: list[str]) -> ImageSources:
    """Return the images of all splits, after checking for images in two of them."""
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        first, second = (splits.get(split, []) for split in (one, other))
        twice = {e.path for e in first} & {e.path for e in second}
        if twice:
            raise DatasetError(f"{len(twice)} images are in {one} and in {other} (as {min(twice)})")
        shared = {e.group for e in first} & {e.group for e in second}
        if shared:
            notes.append(
                f"{len(shared)} groups are in {one} and in {other} (as {min(shared)!r}): if these "
                "are the same tracks, metrics will be too good (--group-by says how file names "
                "are read)"
            )
    if not splits.get("train"):
        raise DatasetError("no images to train with, expected some in train")
    return ImageSources(splits["train"], splits.get("valid"), splits.get("test"), notes)


def _join(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:6]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
