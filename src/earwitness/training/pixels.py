"""Images that are trained on: their pixels lie in a file, and memory holds what it can.

Conventions: grey images are held in one channel, others in three; all have one size, that of the
contract or the most frequent one. An image that cannot be read is left out and told.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import DatasetError, ImageError
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.images.png import CONSTANT, ImageFacts, read_facts, read_image
from earwitness.scoring.workers import usable_processors
from earwitness.training.examples import Example

_AT_ONCE = 256
_GREY = frozenset({"1", "L", "LA", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"})
"""Kinds of pixels without colour, as Pillow names them."""

_T = TypeVar("_T")


class PixelFile:
    """Images of one shape, one behind the other in a file without a name.

    It goes when nothing holds its pixels any more, also after a crash. Use it in ``with``.

    Args:
        folder: Where the file lies; ``None`` is the system's folder for such.
        shape: Of each image.

    Raises:
        DatasetError: There is no room for it.
    """

    def __init__(self, folder: Path | None, shape: tuple[int, ...]) -> None:
        self._folder = folder
        self._shape = shape
        self._n = 0
        with self._refusals_in_words():
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # what could not be written was said before
            self._file.close()

    def add(self, image: NDArray[np.uint8]) -> int:
        """Add an image and return its number."""
        with self._refusals_in_words():
            self._file.write(np.ascontiguousarray(image).data)
        self._n += 1
        return self._n - 1

    def pixels(self) -> NDArray[np.uint8]:
        """Return ``(n, *shape)``, read from the file where it is looked at."""
        with self._refusals_in_words():
            self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._n, *self._shape))

    @contextlib.contextmanager
    def _refusals_in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._folder or "the folder for temporary files"
            raise DatasetError(
                f"{where}: images cannot be kept on disk after {self._n} of them ({error.strerror})"
            ) from error


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images and what they show.

    Attributes:
        examples: Of each image.
        pixels: ``(n, height, width)`` or ``(n, height, width, 3)`` uint8 of these and others.
        places: Of each image where it stands among the pixels.
        traits: Of each image its size, kind of pixels and contract, as they were in its file.
        contract: How all of them are drawn; ``None`` where they differ or do not say.
        failures: Examples that could not be read, with the reason.
        notes: What is unusual about the files of these and others.
    """

    examples: tuple[Example, ...]
    pixels: NDArray[np.uint8]
    places: tuple[int, ...]
    traits: tuple[tuple[str, ...], ...]
    contract: SpectrogramContract | None
    failures: tuple[tuple[Example, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def image(self, at: int) -> NDArray[np.uint8]:
        """Return a copy of an image."""
        return np.array(self.pixels[self.places[at]])

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield all images."""
        return map(self.image, range(len(self.examples)))

    def chosen(self, examples: Sequence[Example]) -> ImageDataset:
        """Return the images of some examples, in their order; those that failed are passed over."""
        places = {example.name: at for at, example in enumerate(self.examples)}
        kept = [places[example.name] for example in examples if example.name in places]
        return ImageDataset(
            tuple(self.examples[at] for at in kept),
            self.pixels,
            tuple(self.places[at] for at in kept),
            tuple(self.traits[at] for at in kept),
            self.contract,
            notes=self.notes,
        )


def shelve_images(
    examples: Sequence[Example],
    *,
    folder: Path | None = None,
    advance: Callable[[bool], None] | None = None,
) -> ImageDataset:
    """Read images; first of all how large they are and what is in them.

    Args:
        examples: Images.
        folder: Where their pixels are kept meanwhile, see ``PixelFile``.
        advance: Told of every image, and whether it could be read.

    Raises:
        DatasetError: None of them can be read, or there is no room on the disk.
    """
    notes: dict[str, list[Example]] = {}
    with ThreadPoolExecutor(usable_processors(), "reader") as pool:
        facts = {e.name: found for e, found in _each(pool, _look, examples) if found}
        size = _most_frequent(found.size for found in facts.values())
        doubtful = [e for e in examples if e.name in facts and facts[e.name].mode not in _GREY]
        grey = all(colourless for _, colourless in _each(pool, _is_colourless, doubtful))
        read = _each(pool, partial(_read, size=size, grey=grey, notes=notes), examples)
        kept, pixels, failures = _keep(read, folder, size if grey else (*size, 3), advance)
    contracts = {facts[example.name].contract for example in kept}
    return ImageDataset(
        tuple(kept),
        pixels,
        tuple(range(len(kept))),
        tuple(_traits(facts[example.name]) for example in kept),
        contracts.pop() if len(contracts) == 1 else None,
        tuple(failures),
        _describe_notes(notes, size, [facts[example.name] for example in kept]),
    )


def _keep(
    images: Iterable[tuple[Example, NDArray[np.uint8] | str]],
    folder: Path | None,
    shape: tuple[int, ...],
    advance: Callable[[bool], None] | None,
) -> tuple[list[Example], NDArray[np.uint8], list[tuple[Example, str]]]:
    """Return whose images could be read, their pixels, and the others with the reason."""
    kept: list[Example] = []
    failures: list[tuple[Example, str]] = []
    with PixelFile(folder, shape) as file:
        for example, image in images:
            if isinstance(image, str):
                failures.append((example, image))
            else:
                kept.append(example)
                file.add(image)
            if advance:
                advance(not isinstance(image, str))
        if not kept:
            example, reason = failures[0]
            raise DatasetError(f"no image can be read ({example.path}: {reason}, and so on)")
        return kept, file.pixels(), failures


def _most_frequent(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the most frequent size, or any where there is none."""
    return next((size for size, _ in Counter(sizes).most_common(1)), (1, 1))


def _each(
    pool: ThreadPoolExecutor, function: Callable[[Example], _T], examples: Sequence[Example]
) -> Iterator[tuple[Example, _T]]:
    """Yield examples with what a function makes of them, not many at once."""
    for start in range(0, len(examples), _AT_ONCE):
        some = examples[start : start + _AT_ONCE]
        yield from zip(some, pool.map(function, some), strict=True)


def _look(example: Example) -> ImageFacts | None:
    try:
        return read_facts(example.path)
    except ImageError:
        return None


def _is_colourless(example: Example) -> bool:
    """Tell whether an image is grey; one that cannot be read does not say otherwise."""
    try:
        pixels = read_image(example.path).pixels
    except ImageError:
        return True
    return bool((pixels == pixels[..., :1]).all())


def _read(
    example: Example, size: tuple[int, int], *, grey: bool, notes: dict[str, list[Example]]
) -> NDArray[np.uint8] | str:
    try:
        picture = read_image(example.path)
    except ImageError as error:
        return error.reason
    for note in picture.notes:
        if note != CONSTANT:  # counted by check_images
            notes.setdefault(note, []).append(example)
    pixels = picture.resized(size)
    return pixels[..., 0] if grey else pixels


def _describe_notes(
    notes: dict[str, list[Example]], size: tuple[int, int], facts: Sequence[ImageFacts]
) -> tuple[str, ...]:
    n_resized = sum(one.size != size for one in facts)
    height, width = size
    resized = f"{n_resized} of {len(facts)} images are resized to {height} × {width} pixels, the "
    lines = [resized + "most frequent size"] if n_resized else []
    for note, examples in sorted(notes.items()):
        first = min(str(example.path) for example in examples)
        lines.append(f"{len(examples)} images: {note} (as {first})")
    return tuple(lines)


def _traits(facts: ImageFacts) -> tuple[str, ...]:
    height, width = facts.size
    drawn = "drawn as told" if facts.contract else "not told how they are drawn"
    return (f"{height} × {width} pixels", f"pixels of kind {facts.mode}", drawn)
