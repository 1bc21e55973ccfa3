"""Training images of each side of a split, read from folders or rendered from audio.

Conventions: each clip of a file is an example of its own; all clips of a file are of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earwitness.audio.clips import Clip, describe_lack, pad_clip
from earwitness.audio.spectrogram import colour_table, draw_levels
from earwitness.core.cards import Windows, clips_for
from earwitness.core.errors import DatasetError
from earwitness.core.manifest import Manifest
from earwitness.core.spectrogram import SpectrogramContract
from earwitness.scoring.clips import ClipRequest, Job
from earwitness.scoring.workers import Task, decode_files
from earwitness.training.examples import (
    Example,
    SplitConfig,
    check_classes,
    check_sides,
    hold_out_test,
    list_sides,
    share_groups,
)
from earwitness.training.pixels import ImageDataset, PixelFile, shelve_images


def shelve_audio(
    examples: Sequence[Example],
    contract: SpectrogramContract,
    *,
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> ImageDataset:
    """Draw audio files; clips that hold nothing to analyse are left out.

    Args:
        examples: Audio files.
        contract: How to draw.
        windows: Clips per file.
        folder: Where the pixels are kept meanwhile, see ``PixelFile``.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file, and whether it could be read.

    Raises:
        DatasetError: None of them can be used, or there is no room on the disk.
    """
    request = ClipRequest(clips_for(contract), windows)
    by_path = {str(example.path): example for example in examples}
    failures: list[tuple[Example, str]] = []
    drawn: dict[str, list[tuple[int, int]]] = {}
    silent: dict[str, str] = {}
    tasks = [Task(Job(path), (request,)) for path in by_path]
    size = (contract.height, contract.width)
    with PixelFile(folder, size if contract.mode == "L" else (*size, 3)) as file:
        for decoded in decode_files(tasks, n_workers=n_workers):
            example, cut = by_path[decoded.job.path], decoded.cuts[request]
            if isinstance(cut, str):
                failures.append((example, cut))
            for clip in () if isinstance(cut, str) else cut.clips:
                if lack := describe_lack(clip.samples, request.contract, band_hz=contract.band_hz):
                    silent.setdefault(decoded.job.path, lack)
                else:
                    place = _start(clip), file.add(_draw(clip, contract))
                    drawn.setdefault(decoded.job.path, []).append(place)
            if advance and decoded.part == 0:
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
    return ImageDataset(
        tuple(example for example, _ in rows),
        pixels,
        tuple(place for _, place in rows),
        tuple(() for _ in rows),
        contract,
        tuple(sorted(failures, key=lambda failure: failure[0].name)),
    )


def _start(clip: Clip) -> int:
    return clip.window.start if clip.window else 0


def _draw(clip: Clip, contract: SpectrogramContract) -> NDArray[np.uint8]:
    samples = np.ascontiguousarray(pad_clip(clip.samples, contract.clip_samples))
    levels: NDArray[np.uint8] = draw_levels(torch.from_numpy(samples), contract).numpy()[0]
    return levels if contract.mode == "L" else colour_table(contract.colours)[levels]


@dataclass(frozen=True)
class Shelves:
    """Images to train a classifier with.

    Attributes:
        train: Training images.
        valid: Validation images.
        failures: Examples that could not be read, with the reason.
        test: Held-out images; nothing is chosen by them.
    """

    train: ImageDataset
    valid: ImageDataset
    failures: tuple[tuple[Example, str], ...] = ()
    test: ImageDataset | None = None


def shelve_folder(
    examples: Sequence[Example],
    sharing: SplitConfig,
    *,
    valid: Sequence[Example] | None = None,
    test: Sequence[Example] | None = None,
    folder: Path | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Read images, see ``find_images``, and share out the groups of sides that are not given.

    Args:
        examples: Images.
        sharing: How.
        valid: Images to validate with.
        test: Images to test with; where ``valid`` is given and these are not, nothing is tested.
        folder: Where their pixels are kept meanwhile, see ``PixelFile``.
        advance: Told of every image, and whether it could be read.

    Raises:
        DatasetError: A class is missing on a side, nothing can be read, or there is no room on
            the disk.
    """
    everything = [*examples, *(valid or ()), *(test or ())]
    shelf = shelve_images(everything, folder=folder, advance=advance)
    read = {example.name for example in shelf.examples}
    given = [example for example in examples if example.name in read]
    if test is None and valid is None and sharing.test_share:
        given, test, sharing = hold_out_test(given, sharing)
    train, held = (given, list(valid)) if valid is not None else share_groups(given, sharing)
    check_classes("train", train)
    check_classes("valid", held := [e for e in held if e.name in read])
    tested = [example for example in test or () if example.name in read]
    if test:
        check_classes("test", tested)
    return Shelves(
        shelf.chosen(train),
        shelf.chosen(held),
        shelf.failures,
        shelf.chosen(tested) if tested else None,
    )


def shelve_manifests(
    train: Sequence[Manifest],
    valid: Sequence[Manifest],
    contract: SpectrogramContract,
    sharing: SplitConfig,
    *,
    test: Sequence[Manifest] = (),
    windows: Windows = "published",
    folder: Path | None = None,
    n_workers: int | None = None,
    advance: Callable[[bool], None] | None = None,
) -> Shelves:
    """Draw the audio of manifests; without ``valid`` the groups are shared out.

    The arguments are those of ``list_sides`` and ``shelve_audio``.

    Raises:
        DatasetError: A class is missing on a side, a group is on two, nothing can be read, or there
            is no room on the disk.
        ManifestError: A file carries both labels.
        UsageError: ``sharing.group_by`` cannot be used.
    """
    examples, held, tested = list_sides(train, valid, sharing, test)
    ours, theirs = (
        shelve_audio(
            side, contract, windows=windows, folder=folder, n_workers=n_workers, advance=advance
        )
        for side in (examples, held)
    )
    check_sides(ours.examples, theirs.examples)
    failures = (*ours.failures, *theirs.failures)
    if not tested:
        return Shelves(ours, theirs, failures)
    last = shelve_audio(
        tested, contract, windows=windows, folder=folder, n_workers=n_workers, advance=advance
    )
    check_sides(ours.examples, last.examples, "test")
    check_sides(theirs.examples, last.examples, "test")
    return Shelves(ours, theirs, (*failures, *last.failures), last)
