"""Classify the images that CSVs list, and write the predictions back into them.

Conventions: ``img_path`` is relative to a base folder, which it must not leave. Every row keeps its
place and its other columns; ``prediction_error`` has the reason where a row has no score. All
tables are read and checked before the first image, and an image is scored once however many rows
name it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from earwitness.core.errors import DatasetError, ImageError, StoppedError, UsageError
from earwitness.core.io import missing
from earwitness.core.spectrogram import PUBLISHED_NAMES
from earwitness.detectors.nets.resnet18 import ResnetDetector
from earwitness.images.csv_columns import (
    GROUP,
    PATH,
    RawCsv,
    locate_image,
    read_image_csv,
    read_targets,
)
from earwitness.images.png import Picture, read_image
from earwitness.scoring.workers import usable_processors

DECISION, PROB, ERROR = "predicted_output", "prob_fake", "prediction_error"


@dataclass(frozen=True)
class Table:
    """A CSV to classify.

    Attributes:
        path: As it was given.
        csv: The file.
        images: Image of each row, or why it has none; ``None`` for a blank row.
        targets: Label of each row, where it has one.
        groups: Group of each row; ``None`` without such a column.
    """

    path: Path
    csv: RawCsv
    images: list[Path | str | None]
    targets: list[int | None]
    groups: list[str] | None

    @property
    def is_labelled(self) -> bool:
        """Whether any row has a label."""
        return any(target is not None for target in self.targets)


@dataclass(frozen=True)
class Answers:
    """Scores of images.

    Attributes:
        logits: Logit of the deepfake, by image.
        errors: Why an image has none.
        differences: Difference from the training images → images that have it.
        notes: Oddity of an image file → images that have it.
    """

    logits: dict[Path, float] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    differences: dict[str, list[Path]] = field(default_factory=dict)
    notes: dict[str, list[Path]] = field(default_factory=dict)

    def error_of(self, image: Path | str) -> str | None:
        """Return why a row's image has no score, or ``None`` where it has one."""
        return image if isinstance(image, str) else self.errors.get(image)


def read_tables(paths: Sequence[Path], base: Path) -> list[Table]:
    """Read CSVs and find their images, without opening any.

    Raises:
        UsageError: The base is no folder, or no CSV is given.
        DatasetError: A CSV cannot be read, lacks ``img_path``, or has labels that stand for neither
            class.
    """
    if not paths:
        raise UsageError("no CSV given, expected --csv FILE")
    if not base.is_dir():
        raise UsageError(f"--base {missing(base)}; expected the folder that img_path starts from")
    return [_read_table(path, base) for path in dict.fromkeys(paths)]


def _read_table(path: Path, base: Path) -> Table:
    csv = read_image_csv(path)
    images = [
        None if row.is_blank else locate_image(base, text)
        for row, text in zip(csv.rows, csv.values(PATH), strict=True)
    ]
    if all(image is None for image in images):
        raise DatasetError(f"{path}: no rows, expected at least one image")
    groups = csv.values(GROUP) if GROUP in csv else None
    return Table(path, csv, images, read_targets(csv), groups)


def count_images(tables: Sequence[Table]) -> int:
    """Return how many images ``score_tables`` will report to ``advance``."""
    return len(_distinct(tables))


