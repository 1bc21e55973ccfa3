"""Datasets of training images, read from files or rendered from audio; pixels are kept on disk.

Conventions: grey images have one channel, others three; all have one size, that of the contract or
the most frequent one. Each clip of an audio file is an example of the file's group.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, describe_lack, pad_clip
from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.cards import Windows, clips_for
from earwitness.core.errors import DatasetError, ImageError
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.images.png import CONSTANT, ImageInfo, read_image, read_info
from earwitness.scoring.clips import ClipRequest, Job
from earwitness.scoring.workers import Task, decode_files, usable_processors
from earwitness.training.examples import (
    Example,
    SplitConfig,
    check_classes,
    check_splits,
    hold_out_test,
    list_splits,
    split_groups,
)

_T = TypeVar("_T")
Failure = tuple[Example, str]
"""An example that could not be read, with the reason."""


class PixelFile:
    """Images of one shape in an unnamed temporary file, which exists as long as its pixels.

    A context manager; its methods raise ``DatasetError`` if the disk is full.
    """

    def __init__(self, folder: Path | None, shape: tuple[int, ...]) -> None:
        self._folder = folder
        self._shape = shape
        self._n = 0
        with self._describe_errors():
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # failed writes were reported before
            self._file.close()

    def add(self, image: NDArray[np.uint8]) -> int:
        """Add an image and return its number."""
        with self._describe_errors():
            self._file.write(np.ascontiguousarray(image).data)
        self._n += 1
        return self._n - 1

    def pixels(self) -> NDArray[np.uint8]:
        """Return ``(n, *shape)``, mapped from the file."""
        with self._describe_errors():
            self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._n, *self._shape))

    @contextlib.contextmanager
    def _describe_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._folder or "the folder for temporary files"
            raise DatasetError(
                f"{where}: images cannot be kept on disk after {self._n} of them ({error.strerror})"
            ) from error


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Images of one split.

    Attributes:
        examples: Example of each image.
        pixels: ``(n, height, width)`` or ``(n, height, width, 3)`` uint8 of all splits.
        places: Index of each image in ``pixels``.
        traits: Size, mode and origin of each image's file, in words.
        contract: Rendering parameters; ``None`` if they differ or are unknown.
        failures: Examples that could not be read.
        notes: Anomalies of the files of all splits.
    """

    examples: tuple[Example, ...]
    pixels: NDArray[np.uint8]
    places: tuple[int, ...]
    traits: tuple[tuple[str, ...], ...]
    contract: SpectrogramContract | None
    failures: tuple[Failure, ...] = ()
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

    def subset(self, examples: Sequence[Example]) -> ImageDataset:
        """Return the images of those examples that could be read, in their order."""
        places = {example.name: at for at, example in enumerate(self.examples)}
        kept = [places[example.name] for example in examples if example.name in places]
        return replace(
            self,
            examples=tuple(self.examples[at] for at in kept),
            places=tuple(self.places[at] for at in kept),
            traits=tuple(self.traits[at] for at in kept),
            failures=(),
        )


@dataclass(frozen=True)
class ImageSplits:
    """Training, validation and test images, and examples that could not be read."""

    train: ImageDataset
    valid: ImageDataset
    failures: tuple[Failure, ...] = ()
    test: ImageDataset | None = None


def read_images(
    examples: Sequence[Example],
    *,
    folder: Path | None = None,
    advance: Callable[[bool], None] = lambda _: None,
) -> ImageDataset:
    """Read images; ``DatasetError`` if none can be read or the disk is full."""
    notes: dict[str, list[Example]] = {}
    failures: list[Failure] = []
    kept: list[Example] = []
    with ThreadPoolExecutor(usable_processors(), "reader") as pool:
        infos = {e.name: found for e, found in _map(pool, _read_info, examples) if found}
        sizes = Counter(info.size for info in infos.values())
        size = next((size for size, _ in sizes.most_common(1)), (1, 1))
        coloured = [e for e in examples if e.name in infos and infos[e.name].mode not in _GREY]
        grey = all(is_grey for _, is_grey in _map(pool, _is_grey, coloured))
        read = partial(_read, size=size, grey=grey, notes=notes)
        with PixelFile(folder, size if grey else (*size, 3)) as file:
            for example, image in _map(pool, read, examples):
                if isinstance(image, str):
                    failures.append((example, image))
                else:
                    kept.append(example)
                    file.add(image)
                advance(not isinstance(image, str))
            if not kept:
                example, reason = failures[0]
                raise DatasetError(f"no image can be read ({example.path}: {reason}, and so on)")
            pixels = file.pixels()
    found = [infos[example.name] for example in kept]
    contracts = {info.contract for info in found}
    return ImageDataset(
        tuple(kept),
        pixels,
        tuple(range(len(kept))),
        tuple(map(_traits, found)),
        contracts.pop() if len(contracts) == 1 else None,
        tuple(failures),
        tuple(_describe_notes(notes, size, found)),
    )


