"""Crops of audio files, read when it is their turn: memory does not depend on how many there are.

Conventions: a crop is ``(n_channels, clip_samples)`` at a detector's rate, mixed down where its
contract says so, and zero-padded where the file is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import describe_lack, pad_clip, place_windows, resampled_length
from earwitness.audio.decode import probe_audio, read_slice
from earwitness.core.cards import ClipContract
from earwitness.core.errors import AudioError
from earwitness.training.examples import Example


def read_crop(path: Path, contract: ClipContract) -> NDArray[np.float32]:
    """Return the crop that scoring hears.

    Raises:
        AudioError: The file cannot be read.
    """
    (window,) = place_windows(_length(path, contract), contract)
    return _read(path, window.start, contract)


def draw_crop(path: Path, contract: ClipContract, place: float) -> NDArray[np.float32]:
    """Return a crop from anywhere, or the one that scoring hears where that is damaged.

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


def readable(
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
