"""Random order, augmentation and crops of examples, all drawn from seed, epoch and item.

Conventions: no draw depends on an earlier one, so a resumed run draws what an unbroken one would
have. A crop is ``(n_channels, clip_samples)`` at a detector's rate, mixed down where its contract
says so and zero-padded where the file is shorter.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from earwitness.audio.clips import describe_lack, pad_clip, place_windows, resampled_length
from earwitness.audio.decode import probe_audio, read_slice
from earwitness.core.cards import ClipContract
from earwitness.core.errors import AudioError
from earwitness.training.examples import Example

_ORDER = zlib.crc32(b"order of an epoch")


def rng_for(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Return the source of all draws for one item in one epoch."""
    return np.random.default_rng([seed, epoch, item])


def epoch_order(
    targets: Sequence[int], *, seed: int, epoch: int, balanced: bool
) -> NDArray[np.int64]:
    """Return which items an epoch takes, in order; as many as there are.

    Args:
        targets: ``(n_items,)`` of 0 and 1.
        seed: Of the run.
        epoch: From 0.
        balanced: Take as many of either class: of the larger one others each epoch, of the smaller
            one some several times.
    """
    rng = np.random.default_rng([seed, epoch, _ORDER, 0])
    n, labels = len(targets), np.asarray(targets)
    if not balanced:
        return rng.permutation(n)
    takes = (n // 2, n - n // 2)
    parts = [_repeated(np.flatnonzero(labels == c), takes[c], rng) for c in (0, 1)]
    return rng.permutation(np.concatenate(parts))


def _repeated(items: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``n`` items, none of them more than once more often than another."""
    rounds = [rng.permutation(items) for _ in range(math.ceil(n / len(items)))]
    return np.concatenate(rounds)[:n]


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, item)``, to each process of a group its own share.

    Args:
        targets: ``(n_items,)`` of 0 and 1.
        seed: Of the run.
        balanced: See ``epoch_order``.
    """

    def __init__(self, targets: Sequence[int], *, seed: int, balanced: bool) -> None:
        self._targets = targets
        self._seed = seed
        self._balanced = balanced
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / _place()[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = epoch_order(
            self._targets, seed=self._seed, epoch=self._epoch, balanced=self._balanced
        )
        place, n_processes = _place()
        order = np.resize(order, len(self) * n_processes)
        return ((self._epoch, int(item)) for item in order[place::n_processes])


class ValidSampler(Sampler[tuple[int, int]]):
    """Yields ``(0, item)`` in order, to each process of a group its own share."""

    def __init__(self, n: int) -> None:
        place, n_processes = _place()
        self._items = range(place, n, n_processes)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, item) for item in self._items)


def _place() -> tuple[int, int]:
    """Return which process of how many this is."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


_MOST_SHIFT = 0.5
_MOST_TIME, _MOST_BAND = 0.15, 0.12
_MOST_GAIN = 20


@dataclass(frozen=True)
class Augmentation:
    """One change.

    Attributes:
        shift: Columns that the image is moved to the right by; what falls out comes in at the left.
        gain: Added to every pixel that is not black: levels of 255.
        columns: From where to where time is masked, by the image's mean.
        rows: From where to where frequency is masked.
    """

    shift: int
    gain: int
    columns: tuple[int, int]
    rows: tuple[int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int]) -> Self:
        """Draw a change for images of this height and width."""
        height, width = size
        return cls(
            shift=int(rng.integers(0, max(1, int(_MOST_SHIFT * width)) + 1)),
            gain=int(rng.integers(-_MOST_GAIN, _MOST_GAIN + 1)),
            columns=_stretch(rng, width, _MOST_TIME),
            rows=_stretch(rng, height, _MOST_BAND),
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a changed copy."""
        moved = np.roll(image, self.shift, axis=1)
        louder = np.clip(moved.astype(np.int16) + self.gain, 0, 255).astype(np.uint8)
        changed = np.where(moved > 0, louder, moved)
        middle = np.uint8(changed.mean())
        changed[:, slice(*self.columns)] = middle
        changed[slice(*self.rows)] = middle
        return changed


def _stretch(rng: np.random.Generator, length: int, share: float) -> tuple[int, int]:
    n = int(rng.integers(0, int(share * length) + 1))
    start = int(rng.integers(0, length - n + 1))
    return start, start + n


def read_crop(path: Path, contract: ClipContract) -> NDArray[np.float32]:
    """Return the crop that scoring uses.

    Raises:
        AudioError: The file cannot be read.
    """
    (window,) = place_windows(_length(path, contract), contract)
    return _read(path, window.start, contract)


def draw_crop(path: Path, contract: ClipContract, place: float) -> NDArray[np.float32]:
    """Return a crop from anywhere, or the one that scoring uses where that is damaged.

    Args:
        path: The file.
        contract: Rate and length of the crop.
        place: Where, from 0 (the start of the file) to 1 (its end).

    Raises:
        AudioError: The file cannot be read.
    """
    room = max(_length(path, contract) - (contract.clip_samples or 0), 0)
    try:
        return _read(path, int(place * room), contract)
    except AudioError:
        return read_crop(path, contract)


def split_readable(
    examples: Sequence[Example], contract: ClipContract
) -> tuple[list[Example], list[tuple[Example, str]]]:
    """Return the files whose crop can be read and holds a sound; the others with the reason."""
    good: list[Example] = []
    failures: list[tuple[Example, str]] = []
    for example in examples:
        try:
            lack = describe_lack(read_crop(example.path, contract), contract)
        except AudioError as error:
            lack = error.reason
        if lack:
            failures.append((example, lack))
        else:
            good.append(example)
    return good, failures


def _length(path: Path, contract: ClipContract) -> int:
    info = probe_audio(path)
    return resampled_length(info.n_samples, info.sample_rate_hz, contract.sample_rate_hz)


def _read(path: Path, start: int, contract: ClipContract) -> NDArray[np.float32]:
    n_samples, rate_hz = contract.clip_samples or 0, contract.sample_rate_hz
    samples = read_slice(path, start, n_samples, sample_rate_hz=rate_hz, mono=contract.mono)
    return pad_clip(samples, n_samples)
