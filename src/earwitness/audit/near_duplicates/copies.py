"""Copies: the same recording, transcoded, cut, resampled or amplified.

Recordings are sequences of 32-bit words (``fingerprint``). Keys are the middle bits of words that
are the least among their neighbours in a fixed shuffle, so that both sides select the same ones. A
candidate is a copy where few bits differ over the whole overlap, and shares a part where few differ
over a long stretch of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from earwitness.audit.near_duplicates.fingerprints import (
    HOP,
    N_BITS,
    RATE_HZ,
    Floats,
    Ints,
    Words,
)
from earwitness.audit.near_duplicates.index import (
    Candidates,
    InvertedIndex,
    Keys,
    find_candidates,
    key_bits,
)
from earwitness.audit.scratch import Collected, Scratch

SHORTEST = 128
"""Minimum overlap in words, about 1.9 s."""

_REACH = 3  # neighbours on each side that a key is the least of
_TOLERANCE = 4  # of shifts, in words
_RUN = 8  # words of a stretch that is compared first


def most_bit_error(n_words: NDArray[Any] | int) -> Floats:
    """Return the maximum share of differing bits between copies.

    Unrelated recordings differ in half of their bits, less 2.5 standard deviations of 0.25 /
    sqrt(n) at the best shift; pieces by one synthesiser in up to 0.23 less where they are short.
    Both fall with the root of the overlap, and so does the limit: 0.25 of 256 words (3 s), 0.35 of
    2 500 (30 s), 0.38 of 17 000 (200 s). Codecs cause 0.16 at most.
    """
    return np.asarray(0.4 - 2.4 / np.sqrt(np.maximum(n_words, SHORTEST)))


class Matches(NamedTuple):
    """Pairs of recordings of the same music.

    Attributes:
        one: ``(n,)`` recordings of the first index.
        other: ``(n,)`` recordings of the second.
        offset_s: ``(n,)`` start of the second in the first.
        similarity: ``(n,)`` at most 1.
        partial: ``(n,)`` whether only a part of the overlap is similar.
    """

    one: Ints
    other: Ints
    offset_s: Floats
    similarity: Floats
    partial: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.one)

    def take(self, numbers: Sequence[int]) -> Matches:
        """Return some of the pairs."""
        columns: Any = (column[list(numbers)] for column in self)
        return Matches(*columns)


def find_copies(
    one: InvertedIndex,
    other: InvertedIndex,
    *,
    same: bool = False,
    scratch: Scratch | None = None,
) -> Matches:
    """Return the pairs that are copies; ``similarity`` is the share of equal bits.

    Args:
        one: Words of recordings.
        other: Words of others.
        same: Whether both are one index: each pair once, and no recording with itself.
        scratch: Place for sorted keys, and the limits of memory.
    """
    scratch = scratch or Scratch()
    n_keys = [len(index.values) // (2 * _REACH + 1) for index in (one, other)]
    chance_hits = 1_000 * max(len(one), len(other))  # of evenly spread keys; these give 3 times
    bits = key_bits(math.prod(n_keys), chance_hits=chance_hits, among=range(16, 29))
    blocks = find_candidates(
        _keys(one, bits),
        _keys(other, bits),
        tolerance=_TOLERANCE,
        fewest=2,
        scratch=scratch,
        same=same,
    )
    kept = Collected(5, scratch)
    for found in blocks:  # in order of ``one``
        rows, n = np.empty((len(found.one), 5)), 0
        for number, near in _prefilter(one, other, found, scratch):
            first, second = int(found.one[number]), int(found.other[number])
            if overlap := _confirm(one.sequence(first), other.sequence(second), near):
                offset_s = overlap.shift * HOP / RATE_HZ
                rows[n] = first, second, offset_s, 1 - overlap.error, overlap.partial
                n += 1
            scratch.release()
        kept.add(rows[:n][np.lexsort(rows[:n, 1::-1].T)])
    columns = kept.columns()
    pairs = columns[0].astype(np.int64), columns[1].astype(np.int64)
    return Matches(*pairs, columns[2], columns[3], columns[4].astype(np.bool_))


def _keys(index: InvertedIndex, bits: int) -> Iterator[Keys]:
    for block in index.blocks():
        start, stop = index.starts[[block.start, block.stop]]
        words = index.values[start:stop]
        keys = (words >> np.uint32((N_BITS - bits) // 2)) & np.uint32((1 << bits) - 1)
        chosen = _select_keys(words, keys)
        owner = np.searchsorted(index.starts, chosen + start, "right") - 1
        place = chosen + start - index.starts[owner]
        yield Keys(keys[chosen], owner.astype(np.int32), place.astype(np.int32))


def _select_keys(words: NDArray[np.uint32], keys: NDArray[np.uint32]) -> Ints:
    """Return the positions of keys that are the least among their neighbours, once each."""
    rank = keys * np.uint32(2_654_435_761)  # Knuth's multiplicative hash
    rank[words == 0] = np.iinfo(np.uint32).max
    least = minimum_filter1d(rank, 2 * _REACH + 1, mode="nearest") == rank
    least &= words != 0
    least[1:] &= keys[1:] != keys[:-1]
    return np.flatnonzero(least)


def _prefilter(
    one: InvertedIndex, other: InvertedIndex, found: Candidates, scratch: Scratch
) -> Iterator[tuple[int, int]]:
    """Yield the candidates that a sample of words does not exclude, with their best shift."""
    most_error, most_run_error, most_pairs = 0.4, 0.27, 2_048
    around = np.arange(-_TOLERANCE, _TOLERANCE + 1)
    begin, end = _overlap(one, other, found.one, found.other, found.shift)
    all_runs = ((end - begin) // 400).clip(8, 64)
    for n_runs in np.unique(all_runs):
        alike = np.flatnonzero(all_runs == n_runs)
        batch = min(max(scratch.most_reads // 2, 1), most_pairs)
        for start in range(0, len(alike), batch):
            some = alike[start : start + batch]
            shifts = found.shift[some, None] + around
            pairs = found.one[some], found.other[some]
            errors, least = _sampled_errors(one, other, *pairs, shifts, n_runs=int(n_runs))
            best = np.where(least <= most_run_error, least - 1, errors).argmin(axis=1)
            rows = np.arange(len(best))
            kept = (errors[rows, best] <= most_error) | (least[rows, best] <= most_run_error)
            scratch.release()
            for row in np.flatnonzero(kept):
                yield int(some[row]), int(shifts[row, best[row]])


def _overlap(
    one: InvertedIndex, other: InvertedIndex, first: Ints, second: Ints, shifts: Ints
) -> tuple[Ints, Ints]:
    """Return where overlaps begin and end in the first recordings."""
    lengths = (
        index.starts[numbers + 1] - index.starts[numbers]
        for index, numbers in ((one, first), (other, second))
    )
    return np.maximum(shifts, 0), np.minimum(next(lengths), next(lengths) + shifts)


def _sampled_errors(
    one: InvertedIndex,
    other: InvertedIndex,
    first: Ints,
    second: Ints,
    shifts: Ints,
    *,
    n_runs: int,
) -> tuple[Floats, Floats]:
    """Return the share of differing bits in evenly spaced stretches of the overlap.

    Args:
        one: Words of recordings.
        other: Words of others.
        first: ``(n,)`` recordings of the first index.
        second: ``(n,)`` recordings of the second.
        shifts: ``(n, n_shifts)``.
        n_runs: Number of stretches.

    Returns:
        That of all stretches and that of the best, ``(n, n_shifts)`` each; 1 below ``SHORTEST``.
    """
    begin, end = _overlap(one, other, first[:, None], second[:, None], shifts)
    n = np.maximum(end - begin, 0)
    is_long = (n >= SHORTEST)[..., None]
    steps = np.arange(n_runs * _RUN) / (n_runs * _RUN)
    place = begin[..., None] + (n[..., None] * steps).astype(np.int64)
    places = (
        one.starts[first, None, None] + place,
        other.starts[second, None, None] + place - shifts[..., None],
    )
    a, b = (
        index.values[np.where(is_long, at, 0)]
        for index, at in zip((one, other), places, strict=True)
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
    """A shift, the share of differing bits, and whether only a part of the overlap is similar."""

    shift: int
    error: float
    partial: bool


def _confirm(one: Words, other: Words, near: int) -> _Overlap | None:
    """Return the best overlap within a word of ``near``, ``None`` where that is no copy."""
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
    return min(found, key=lambda overlap: (overlap.partial, overlap.error), default=None)


def _errors(one: Words, other: Words, shift: int) -> Floats:
    """Return the share of differing bits of every word of the overlap that is silent on no side."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    first, second = first[:n], second[:n]
    both = (first != 0) & (second != 0)
    errors: Floats = np.bitwise_count(first ^ second)[both] / N_BITS
    return errors


