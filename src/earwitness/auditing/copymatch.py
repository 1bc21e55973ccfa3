"""Copies: the same recording, coded, cut, resampled or amplified otherwise.

Conventions: sounds are sequences of 32-bit words (``audio.fingerprint``). Keys are the middle bits
of words that are the least, by a fixed shuffle, among their neighbours: both sides choose the same
ones without knowing of each other. A candidate is a copy where few bits differ over the whole
overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from earwitness.audio.fingerprint import HOP, N_BITS, RATE_HZ, Words
from earwitness.auditing.lookup import (
    Candidates,
    Ints,
    Keys,
    Library,
    concatenate,
    find_candidates,
    key_bits,
)

MOST_BIT_ERROR = 0.25
"""Share of differing bits up to which two sounds are one recording.

Codecs leave 0.16 at most; tonal music by one synthesiser comes down to 0.31 over a few seconds.
"""

SHORTEST = 256
"""Words that two sounds must overlap by, about 3 s."""

SHORTEST_S = SHORTEST * HOP / RATE_HZ

_REACH = 3
"""Neighbours on each side that a chosen word is the least of."""

_TOLERANCE = 4
_FEWEST_VOTES = 2
_BITS = range(16, 29)
_CHANCE_HITS = 1_000
"""Hits that chance would give a sound were keys spread evenly; chosen ones give thrice as many."""

_SHUFFLE = np.uint32(2_654_435_761)
_CHUNK = 512
"""Sounds that are looked up at once."""

_N_HASTY = 64
"""Words of the overlap that are looked at to see which candidates are worth a closer look."""

_AT_ONCE = 2_048
"""Candidates that are looked at at once."""

_HOPELESS = 0.4


class Matches(NamedTuple):
    """Pairs of sounds that are the same music.

    Attributes:
        one: ``(n,)`` sounds of the first library.
        other: ``(n,)`` sounds of the second.
        offset_s: ``(n,)`` where the other begins in the first.
        similarity: ``(n,)`` how alike they are, 1 at most.
    """

    one: Ints
    other: Ints
    offset_s: NDArray[np.float64]
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.one)

    def take(self, numbers: Sequence[int]) -> Matches:
        """Return some of the pairs."""
        chosen = np.array(numbers, dtype=np.int64)
        return Matches(
            self.one[chosen],
            self.other[chosen],
            self.offset_s[chosen],
            self.similarity[chosen],
        )


def find_copies(one: Library, other: Library, *, same: bool = False) -> Matches:
    """Return the pairs that are copies; ``similarity`` is the share of equal bits.

    Args:
        one: Words of sounds.
        other: Words of others.
        same: Both are one library: each pair is given once, and no sound with itself.
    """
    n_keys = [len(library.values) // (2 * _REACH + 1) for library in (one, other)]
    chance_hits = _CHANCE_HITS * max(len(one), len(other))
    bits = key_bits(math.prod(n_keys), chance_hits=chance_hits, among=_BITS)
    found = find_candidates(
        _keys(one, bits),
        concatenate(_keys(other, bits)),
        tolerance=_TOLERANCE,
        fewest=_FEWEST_VOTES,
        same=same,
    )
    kept = []
    for number, near in _look_hastily(one, other, found):
        first, second = int(found.one[number]), int(found.other[number])
        at, error = _confirm(one.sequence(first), other.sequence(second), near)
        if error <= MOST_BIT_ERROR:
            kept.append((first, second, at * HOP / RATE_HZ, 1 - error))
    columns = np.array(kept, dtype=np.float64).reshape(-1, 4).T
    return Matches(columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])


def _keys(library: Library, bits: int) -> Iterator[Keys]:
    """Yield the keys of some sounds at a time."""
    for first in range(0, max(len(library), 1), _CHUNK):
        last = min(first + _CHUNK, len(library))
        start, stop = library.starts[[first, last]]
        words = library.values[start:stop]
        keys = (words >> np.uint32((N_BITS - bits) // 2)) & np.uint32((1 << bits) - 1)
        chosen = _chosen(words, keys)
        owner = np.searchsorted(library.starts, chosen + start, "right") - 1
        place = chosen + start - library.starts[owner]
        yield Keys(keys[chosen], owner.astype(np.int32), place.astype(np.int32))


def _chosen(words: NDArray[np.uint32], keys: NDArray[np.uint32]) -> Ints:
    """Return the places of keys that are the least among their neighbours, once each."""
    rank = keys * _SHUFFLE
    rank[words == 0] = np.iinfo(np.uint32).max
    least = minimum_filter1d(rank, 2 * _REACH + 1, mode="nearest") == rank
    least &= words != 0
    least[1:] &= keys[1:] != keys[:-1]
    return np.flatnonzero(least)


def _look_hastily(one: Library, other: Library, found: Candidates) -> Iterator[tuple[int, int]]:
    """Yield candidates that are worth a closer look, and the best place by a few words."""
    around = np.arange(-_TOLERANCE, _TOLERANCE + 1)
    for start in range(0, len(found.one), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        shifts = found.shift[some, None] + around
        errors = _hasty_errors(one, other, found.one[some], found.other[some], shifts)
        best = errors.argmin(axis=1)
        rows = np.arange(len(best))
        for row in np.flatnonzero(errors[rows, best] <= _HOPELESS):
            yield start + int(row), int(shifts[row, best[row]])


def _hasty_errors(
    one: Library, other: Library, first: Ints, second: Ints, shifts: Ints
) -> NDArray[np.float64]:
    """Return the share of differing bits in some words of the overlap, 1 where it is too short.

    Args:
        one: Words of sounds.
        other: Words of others.
        first: ``(n,)`` sounds of the first library.
        second: ``(n,)`` sounds of the second.
        shifts: ``(n, n_shifts)`` places to look at.
    """
    begin = np.maximum(shifts, 0)
    end = np.minimum(one.lengths()[first, None], other.lengths()[second, None] + shifts)
    n = np.maximum(end - begin, 0)
    is_long = (n >= SHORTEST)[..., None]
    steps = np.arange(_N_HASTY) / _N_HASTY
    place = begin[..., None] + (n[..., None] * steps).astype(np.int64)
    places = (
        one.starts[first, None, None] + place,
        other.starts[second, None, None] + place - shifts[..., None],
    )
    a, b = (
        library.values[np.where(is_long, at, 0)]
        for library, at in zip((one, other), places, strict=True)
    )
    both = (a != 0) & (b != 0)
    differing = np.where(both, np.bitwise_count(a ^ b), 0).sum(axis=2, dtype=np.int64)
    n_both = both.sum(axis=2)
    errors = differing / (N_BITS * np.maximum(n_both, 1))
    return np.where(is_long[..., 0] & (n_both > 0), errors, 1.0)


def _confirm(one: Words, other: Words, near: int) -> tuple[int, float]:
    """Return the best place at ``near`` or beside it, and the share of bits that differ there."""
    places = (near, near - 1, near + 1)
    errors = [_bit_error(one, other, at) for at in places]
    best = int(np.argmin(errors))
    return places[best], errors[best]


def _bit_error(one: Words, other: Words, shift: int) -> float:
    """Return the share of bits that differ; 1 where the overlap is too short to tell."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    first, second = first[:n], second[:n]
    both = (first != 0) & (second != 0)
    n_both = int(both.sum())
    if n_both < SHORTEST:
        return 1.0
    differing = np.bitwise_count(first ^ second)[both].sum(dtype=np.int64)
    return float(differing) / (N_BITS * n_both)