_GREY = frozenset({"1", "L", "LA", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's modes without colour."""


def _map(
    pool: ThreadPoolExecutor, function: Callable[[Example], _T], examples: Sequence[Example]
) -> Iterator[tuple[Example, _T]]:
    """Yield examples with the results of a function, in batches to bound memory."""
    for start in range(0, len(examples), 256):
        batch = examples[start : start + 256]
        yield from zip(batch, pool.map(function, batch), strict=True)


def _read_info(example: Example) -> ImageInfo | None:
    try:
        return read_info(example.path)
    except ImageError:
        return None


def _is_grey(example: Example) -> bool:
    """Return whether an image is grey, or cannot be read."""
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
    notes: dict[str, list[Example]], size: tuple[int, int], infos: Sequence[ImageInfo]
) -> Iterator[str]:
    if n_resized := sum(info.size != size for info in infos):
        shape = " × ".join(map(str, size))
        yield f"{n_resized} of {len(infos)} images resized to {shape}, the most frequent size"
    for note, examples in sorted(notes.items()):
        first = min(str(example.path) for example in examples)
        yield f"{len(examples)} images: {note} (as {first})"


def _traits(info: ImageInfo) -> tuple[str, ...]:
    shape = " × ".join(map(str, info.size))
    known = "with" if info.contract else "without"
    return (f"{shape} pixels", f"pixels of kind {info.mode}", f"{known} rendering parameters")


def prepare_images(
    train: Sequence[Example],
    config: SplitConfig,
    *,
    valid: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
    folder: Path | None = None,
    advance: Callable[[bool], None] = lambda _: None,
) -> ImageSplits:
    """Read images and split the groups of ``train`` if no validation images are given.

    Without ``valid`` and ``test``, ``config.test_share`` of them are held out for the test.
    ``DatasetError`` if a split lacks a class, nothing can be read, or the disk is full.
    """
    everything = [*train, *(valid or ()), *(test or ())]
    dataset = read_images(everything, folder=folder, advance=advance)
    read = {example.name for example in dataset.examples}
    given = [example for example in train if example.name in read]
    if test is None and valid is None and config.test_share:
        given, test, config = hold_out_test(given, config)
    given, held = (given, list(valid)) if valid is not None else split_groups(given, config)
    check_classes("train", given)
    check_classes("valid", held := [e for e in held if e.name in read])
    tested = [example for example in test or () if example.name in read]
    if test:
        check_classes("test", tested)
    return ImageSplits(
        dataset.subset(given),
        dataset.subset(held),
        dataset.failures,
        dataset.subset(tested) if tested else None,
    )


def prepare_audio(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    contract: SpectrogramContract,
    config: SplitConfig,
    *,
    test: Sequence[Manifest] = (),
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] = lambda _: None,
) -> ImageSplits:
    """Render the audio of manifests; for splits see ``list_splits``.

    ``DatasetError`` if a split lacks a class, a group is in two, nothing can be read, or the disk
    is full.
    """
    render = partial(
        _render,
        contract=contract,
        windows=windows,
        folder=folder,
        n_workers=n_workers,
        advance=advance,
    )
    ours, held, *tested = map(render, filter(None, list_splits(train, valid, config, test)))
    check_splits(ours.examples, held.examples)
    for last in tested:
        check_splits(ours.examples, last.examples, "test")
        check_splits(held.examples, last.examples, "test")
    failures = [failure for split in (ours, held, *tested) for failure in split.failures]
    return ImageSplits(ours, held, tuple(failures), tested[0] if tested else None)


def _render(
    examples: Sequence[Example],
    *,
    contract: SpectrogramContract,
    windows: Windows,
    folder: Path | None,
    n_workers: int | None,
    advance: Callable[[bool], None],
) -> ImageDataset:
    """Render audio files; silent clips are left out."""
    request = ClipRequest(clips_for(contract), windows)
    by_path = {str(example.path): example for example in examples}
    failures: list[Failure] = []
    drawn: dict[str, list[tuple[int, int]]] = {}
    silent: dict[str, str] = {}
    tasks = [Task(Job(path), (request,)) for path in by_path]
    size = (contract.height, contract.width)
    with PixelFile(folder, size if contract.mode == "L" else (*size, 3)) as file:
        for decoded in decode_files(tasks, n_workers=n_workers):
            path, cut = decoded.job.path, decoded.cuts[request]
            if isinstance(cut, str):
                failures.append((by_path[path], cut))
            for clip in () if isinstance(cut, str) else cut.clips:
                if lack := describe_lack(clip.samples, request.contract, band_hz=contract.band_hz):
                    silent.setdefault(path, lack)
                else:
                    start = clip.window.start if clip.window else 0
                    place = file.add(_draw(clip, contract))
                    drawn.setdefault(path, []).append((start, place))
            if decoded.part == 0:
                advance(not isinstance(cut, str))
        failures += [(by_path[p], lack) for p, lack in silent.items() if p not in drawn]
        if not drawn:
            raise DatasetError(f"no file can be used ({failures[0][0].path}: {failures[0][1]}, …)")
        pixels = file.pixels()
    rows = [
        (replace(by_path[path], name=f"{by_path[path].name}#{start}"), place)
        for path in by_path
        for start, place in sorted(drawn.get(path, ()))
    ]
    kept, places = zip(*rows, strict=True)
    failures.sort(key=lambda failure: failure[0].name)
    return ImageDataset(kept, pixels, places, ((),) * len(rows), contract, tuple(failures))


def _draw(clip: Clip, contract: SpectrogramContract) -> NDArray[np.uint8]:
    samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
    levels: NDArray[np.uint8] = draw_levels(torch.from_numpy(samples), contract).numpy()[0]
    return levels if contract.mode == "L" else colour_table(contract.colours)[levels]