def bit_error(one: Words, other: Words, shift: int) -> float:
    """Return the share of differing bits over the overlap, 1 below ``SHORTEST``."""
    errors = _errors(one, other, shift)
    return float(errors.mean()) if len(errors) >= SHORTEST else 1.0


def _best_part(errors: Floats) -> slice:
    """Return the stretch with the largest sum of 0.36 less the error (maximum subarray)."""
    gained = np.concatenate([[0.0], np.cumsum(0.36 - errors)])
    end = int((gained - np.minimum.accumulate(gained)).argmax())
    return slice(int(gained[: end + 1].argmin()), end)


def _part_error(errors: Floats) -> float | None:
    """Return the share of differing bits in the best part, ``None`` where that is no match."""
    part = errors[_best_part(errors)]
    if len(part) < 400:  # 5 s
        return None
    error = float(part.mean())
    margin = 0.05  # as the best of many parts is taken
    return error if error <= most_bit_error(len(part)) - margin else None


def _has_unlike_rest(errors: Floats) -> bool:
    """Return whether over a fifth of an overlap, outside its best part, is other music."""
    part = _best_part(errors)
    rest = np.concatenate([errors[: part.start], errors[part.stop :]])
    return len(rest) > 0.2 * len(errors) and float(rest.mean()) > 0.45
