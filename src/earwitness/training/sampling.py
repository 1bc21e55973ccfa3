"""Random order, augmentation and crops of examples.

Conventions: random numbers depend on seed, epoch and item alone, so that resumed training gives the
same result. A crop is ``(n_channels, clip_samples)`` at the contract's rate, zero-padded if the
file is shorter.
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


def rng_for(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Return the random generator of one item in one epoch."""
    return np.random.default_rng([seed, epoch, item])


def epoch_order(
    targets: Sequence[int], *, seed: int, epoch: int, balanced: bool
) -> NDArray[np.int64]:
    """Return the items of an epoch (from 0), as many as ``targets``; balanced: half per class."""
    rng = np.random.default_rng([seed, epoch, zlib.crc32(b"order of an epoch"), 0])
    n, labels = len(targets), np.asarray(targets)
    if not balanced:
        return rng.permutation(n)
    takes = (n // 2, n - n // 2)
    parts = [_repeated(np.flatnonzero(labels == c), takes[c], rng) for c in (0, 1)]
    return rng.permutation(np.concatenate(parts))


def _repeated(items: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``n`` items, each as often as the others or once more."""
    rounds = [rng.permutation(items) for _ in range(math.ceil(n / len(items)))]
    return np.concatenate(rounds)[:n]


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields ``(epoch, item)`` of this process, see ``epoch_order``."""

    def __init__(self, targets: Sequence[int], *, seed: int, balanced: bool) -> None:
        self._targets = targets
        self._seed = seed
        self._balanced = balanced
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by Lightning."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self._targets) / _rank_and_size()[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = epoch_order(
            self._targets, seed=self._seed, epoch=self._epoch, balanced=self._balanced
        )
        rank, n_processes = _rank_and_size()
        order = np.resize(order, len(self) * n_processes)
        return ((self._epoch, int(item)) for item in order[rank::n_processes])


class ValidSampler(Sampler[tuple[int, int]]):
    """Yields ``(0, item)`` of this process, in order."""

    def __init__(self, n: int) -> None:
        rank, n_processes = _rank_and_size()
        self._items = range(rank, n, n_processes)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, item) for item in self._items)


def _rank_and_size() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of an image.

    Attributes:
        shift: Circular shift to the right, in columns.
        gain: Added to every pixel that is not black.
        columns: Start and end of a time mask, filled with the image's mean.
        rows: Start and end of a frequency mask.
    """

    shift: int
    gain: int
    columns: tuple[int, int]
    rows: tuple[int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int]) -> Self:
        """Return a random augmentation for images of this height and width."""
        height, width = size
        return cls(
            shift=int(rng.integers(0, max(1, int(0.5 * width)) + 1)),
            gain=int(rng.integers(-20, 21)),
            columns=_draw_mask(rng, width, 0.15),
            rows=_draw_mask(rng, height, 0.12),
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an augmented copy."""
        shifted = np.roll(image, self.shift, axis=1)
        louder = np.clip(shifted.astype(np.int16) + self.gain, 0, 255).astype(np.uint8)
        augmented = np.where(shifted > 0, louder, shifted)
        mean = np.uint8(augmented.mean())
        augmented[:, slice(*self.columns)] = mean
        augmented[slice(*self.rows)] = mean
        return augmented


def _draw_mask(rng: np.random.Generator, length: int, max_share: float) -> tuple[int, int]:
    n = int(rng.integers(0, int(max_share * length) + 1))
    start = int(rng.integers(0, length - n + 1))
    return start, start + n


def read_crop(path: Path, contract: ClipContract) -> NDArray[np.float32]:
    """Return the crop that scoring uses; ``AudioError`` if the file cannot be read."""
    (window,) = place_windows(_length(path, contract), contract)
    return _read(path, window.start, contract)


def draw_crop(path: Path, contract: ClipContract, place: float) -> NDArray[np.float32]:
    """Return a crop at ``place``, 0 (start) to 1 (end); ``read_crop`` if the file is damaged."""
    room = max(_length(path, contract) - (contract.clip_samples or 0), 0)
    try:
        return _read(path, int(place * room), contract)
    except AudioError:
        return read_crop(path, contract)


def split_readable(
    examples: Sequence[Example], contract: ClipContract
) -> tuple[list[Example], list[tuple[Example, str]]]:
    """Return the files with a readable, audible crop; the others with the reason."""
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
