"""Images held in memory, and a look at them before training starts.

Conventions: grey images are held in one channel, others in three; all have one size, that of the
contract or the most frequent one. An image that cannot be read is left out and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DatasetError, ImageError
from earwitness.core.images import SpectrogramContract
from earwitness.passes.mapping import usable_processors
from earwitness.rendering.images import Picture, read_image
from earwitness.training.examples import Example


@dataclass(frozen=True, eq=False)
class PixelShelf:
    """Images and what they show.

    Attributes:
        examples: Of each image.
        pixels: ``(n, height, width)`` or ``(n, height, width, 3)`` uint8.
        traits: Of each image its size, kind of pixels and contract, as they were in its file.
        contract: How all of them are drawn; ``None`` where they differ or do not say.
        failures: Examples that could not be read, with the reason.
    """

    examples: tuple[Example, ...]
    pixels: NDArray[np.uint8]
    traits: tuple[tuple[str, ...], ...]
    contract: SpectrogramContract | None
    failures: tuple[tuple[Example, str], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def chosen(self, examples: Sequence[Example]) -> PixelShelf:
        """Return the images of some examples, in their order; those that failed are passed over."""
        places = {example.name: at for at, example in enumerate(self.examples)}
        kept = [places[example.name] for example in examples if example.name in places]
        return PixelShelf(
            tuple(self.examples[at] for at in kept),
            self.pixels[kept],
            tuple(self.traits[at] for at in kept),
            self.contract,
        )


def shelve_images(
    examples: Sequence[Example], *, advance: Callable[[bool], None] | None = None
) -> PixelShelf:
    """Read images into memory.

    Raises:
        DatasetError: None of them can be read.
    """
    seen: list[tuple[Example, Picture]] = []
    failures: list[tuple[Example, str]] = []
    with ThreadPoolExecutor(usable_processors(), "reader") as pool:
        for example, got in zip(examples, pool.map(_look, examples), strict=True):
            if isinstance(got, str):
                failures.append((example, got))
            else:
                seen.append((example, got))
            if advance:
                advance(not isinstance(got, str))
    if not seen:
        example, reason = failures[0]
        raise DatasetError(f"no image can be read ({example.path}: {reason}, and so on)")
    size = Counter(picture.size for _, picture in seen).most_common(1)[0][0]
    pictures = [picture.resized(size) for _, picture in seen]
    contracts = {picture.contract for _, picture in seen}
    return PixelShelf(
        tuple(example for example, _ in seen),
        stack_pixels(pictures),
        tuple(_traits(picture) for _, picture in seen),
        contracts.pop() if len(contracts) == 1 else None,
        tuple(failures),
    )


def stack_pixels(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return images as one array, in one channel where all of them are grey."""
    grey = all(image.ndim == 2 or (image == image[..., :1]).all() for image in images)
    return np.stack([image[..., 0] if grey and image.ndim > 2 else image for image in images])


def _look(example: Example) -> Picture | str:
    try:
        return read_image(example.path)
    except ImageError as error:
        return error.reason


def _traits(picture: Picture) -> tuple[str, ...]:
    height, width = picture.size
    drawn = "drawn as told" if picture.contract else "not told how they are drawn"
    return (f"{height} × {width} pixels", f"pixels of kind {picture.mode}", drawn)
