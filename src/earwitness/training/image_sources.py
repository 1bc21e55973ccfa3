"""Images to train on: folders of classes, given sides, or CSVs.

Conventions: a class folder is known by its name (``Original``, ``real``, ``deepfake``, … in any
case) or by being named for a class; which folder is which class is always in the notes. Sides that
are given (``train``, ``val``, ``test``) are kept as they are; where they share group names, a note
says so.
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
from earwitness.training.examples import (
    GROUP_BY,
    Example,
    GroupFinder,
    make_example,
    read_origins,
)

_SIDES = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""Names of folders, and values of a CSV's ``split_tag``, for each side."""
_SPLIT_COLUMNS = ("split_tag", "split")
_CLASSES = ("real (0)", "fake (1)")
_GENERATOR = "generator"
_N_SHOWN = 6


@dataclass(frozen=True)
class ImageSources:
    """Images, and on which side they are where that is given.

    Attributes:
        examples: To learn from; of these, validation and test are shared out where not given.
        valid: To validate with; ``None`` where it is not given.
        test: To test with in the end; ``None`` where it is not given.
        notes: How classes were read, what is left out, and what may be wrong.
    """

    examples: list[Example]
    valid: list[Example] | None = None
    test: list[Example] | None = None
    notes: list[str] = field(default_factory=list)


def find_images(
    root: Path,
    *,
    group_by: str = GROUP_BY,
    classes: Mapping[str, int] | None = None,
) -> ImageSources:
    """Find the images of class folders, below a folder or its ``train``, ``val`` and ``test``.

    What a ``manifest.csv`` beside class folders says of an image is taken from there.

    Args:
        root: The folder.
        group_by: What of a path names its group, where no manifest does.
        classes: Class of folders whose names do not say it.

    Raises:
        DatasetError: The folder, or either class, is missing or holds no image.
        UsageError: ``group_by`` is no regular expression, or finds nothing in a path.
    """
    if not root.is_dir():
        raise DatasetError(
            f"--images {missing(root)}; expected a folder with a folder for each class, such as "
            "original and deepfake"
        )
    find = GroupFinder(group_by)
    sides: dict[str, list[Example]] = {}
    notes: list[str] = []
    folders = {f.name: _SIDES.get(f.name.lower()) for f in _folders(root)}
    if "train" not in folders.values():
        folders = {"": "train"}
    for name, side in folders.items():
        if side is not None:
            found, said = _find_classes(root / name, root, find, classes or {})
            sides.setdefault(side, []).extend(found)
            notes += said
    return _sources(sides, notes)


def list_images(root: Path, *, group_by: str = GROUP_BY) -> list[Example]:
    """Return the images of a folder's class folders, see ``find_images``."""
    return find_images(root, group_by=group_by).examples


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def _find_classes(
    folder: Path, root: Path, find: GroupFinder, classes: Mapping[str, int]
) -> tuple[list[Example], list[str]]:
    """Return the images of class folders, and how their names were read."""
    read = {f.name: classes.get(f.name, parse_label(f.name)) for f in _folders(folder)}
    targets = dict(sorted(read.items(), key=lambda pair: (pair[1] is None, pair[1], pair[0])))
    unknown = sorted(set(classes) - set(targets))
    if unknown:
        raise DatasetError(f"{folder}: no folder {unknown[0]!r}, found {_join(targets)}")
    _check_both(folder, targets)
    several = sum(target == 1 for target in targets.values()) > 1
    said = read_origins(folder / MANIFEST_CSV)
    examples, counts = [], Counter[str]()
    for name, target in targets.items():
        for path in _images_below(folder / name):
            counts[name] += 1
            if target is None:
                continue
            row = said.get(path.relative_to(folder).as_posix(), {})
            if several and target == 1 and not row.get(_GENERATOR):
                row = {**row, _GENERATOR: name}
            own = path.relative_to(root).as_posix()
            group = compose(str(row.get(GROUP) or find(own)))
            examples.append(make_example(own, path, target, group, row))
    notes = list(_describe_folders(folder, targets, counts))
    for target, word in enumerate(("original", "deepfake")):
        if not any(example.target == target for example in examples):
            names = _join([name for name, t in targets.items() if t == target])
            raise DatasetError(
                f"{folder}/{names}: holds no image, expected {word} images there, at any depth"
            )
    return examples, notes


def _check_both(folder: Path, targets: Mapping[str, int | None]) -> None:
    for target, word in enumerate(("original", "deepfake")):
        if target not in targets.values():
            found = f"folders {_join(targets)}" if targets else "no folders"
            raise DatasetError(
                f"{folder}: {found}, expected one whose name says {word} (original, real, … and "
                "deepfake, fake, …; --real-folders and --fake-folders name others)"
            )