def score_tables(
    tables: Sequence[Table],
    detector: ResnetDetector,
    *,
    advance: Callable[[bool], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Answers:
    """Score every image of some tables once.

    Args:
        tables: CSVs.
        detector: The classifier.
        advance: Called after every image with whether it has a score.
        should_stop: Called before every batch.

    Raises:
        StoppedError: It was stopped; nothing was written.
    """
    answers = Answers()
    with ThreadPoolExecutor(usable_processors(), "reader") as pool:
        for paths in _batches(_distinct(tables), detector.batch_size):
            if should_stop():
                raise StoppedError("stopped; no CSV was changed")
            seen = list(pool.map(lambda path: _read_input(path, detector), paths))
            good = [(p, s) for p, s in zip(paths, seen, strict=True) if isinstance(s, _Input)]
            logits = detector.score_images([s.pixels for _, s in good])
            for (path, one), logit in zip(good, logits, strict=True):
                answers.logits[path] = float(logit)
                for text in one.differences:
                    answers.differences.setdefault(text, []).append(path)
                for text in one.notes:
                    answers.notes.setdefault(text, []).append(path)
            answers.errors.update(
                {p: s for p, s in zip(paths, seen, strict=True) if isinstance(s, str)}
            )
            for one_seen in seen if advance else ():
                advance(isinstance(one_seen, _Input))  # type: ignore[misc]
    return answers


def _distinct(tables: Sequence[Table]) -> list[Path]:
    images = (image for table in tables for image in table.images if isinstance(image, Path))
    return list(dict.fromkeys(images))


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[Path]]:
    left = iter(paths)
    while batch := list(itertools.islice(left, size)):
        yield batch


@dataclass(frozen=True, eq=False)
class _Input:
    pixels: NDArray[np.uint8]
    differences: list[str]
    notes: tuple[str, ...]


def _read_input(path: Path, detector: ResnetDetector) -> _Input | str:
    try:
        picture = read_image(path)
    except ImageError as error:
        return error.reason
    pixels = picture.resized(detector.image_size)
    return _Input(pixels, list(_list_differences(picture, detector)), picture.notes)


def _list_differences(picture: Picture, detector: ResnetDetector) -> Iterator[str]:
    """Yield how an image differs from what the network was trained on."""
    trained = detector.card.images
    if picture.size != detector.image_size:
        sizes = (" × ".join(map(str, size)) for size in (picture.size, detector.image_size))
        known = trained is not None or "height" in detector.card.details
        yield "{} pixels and not {}".format(*sizes) + ("" if known else ", the usual size (--size)")
    if trained is None:
        return
    if picture.mode != trained.mode:
        yield f"pixels of kind {picture.mode} and not {trained.mode}"
    if picture.contract is None:
        yield "nothing in them says how they were drawn"
    else:
        yield from (f"drawn with {text}" for text in picture.contract.list_differences(trained))


def refuse_differences(answers: Answers) -> None:
    """Refuse images that differ from what the network was trained on.

    Raises:
        UsageError: Any does.
    """
    if answers.differences:
        raise UsageError(f"--strict: {'; '.join(describe_differences(answers))}")


def describe_differences(answers: Answers) -> list[str]:
    """Return a line for every way in which images differ from those of the training."""
    n = len(answers.logits)
    return [
        f"{len(paths)} of {n} images are not as those of the training: {text} (as {paths[0]})"
        for text, paths in answers.differences.items()
    ]


def describe_notes(answers: Answers) -> list[str]:
    """Return a line for everything unusual about image files."""
    n = len(answers.logits)
    return [
        f"{len(paths)} of {n} images: {text} (as {paths[0]})"
        for text, paths in answers.notes.items()
    ]


def write_answers(table: Table, answers: Answers, threshold: float) -> None:
    """Write decisions and scores into a CSV, see ``RawCsv.write``.

    Raises:
        DatasetError: The file is no longer what was read.
    """
    decisions, probs, errors = [], [], []
    for image in table.images:
        error = None if image is None else answers.error_of(image)
        prob = _prob_of(image, answers)
        decisions.append("" if prob is None else PUBLISHED_NAMES[int(prob >= threshold)])
        probs.append("" if prob is None else f"{prob:.9g}")
        errors.append(error or "")
    table.csv.set_column(DECISION, decisions)
    table.csv.set_column(PROB, probs)
    if any(errors) or ERROR in table.csv:
        table.csv.set_column(ERROR, errors)
    table.csv.write()


def _prob_of(image: Path | str | None, answers: Answers) -> float | None:
    logit = answers.logits.get(image) if isinstance(image, Path) else None
    return None if logit is None else float(expit(logit))
