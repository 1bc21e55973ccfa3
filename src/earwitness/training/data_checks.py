"""Checks of training data before training: imbalance, duplicates, label leaks, shortcuts.

Conventions: findings are sentences without a full stop.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.measures import measure
from earwitness.training.examples import CLASSES, Example
from earwitness.training.image_dataset import ImageDataset


def check_examples(
    train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()
) -> Iterator[str]:
    """Yield splits with imbalanced classes or few groups."""
    few_groups = 10
    for split, examples in (("train", train), ("valid", valid), ("test", test)):
        if not examples:
            continue
        n = Counter(example.target for example in examples)
        if max(n[0], n[1]) > 3 * min(n[0], n[1]):
            yield (
                f"classes are imbalanced in {split}: {n[0]} original, {n[1]} deepfake; classes are "
                "sampled and weighted equally"
            )
        groups = {c: {e.group for e in examples if e.target == c} for c in (0, 1)}
        few = [CLASSES[c] for c in (0, 1) if len(groups[c]) < few_groups]
        if few:
            yield f"fewer than {few_groups} groups in {split} for {' and '.join(few)}"


def check_images(
    train: ImageDataset, valid: ImageDataset, test: ImageDataset | None = None
) -> Iterator[str]:
    """Yield anomalies of files, constant images, duplicates, label leaks and shortcuts."""
    stats = [_measure(image) for image in train.images()]
    yield from train.notes
    constant = [e for e, one in zip(train.examples, stats, strict=True) if one.is_constant]
    if constant:
        yield (
            f"{len(constant)} of {len(stats)} images are of one colour throughout (as "
            f"{constant[0].path})"
        )
    by_class: tuple[set[bytes], set[bytes]] = (set(), set())
    for example, one in zip(train.examples, stats, strict=True):
        by_class[example.target].add(one.digest)
    if shared := by_class[0] & by_class[1]:
        yield f"{len(shared)} images are the same in both classes: their labels cannot be learned"
    for split, images in (("valid", valid), ("test", test)):
        digests = set(map(_digest, images.images())) if images else set()
        if shared := (by_class[0] | by_class[1]) & digests:
            yield (
                f"{len(shared)} images of {split} are the same as images of train: metrics will be "
                "too good"
            )
    yield from _find_leaks(train)
    shortcuts = {
        "brightness": [one.brightness for one in stats],
        "the highest frequency with sound": [one.top for one in stats],
        "the share of black": [one.black for one in stats],
    }
    targets = np.array([example.target for example in train.examples])
    for name, values in shortcuts.items():
        area = measure("auroc", targets, np.array(values))
        if max(area, 1 - area) >= 0.95:
            yield f"shortcut: {name} alone separates the classes (AUROC {max(area, 1 - area):.3f})"


class _Stats(NamedTuple):
    digest: bytes
    is_constant: bool
    brightness: float
    top: float
    black: float


def _measure(image: NDArray[np.uint8]) -> _Stats:
    grey = image[..., 0] if image.ndim > 2 else image
    rows = grey.max(axis=1) > 0
    return _Stats(
        _digest(image),
        bool(image.min() == image.max()),
        float(grey.mean(dtype=np.float64)),
        1 - int(rows.argmax()) / len(rows) if rows.any() else 0.0,
        float((grey == 0).mean()),
    )


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _find_leaks(images: ImageDataset) -> Iterator[str]:
    """Yield traits of files that separate the classes."""
    for traits in zip(*images.traits, strict=True):
        of_class: tuple[set[str], set[str]] = (set(), set())
        for trait, example in zip(traits, images.examples, strict=True):
            of_class[example.target].add(trait)
        if not of_class[0] & of_class[1]:
            shown = " against ".join(min(part) for part in of_class)
            yield f"label leak: properties of the files separate the classes ({shown})"