def _describe_folders(
    folder: Path, targets: Mapping[str, int | None], counts: Mapping[str, int]
) -> Iterator[str]:
    parts = []
    for target, word in enumerate(_CLASSES):
        names = [f"{name} ({counts[name]} images)" for name, t in targets.items() if t == target]
        parts.append(f"{word} is {_join(names)}")
    yield f"{folder}: {'; '.join(parts)}"
    left = [f"{n} ({counts[n]} images)" for n, t in targets.items() if t is None and counts[n]]
    if left:
        yield (
            f"{folder}: not used, of neither class by their names: {_join(left)} (--real-folders, "
            "--fake-folders)"
        )


def _images_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def read_image_csvs(
    paths: Sequence[Path],
    base: Path,
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    group_by: str = GROUP_BY,
) -> ImageSources:
    """Read CSVs with ``img_path`` and ``actual_output``.

    A column ``split_tag`` or ``split`` puts rows on their side; ``group_id`` and ``generator`` are
    taken where they are there.

    Args:
        paths: Images to learn from.
        base: Folder that ``img_path`` starts from.
        valid: Images to validate with.
        test: Images to test with in the end.
        group_by: What of a path names its group, without a ``group_id``.

    Raises:
        DatasetError: A CSV cannot be read or lacks a column, an image has both labels, or none of a
            CSV's images exists.
        UsageError: ``group_by`` is no regular expression, or finds nothing in a path.
    """
    if not base.is_dir():
        raise DatasetError(f"--base {missing(base)}; expected the folder that img_path starts from")
    find = GroupFinder(group_by)
    sides: dict[str, list[Example]] = {}
    notes: list[str] = []
    for side, some in (("train", paths), ("valid", valid), ("test", test)):
        for path in some:
            for own_side, example in _read_rows(path, base, find, notes):
                sides.setdefault(own_side or side, []).append(example)
    return _sources({side: _once(examples) for side, examples in sides.items()}, notes)


def _read_rows(
    path: Path, base: Path, find: GroupFinder, notes: list[str]
) -> list[tuple[str | None, Example]]:
    """Return the labelled images of a CSV with their side, where a column says it."""
    csv = read_image_csv(path)
    if TRUTH not in csv:
        raise DatasetError(f"{path}: no column {TRUTH}, expected the class of each image")
    splits = next((csv.values(name) for name in _SPLIT_COLUMNS if name in csv), None)
    groups = csv.values(GROUP) if GROUP in csv else None
    made_by = csv.values(_GENERATOR) if _GENERATOR in csv else None
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
        told = {_GENERATOR: made_by[at]} if made_by and target == 1 else {}
        group = compose((groups[at] if groups else "") or find(text))
        side = _side_of(splits[at], csv.rows[at].line, path) if splits else None
        rows.append((side, make_example(text, located, target, group, told)))
    if rows and not any(example.path.is_file() for _, example in rows):
        raise DatasetError(
            f"{path}: none of its {len(rows)} images exists (as {rows[0][1].path}); img_path "
            f"starts from --base, here {base}"
        )
    notes += [f"{path}: {n} rows not used: {reason}" for reason, n in left_out.items()]
    return rows


def _side_of(text: str, line: int, path: Path) -> str | None:
    if not text.strip():
        return None
    side = _SIDES.get(text.strip().lower())
    if side is None:
        raise DatasetError(f"{path}:{line}: split {text!r}, expected train, valid or test")
    return side


def _once(examples: Sequence[Example]) -> list[Example]:
    """Return each image once.

    Raises:
        DatasetError: An image has both labels.
    """
    first: dict[Path, Example] = {}
    for one in examples:
        if first.setdefault(one.path, one).target != one.target:
            raise DatasetError(f"{one.path}: {TRUTH} is real in one row and fake in another")
    return list(first.values())


def _sources(sides: Mapping[str, list[Example]], notes: list[str]) -> ImageSources:
    """Put sides together and compare them."""
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        first, second = (sides.get(side, []) for side in (one, other))
        twice = {e.path for e in first} & {e.path for e in second}
        if twice:
            raise DatasetError(f"{len(twice)} images are in {one} and in {other} (as {min(twice)})")
        shared = {e.group for e in first} & {e.group for e in second}
        if shared:
            notes.append(
                f"{len(shared)} groups are in {one} and in {other} (as {min(shared)!r}): if these "
                "are the same tracks, figures will be too good (--group-by says how file names "
                "are read)"
            )
    if not sides.get("train"):
        raise DatasetError("no images to train with, expected some in train")
    return ImageSources(sides["train"], sides.get("valid"), sides.get("test"), notes)


def _join(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:_N_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
