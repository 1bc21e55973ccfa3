"""What may keep a network from learning, or lets it learn the wrong thing: looked for beforehand.

Conventions: findings are sentences without a full stop; nothing is refused here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from earwitness.metrics.ranking import auroc
from earwitness.training.examples import SIDES, Example
from earwitness.training.pixels import PixelShelf

_LOPSIDED = 3
_TELLING = 0.95
_FEW_GROUPS = 10


def look_at_examples(train: Sequence[Example], valid: Sequence[Example]) -> Iterator[str]:
    """Yield what is odd about the numbers of examples and groups."""
    for side, examples in (("train", train), ("valid", valid)):
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


def look_at_images(train: PixelShelf, valid: PixelShelf) -> Iterator[str]:
    """Yield what is odd about images: constant ones, twins across classes and sides, shortcuts."""
    yield from _constant(train)
    hashes = {
        side: [hashlib.sha256(image.tobytes()).digest() for image in shelf.pixels]
        for side, shelf in (("train", train), ("valid", valid))
    }
    by_class: tuple[set[bytes], set[bytes]] = (set(), set())
    for example, digest in zip(train.examples, hashes["train"], strict=True):
        by_class[example.target].add(digest)
    if twins := by_class[0] & by_class[1]:
        yield f"{len(twins)} images are the same in both classes: their labels cannot be learned"
    if shared := set(hashes["train"]) & set(hashes["valid"]):
        yield (
            f"{len(shared)} images of valid are the same as images of train: figures will be too "
            "good"
        )
    yield from _shortcuts(train)


def _constant(shelf: PixelShelf) -> Iterator[str]:
    flat = shelf.pixels.reshape(len(shelf.pixels), -1)
    constant = flat.min(axis=1) == flat.max(axis=1)
    if constant.any():
        first = shelf.examples[int(constant.argmax())].path
        yield (
            f"{int(constant.sum())} of {len(flat)} images are of one colour throughout (as {first})"
        )


def _shortcuts(shelf: PixelShelf) -> Iterator[str]:
    """Yield traits that tell the classes apart without a look at the music."""
    targets = np.array([example.target for example in shelf.examples])
    for place in range(len(shelf.traits[0]) if shelf.traits else 0):
        of_class = [
            {
                traits[place]
                for traits, target in zip(shelf.traits, targets, strict=True)
                if target == c
            }
            for c in (0, 1)
        ]
        if not of_class[0] & of_class[1]:
            shown = " against ".join(sorted(part)[0] for part in of_class)
            yield f"label leak: the files alone tell the classes apart ({shown})"
    grey = shelf.pixels.reshape(*shelf.pixels.shape[:3], -1)[..., 0]
    looks = {
        "brightness": grey.mean(axis=(1, 2), dtype=np.float64),
        "the highest frequency with sound": _highest_row(grey),
        "the share of black": (grey == 0).mean(axis=(1, 2)),
    }
    for name, values in looks.items():
        area = auroc(targets, values)
        if max(area, 1 - area) >= _TELLING:
            shown = f"AUROC {max(area, 1 - area):.3f}"
            yield f"shortcut: {name} alone tells the classes apart ({shown})"


def _highest_row(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far up images reach, ``(n,)``, as a share of their height."""
    loud = grey.max(axis=2) > 0
    reach: NDArray[np.float64] = np.where(
        loud.any(axis=1), 1 - loud.argmax(axis=1) / loud.shape[1], 0.0
    )
    return reach
