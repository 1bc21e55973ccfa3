"""Versions: the same music made anew, by a codec, a vocoder, a network or another recording.

Conventions: sounds are time–chroma sequences (``audio.chroma``). Few pairs are all aligned. Of many
pairs those are that share buckets: windows of 5 s, thinned to two values a second and class, fall
into buckets by the signs of random projections. Alignment over the whole overlap decides; how high
its score must be follows from how high strangers come by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from earwitness.audio.chroma import N_CLASSES
from earwitness.auditing.alignment import (
    FRAMES_PER_S,
    Alignment,
    Spectra,
    align_near,
    slide,
    transform_length,
)
from earwitness.auditing.copymatch import Matches
from earwitness.auditing.lookup import (
    Candidates,
    Keys,
    Library,
    concatenate,
    find_candidates,
    key_bits,
)

ALL_PAIRS = 3e8
"""Pairs times frames up to which every pair is aligned: some 1 000 sounds of 30 s."""

_WINDOW = 40
_THINNED = 4
_STEPS = (4, 16)
"""Frames between windows of the side that asks and of the side that answers."""

_N_TABLES = 32
_BITS = range(8, 27)
_CHANCE_HITS = 2_000
"""Hits that chance may give a sound."""

_TOLERANCE = 4
_FEWEST_VOTES = 2
_SEED = 20_260_101
_WORD_BITS = 32
_CHUNK = 512
"""Sounds whose windows are projected at once, or that one is slid over."""


class Scored(NamedTuple):
    """Matches and their scores.

    Attributes:
        matches: Proposed pairs; ``similarity`` is their correlation.
        score: ``(n,)`` what is held against chance.
    """

    matches: Matches
    score: NDArray[np.float64]


def find_versions(one: Library, other: Library, *, same: bool = False) -> Scored:
    """Return pairs and their scores: all that were aligned, whatever came of it.

    Args:
        one: Time–chroma of sounds.
        other: Time–chroma of others.
        same: Both are one library: each pair is given once, and no sound with itself.
    """
    longest = max((*one.lengths().tolist(), *other.lengths().tolist()), default=0)
    n = transform_length(2 * longest)
    n_pairs = len(one) * len(other) // (2 if same else 1)
    aligned = (
        _align_all(one, other, n, same=same)
        if n_pairs * n <= ALL_PAIRS
        else (_align_proposed(one, other, same=same))
    )
    rows = [(a, b, at / FRAMES_PER_S, r, z) for a, b, (at, r, z) in aligned if z > -np.inf]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    pairs = (columns[0].astype(np.int64), columns[1].astype(np.int64))
    return Scored(Matches(*pairs, columns[2], columns[3]), columns[4])


def _align_all(
    one: Library, other: Library, n: int, *, same: bool
) -> Iterator[tuple[int, int, Alignment]]:
    for start in range(0, len(other), _CHUNK):
        others = range(start, min(start + _CHUNK, len(other)))
        answering = Spectra([other.sequence(number) for number in others], n)
        for number in range(others.stop - 1 if same else len(one)):
            asking = Spectra([one.sequence(number)], n)
            for partner, alignment in zip(others, slide(asking, 0, answering), strict=True):
                if not same or number < partner:
                    yield number, partner, alignment


def _align_proposed(
    one: Library, other: Library, *, same: bool
) -> Iterator[tuple[int, int, Alignment]]:
    found = _propose(one, other, same=same)
    for first, second, shift in zip(found.one, found.other, found.shift, strict=True):
        near = range(int(shift) - _TOLERANCE + 1, int(shift) + _TOLERANCE)
        yield first, second, align_near(one.sequence(first), other.sequence(second), near)


def _propose(one: Library, other: Library, *, same: bool) -> Candidates:
    asked, answer = _STEPS
    n_windows = [
        sum(_n_windows(int(n), step) for n in library.lengths())
        for library, step in ((one, asked), (other, answer))
    ]
    chance_hits = _CHANCE_HITS * max(len(one), len(other))
    bits = key_bits(_N_TABLES * math.prod(n_windows), chance_hits=chance_hits, among=_BITS)
    planes = np.random.default_rng(_SEED).standard_normal(
        (_WINDOW // _THINNED * N_CLASSES, _N_TABLES * bits), dtype=np.float32
    )
    return find_candidates(
        _keys(one, asked, planes, bits),
        concatenate(_keys(other, answer, planes, bits)),
        tolerance=_TOLERANCE,
        fewest=_FEWEST_VOTES,
        same=same,
    )


def _n_windows(n_frames: int, step: int) -> int:
    return max((n_frames - _WINDOW) // step + 1, 0)


def _keys(library: Library, step: int, planes: NDArray[np.float32], bits: int) -> Iterator[Keys]:
    """Yield, some sounds at a time, a key for every window and table: its number and the signs."""
    for start in range(0, max(len(library), 1), _CHUNK):
        numbers = range(start, min(start + _CHUNK, len(library)))
        windows = [_windows_of(library.sequence(n), step) for n in numbers]
        counts = np.array([len(few) for few in windows], dtype=np.int64)
        places = [step * np.arange(count, dtype=np.int32) for count in counts]
        stacked = np.concatenate([np.zeros((0, len(planes)), dtype=np.float32), *windows])
        yield Keys(
            _buckets(stacked @ planes, bits).ravel(),
            np.repeat(np.array(numbers, dtype=np.int32), counts * _N_TABLES),
            np.repeat(np.concatenate([np.zeros(0, dtype=np.int32), *places]), _N_TABLES),
        )


def _buckets(projected: NDArray[np.float32], bits: int) -> NDArray[np.uint32]:
    signs = np.zeros((len(projected), _N_TABLES, _WORD_BITS), dtype=np.bool_)
    signs[..., -bits:] = (projected > 0).reshape(len(projected), _N_TABLES, bits)
    buckets = np.packbits(signs, axis=2).view(">u4")[..., 0].astype(np.uint32)
    tables = np.arange(_N_TABLES, dtype=np.uint32) << np.uint32(bits)
    return buckets | tables


def _windows_of(chroma: NDArray[np.int8], step: int) -> NDArray[np.float32]:
    n = _n_windows(len(chroma), step)
    if n == 0:
        return np.zeros((0, _WINDOW // _THINNED * N_CLASSES), dtype=np.float32)
    smooth = uniform_filter1d(chroma.astype(np.float32), _THINNED, axis=0)
    within = np.arange(0, _WINDOW, _THINNED)
    rows = step * np.arange(n)[:, None] + within
    windows: NDArray[np.float32] = smooth[rows].reshape(n, -1)
    return windows
