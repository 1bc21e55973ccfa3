"""What may keep a network from learning, or lets it learn the wrong thing: looked for beforehand.

Conventions: findings are sentences without a full stop; nothing is refused here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.measures import measure
from earwitness.training.examples import SIDES, Example
from earwitness.training.pixels import ImageDataset

_LOPSIDED = 3
_TELLING = 0.95
_FEW_GROUPS = 10


def check_examples(
    train: Sequence[Example], valid: Sequence[Example], test: Sequence[Example] = ()
) -> Iterator[str]:
    """Yield what is odd about the numbers of examples and groups."""
    for side, examples in (("train", train), ("valid", valid), ("test", test)):
        if not examples:
            continue
        n = Counter(example.target for example in examples)
        if max(n[0], n[1]) > _LOPSIDED * min(n[0], n[1]):
            yield (
                f"classes are lopsided in {side}: {n[0]} original, {n[1]} deepfake; classes are "
                "drawn and weighed equally"
            )
        groups = {c: {e.group for e in examples if e.target == c} for c in (0, 1)}
        few = [SIDES[c] for c in (0, 1) if len(groups[c]) < _FEW_GROUPS]
        if few:
            yield f"fewer than {_FEW_GROUPS} groups in {side} for {' and '.join(few)}"


def check_images(
    train: ImageDataset, valid: ImageDataset, test: ImageDataset | None = None
) -> Iterator[str]:
    """Yield what is odd about images: constant ones, twins across classes and sides, shortcuts."""
    looks = list(map(_look, train.images()))
    yield from train.notes
    yield from _constant(train, looks)
    by_class: tuple[set[bytes], set[bytes]] = (set(), set())
    for example, look in zip(train.examples, looks, strict=True):
        by_class[example.target].add(look.digest)
    if twins := by_class[0] & by_class[1]:
        yield f"{len(twins)} images are the same in both classes: their labels cannot be learned"
    for side, shelf in (("valid", valid), ("test", test)):
        digests = set(map(_digest, shelf.images())) if shelf else set()
        if shared := (by_class[0] | by_class[1]) & digests:
            yield (
                f"{len(shared)} images of {side} are the same as images of train: figures will be "
                "too good"
            )
    yield from _leaks(train)
    yield from _shortcuts(train, looks)


class _Look(NamedTuple):
    """What is seen of an image at a glance.

    Attributes:
        digest: Of its pixels.
        is_constant: Whether it is of one colour throughout.
        brightness: The mean of its pixels.
        reach: How far up there is anything, as a share of its height.
        black: Share of its pixels that are black.
    """

    digest: bytes
    is_constant: bool
    brightness: float
    reach: float
    black: float


def _look(image: NDArray[np.uint8]) -> _Look:
    grey = image[..., 0] if image.ndim > 2 else image
    loud = grey.max(axis=1) > 0
    return _Look(
        _digest(image),
        bool(image.min() == image.max()),
        float(grey.mean(dtype=np.float64)),
        1 - int(loud.argmax()) / len(loud) if loud.any() else 0.0,
        float((grey == 0).mean()),
    )


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _constant(shelf: ImageDataset, looks: Sequence[_Look]) -> Iterator[str]:
    constant = [e for e, look in zip(shelf.examples, looks, strict=True) if look.is_constant]
    if constant:
        yield (
            f"{len(constant)} of {len(looks)} images are of one colour throughout (as "
            f"{constant[0].path})"
        )


def _leaks(shelf: ImageDataset) -> Iterator[str]:
    """Yield traits of files that tell the classes apart."""
    for place in range(len(shelf.traits[0]) if shelf.traits else 0):
        of_class: tuple[set[str], set[str]] = (set(), set())
        for traits, example in zip(shelf.traits, shelf.examples, strict=True):
            of_class[example.target].add(traits[place])
        if not of_class[0] & of_class[1]:
            shown = " against ".join(sorted(part)[0] for part in of_class)
            yield f"label leak: the files alone tell the classes apart ({shown})"


def _shortcuts(shelf: ImageDataset, looks: Sequence[_Look]) -> Iterator[str]:
    """Yield what tells the classes apart without a look at the music."""
    targets = np.array([example.target for example in shelf.examples])
    seen = {
        "brightness": [look.brightness for look in looks],
        "the highest frequency with sound": [look.reach for look in looks],
        "the share of black": [look.black for look in looks],
    }
    for name, values in seen.items():
        area = measure("auroc", targets, np.array(values))
        if max(area, 1 - area) >= _TELLING:
            shown = f"AUROC {max(area, 1 - area):.3f}"
            yield f"shortcut: {name} alone tells the classes apart ({shown})"
