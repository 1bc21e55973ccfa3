"""Copies: the same recording, coded, cut, resampled or amplified otherwise.

Conventions: sounds are sequences of 32-bit words (``audio.fingerprint``). Keys are the middle bits
of words that are the least, by a fixed shuffle, among their neighbours: both sides choose the same
ones without knowing of each other. A candidate is a copy where few bits differ over the whole
overlap, and shares a part where few differ over a long stretch of it. How many bits may differ
follows from how many there are (``most_bit_error``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from earwitness.audit.near_duplicates.fingerprints import HOP, N_BITS, RATE_HZ, Words
from earwitness.audit.near_duplicates.index import (
    Candidates,
    Ints,
    InvertedIndex,
    Keys,
    concatenate,
    find_candidates,
    key_bits,
)

SHORTEST = 128
"""Words that two sounds must overlap by, about 1.9 s of sound."""

SHORTEST_PART = 400
"""Words of a part that two otherwise unlike sounds must share, about 5 s."""

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

_RUN = 8
"""Words of one of the stretches that are looked at to see which candidates are promising."""

_RUN_APART = 400
"""Words of the overlap for each such stretch, and the fewest and most stretches."""

_N_RUNS = (8, 64)

_AT_ONCE = 2_048
"""Candidates that are looked at at once."""

_MOST_SAMPLED_ERROR = 0.4
_MOST_RUN_ERROR = 0.27
"""Share of differing bits above which no whole overlap, and no stretch of one, is promising."""

_PART = 0.36
"""Share of differing bits that a part ends at."""

_UNLIKE_REST = 0.2
_UNLIKE_ERROR = 0.45
"""Share of an overlap, and of its differing bits, from which the rest is other music."""

_PART_MARGIN = 0.05
"""How much fewer bits may differ in a part: the best of many is looked for."""


def most_bit_error(n_words: NDArray[Any] | int) -> NDArray[np.float64]:
    """Return the share of differing bits up to which sounds are one recording.

    Strangers differ in half of their bits, less 2.5 standard deviations of 0.25 / sqrt(n) at the
    best place; pieces by one synthesiser in up to 0.23 less where they are short. Both fall with
    the root of the overlap, and so does what is asked: 0.25 of 256 words (3 s), 0.35 of 2 500
    (30 s), 0.38 of 17 000 (200 s). Codecs leave 0.16 at most.
    """
    return np.asarray(0.4 - 2.4 / np.sqrt(np.maximum(n_words, SHORTEST)))


class Matches(NamedTuple):
    """Pairs of sounds that are the same music.

    Attributes:
        one: ``(n,)`` sounds of the first library.
        other: ``(n,)`` sounds of the second.
        offset_s: ``(n,)`` where the other begins in the first.
        similarity: ``(n,)`` how alike they are, 1 at most.
        partial: ``(n,)`` whether a part of the overlap is alike and the rest is not.
    """

    one: Ints
    other: Ints
    offset_s: NDArray[np.float64]
    similarity: NDArray[np.float64]
    partial: NDArray[np.bool_]

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
            self.partial[chosen],
        )


def find_copies(one: InvertedIndex, other: InvertedIndex, *, same: bool = False) -> Matches:
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
    for number, near in _prefilter(one, other, found):
        first, second = int(found.one[number]), int(found.other[number])
        if alike := _confirm(one.sequence(first), other.sequence(second), near):
            offset_s = alike.shift * HOP / RATE_HZ
            kept.append((first, second, offset_s, 1 - alike.error, alike.partial))
    columns = np.array(kept, dtype=np.float64).reshape(-1, 5).T
    pairs = columns[0].astype(np.int64), columns[1].astype(np.int64)
    return Matches(*pairs, columns[2], columns[3], columns[4].astype(np.bool_))


def _keys(library: InvertedIndex, bits: int) -> Iterator[Keys]:
    """Yield the keys of some sounds at a time."""
    for first in range(0, max(len(library), 1), _CHUNK):
        last = min(first + _CHUNK, len(library))
        start, stop = library.starts[[first, last]]
        words = library.values[start:stop]
        keys = (words >> np.uint32((N_BITS - bits) // 2)) & np.uint32((1 << bits) - 1)
        chosen = _select_keys(words, keys)
        owner = np.searchsorted(library.starts, chosen + start, "right") - 1
        place = chosen + start - library.starts[owner]
        yield Keys(keys[chosen], owner.astype(np.int32), place.astype(np.int32))


def _select_keys(words: NDArray[np.uint32], keys: NDArray[np.uint32]) -> Ints:
    """Return the places of keys that are the least among their neighbours, once each."""
    rank = keys * _SHUFFLE
    rank[words == 0] = np.iinfo(np.uint32).max
    least = minimum_filter1d(rank, 2 * _REACH + 1, mode="nearest") == rank
    least &= words != 0
    least[1:] &= keys[1:] != keys[:-1]
    return np.flatnonzero(least)


def _prefilter(
    one: InvertedIndex, other: InvertedIndex, found: Candidates
) -> Iterator[tuple[int, int]]:
    """Yield promising candidates, and the best place by a few words."""
    around = np.arange(-_TOLERANCE, _TOLERANCE + 1)
    _, ends = _overlap(one, other, found.one, found.other, found.shift)
    order = np.argsort(ends - np.maximum(found.shift, 0), kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        shifts = found.shift[some, None] + around
        errors, least = _sampled_errors(one, other, found.one[some], found.other[some], shifts)
        best = np.where(least <= _MOST_RUN_ERROR, least - 1, errors).argmin(axis=1)
        rows = np.arange(len(best))
        promising = (errors[rows, best] <= _MOST_SAMPLED_ERROR) | (
            least[rows, best] <= _MOST_RUN_ERROR
        )
        for row in np.flatnonzero(promising):
            yield int(some[row]), int(shifts[row, best[row]])


def _overlap(
    one: InvertedIndex, other: InvertedIndex, first: Ints, second: Ints, shifts: Ints
) -> tuple[Ints, Ints]:
    """Return where overlaps begin and end in the first sounds."""
    return np.maximum(shifts, 0), np.minimum(one.lengths()[first], other.lengths()[second] + shifts)


def _sampled_errors(
    one: InvertedIndex, other: InvertedIndex, first: Ints, second: Ints, shifts: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of differing bits in some stretches, of all and of the best of them.

    Args:
        one: Words of sounds.
        other: Words of others.
        first: ``(n,)`` sounds of the first library.
        second: ``(n,)`` sounds of the second.
        shifts: ``(n, n_shifts)`` places to look at.

    Returns:
        Both ``(n, n_shifts)``, 1 where the overlap is too short.
    """
    begin, end = _overlap(one, other, first[:, None], second[:, None], shifts)
    n = np.maximum(end - begin, 0)
    is_long = (n >= SHORTEST)[..., None]
    n_runs = int(np.clip(n.max(initial=0) // _RUN_APART, *_N_RUNS))
    steps = np.arange(n_runs * _RUN) / (n_runs * _RUN)
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
    differing = np.where(both, np.bitwise_count(a ^ b), 0)
    runs = (*n.shape, n_runs, _RUN)
    n_both = both.reshape(runs).sum(axis=-1)
    by_run = differing.reshape(runs).sum(axis=-1, dtype=np.int64)
    least = np.where(n_both == _RUN, by_run / (N_BITS * _RUN), 1.0).min(axis=-1)
    n_all = n_both.sum(axis=-1)
    errors = by_run.sum(axis=-1) / (N_BITS * np.maximum(n_all, 1))
    return np.where(n_all > 0, errors, 1.0), least


class _Overlap(NamedTuple):
    """Where two sounds are alike.

    Attributes:
        shift: Place in the first where the other begins.
        error: Share of bits that differ.
        partial: In a part of the overlap alone.
    """

    shift: int
    error: float
    partial: bool


def _confirm(one: Words, other: Words, near: int) -> _Overlap | None:
    """Return how alike sounds are at ``near`` or beside it, ``None`` where they are not."""
    found = []
    for shift in (near, near - 1, near + 1):
        errors = _errors(one, other, shift)
        if len(errors) < SHORTEST:
            continue
        error = float(errors.mean())
        if error <= most_bit_error(len(errors)):
            partial = _has_unlike_rest(errors)
            inside = float(errors[_best_part(errors)].mean()) if partial else error
            found.append(_Overlap(shift, inside, partial))
        elif (part := _part_error(errors)) is not None:
            found.append(_Overlap(shift, part, True))
    return min(found, key=lambda alike: (alike.partial, alike.error), default=None)


def _errors(one: Words, other: Words, shift: int) -> NDArray[np.float64]:
    """Return the share of differing bits of every word of the overlap that both sides have."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    first, second = first[:n], second[:n]
    both = (first != 0) & (second != 0)
    errors: NDArray[np.float64] = np.bitwise_count(first ^ second)[both] / N_BITS
    return errors


def bit_error(one: Words, other: Words, shift: int) -> float:
    """Return the share of bits that differ over the overlap, 1 where it is too short to tell."""
    errors = _errors(one, other, shift)
    return float(errors.mean()) if len(errors) >= SHORTEST else 1.0


def _best_part(errors: NDArray[np.float64]) -> slice:
    """Return the stretch that gains most: by every word what that is below ``_PART``.

    It has the largest sum of all stretches (maximum subarray), found by one pass over running sums.
    """
    gained = np.concatenate([[0.0], np.cumsum(_PART - errors)])
    end = int((gained - np.minimum.accumulate(gained)).argmax())
    return slice(int(gained[: end + 1].argmin()), end)


def _part_error(errors: NDArray[np.float64]) -> float | None:
    """Return the share of differing bits in the best part, ``None`` where that is no match."""
    part = errors[_best_part(errors)]
    if len(part) < SHORTEST_PART:
        return None
    error = float(part.mean())
    return error if error <= most_bit_error(len(part)) - _PART_MARGIN else None


def _has_unlike_rest(errors: NDArray[np.float64]) -> bool:
    """Return whether a good share of an overlap, outside its best part, is unlike."""
    part = _best_part(errors)
    rest = np.concatenate([errors[: part.start], errors[part.stop :]])
    return len(rest) > _UNLIKE_REST * len(errors) and float(rest.mean()) > _UNLIKE_ERROR
