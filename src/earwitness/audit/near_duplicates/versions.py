"""Versions: the same music made anew, by a codec, a vocoder, a network or another recording.

Conventions: sounds are time–chroma sequences (``audio.chroma``). Few pairs are all aligned. Of many
pairs those are that share buckets: windows of 5 s, thinned to two values a second and class, fall
into buckets by the signs of random projections. Alignment over the whole overlap decides; how high
its score must be follows from how high strangers come by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from earwitness.audit.near_duplicates.alignment import (
    FRAMES_PER_S,
    VARIANTS,
    Alignment,
    Spectra,
    Variant,
    align_near,
    slide,
    transform_length,
    vary,
)
from earwitness.audit.near_duplicates.copies import Matches, bit_error
from earwitness.audit.near_duplicates.fingerprints import (
    CHROMA_HOP,
    HOP,
    N_CLASSES,
    RATE_HZ,
    Chroma,
    Words,
)
from earwitness.audit.near_duplicates.index import (
    Ints,
    InvertedIndex,
    Keys,
    concatenate,
    find_candidates,
    key_bits,
    stack,
)

ALL_PAIRS = 3e8
"""Pairs times frames up to which every pair is aligned: some 1 000 sounds of 30 s."""

_WINDOW = 40
_THINNED = 4
_STEPS = (4, 16)
"""Frames between windows of the side that asks and of the side that answers."""

_N_TABLES = 32
_N_VARIANT_TABLES = 16
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
        variant: ``(n,)`` number in ``VARIANTS``, -1 for none.
    """

    matches: Matches
    score: NDArray[np.float64]
    variant: Ints


Aligned = Iterator[tuple[int, int, Alignment]]


def find_versions(one: InvertedIndex, other: InvertedIndex, *, same: bool = False) -> Scored:
    """Return pairs and their scores: all that were aligned, whatever came of it.

    Args:
        one: Time–chroma of sounds.
        other: Time–chroma of others.
        same: Both are one library: each pair is given once, and no sound with itself.
    """
    if _are_few(one, other, same=same):
        aligned = _align_all(one, other, range(len(one)), same=same)
    else:
        aligned = _align_proposed(one, other, same=same)
    return _scored((a, b, at, r, z, -1) for a, b, (at, r, z) in aligned)


def find_variants(
    one: InvertedIndex, other: InvertedIndex, *, same: bool = False, least: float
) -> Scored:
    """Return pairs where one sounds as a variant of the other, each with its best variant.

    Args:
        one: Time–chroma of sounds.
        other: Time–chroma of others.
        same: Both are one library.
        least: Lowest score that counts.
    """
    few = _are_few(one, other, same=same)
    find = _align_variants if few else _align_proposed_variants
    best: dict[tuple[int, int], tuple[int, int, int, float, float, int]] = {}
    for number, first, second, (at, r, z) in find(one, other, same=same, least=least):
        pair = (min(first, second), max(first, second)) if same else (first, second)
        if first == second and same:
            continue
        if pair not in best or z > best[pair][4]:
            best[pair] = (first, second, at, r, z, number)
    return _scored(iter(best.values()))


def _are_few(one: InvertedIndex, other: InvertedIndex, *, same: bool) -> bool:
    n_pairs = len(one) * len(other) // (2 if same else 1)
    return n_pairs * transform_length(2 * _longest(one, other)) <= ALL_PAIRS


def _longest(*libraries: InvertedIndex) -> int:
    return max((int(library.lengths().max(initial=0)) for library in libraries), default=0)


def _scored(rows: Iterable[tuple[int, int, int, float, float, int]]) -> Scored:
    kept = [row for row in rows if row[4] > -np.inf]
    columns = np.array(kept, dtype=np.float64).reshape(-1, 6).T
    pairs = (columns[0].astype(np.int64), columns[1].astype(np.int64))
    partial = np.zeros(len(kept), dtype=np.bool_)
    matches = Matches(*pairs, columns[2] / FRAMES_PER_S, columns[3], partial)
    return Scored(matches, columns[4], columns[5].astype(np.int64))


def _align_all(
    one: InvertedIndex, other: InvertedIndex, asked: range, *, same: bool, least: float = -np.inf
) -> Aligned:
    n = transform_length(2 * _longest(one, other))
    for start in range(0, len(other), _CHUNK):
        others = range(start, min(start + _CHUNK, len(other)))
        answering = Spectra([other.sequence(number) for number in others], n)
        for number in range(others.stop - 1) if same else asked:
            found = slide(Spectra([one.sequence(number)], n), 0, answering)
            for row in np.flatnonzero(found[2] >= least):
                if not same or number < others[row]:
                    at, r, z = (column[row] for column in found)
                    yield number, others[row], Alignment(int(at), float(r), float(z))


def _align_variants(
    one: InvertedIndex, other: InvertedIndex, *, same: bool, least: float
) -> Iterator[tuple[int, int, int, Alignment]]:
    for number, variant in enumerate(VARIANTS):
        varied, starts = _varied(one, range(len(one)), variant)
        for first, second, alignment in _align_all(
            varied, other, range(len(one)), same=same, least=least
        ):
            yield number, first, second, _in_first(alignment, starts[first], variant)


def _varied(
    library: InvertedIndex, numbers: range, variant: Variant
) -> tuple[InvertedIndex, list[int]]:
    varied = [vary(library.sequence(number), variant) for number in numbers]
    empty = np.zeros((0, N_CLASSES), dtype=np.int8)
    return stack([one for one, _ in varied], empty=empty), [start for _, start in varied]


def _in_first(alignment: Alignment, start: int, variant: Variant) -> Alignment:
    """Return an alignment with a varied middle as one with the whole sound."""
    return alignment._replace(shift=round(start + alignment.shift * variant.speed))


def _align_proposed(one: InvertedIndex, other: InvertedIndex, *, same: bool) -> Aligned:
    bits = _bits(one, other)
    found = find_candidates(
        _keys(one, _STEPS[0], bits, _N_TABLES),
        concatenate(_keys(other, _STEPS[1], bits, _N_TABLES)),
        tolerance=_TOLERANCE,
        fewest=_FEWEST_VOTES,
        same=same,
    )
    for first, second, shift in zip(found.one, found.other, found.shift, strict=True):
        yield (
            int(first),
            int(second),
            align_near(one.sequence(first), other.sequence(second), _near(shift)),
        )


def _align_proposed_variants(
    one: InvertedIndex, other: InvertedIndex, *, same: bool, least: float
) -> Iterator[tuple[int, int, int, Alignment]]:
    """Look all variants up at once: the other side is sorted only once."""
    del same  # either may be the varied one; the caller keeps one of the two
    bits = _bits(one, other)
    found = find_candidates(
        _variant_keys(one, bits),
        concatenate(_keys(other, _STEPS[1], bits, _N_VARIANT_TABLES)),
        tolerance=_TOLERANCE,
        fewest=_FEWEST_VOTES,
    )
    for owner, second, shift in zip(found.one, found.other, found.shift, strict=True):
        number, first = divmod(int(owner), len(one))
        varied, start = vary(one.sequence(first), VARIANTS[number])
        alignment = align_near(varied, other.sequence(second), _near(shift))
        if alignment.score >= least:
            yield number, first, int(second), _in_first(alignment, start, VARIANTS[number])


def _variant_keys(library: InvertedIndex, bits: int) -> Iterator[Keys]:
    for number, variant in enumerate(VARIANTS):
        step = _STEPS[1] if variant.speed != 1 else _STEPS[1] // 2
        for start in range(0, len(library), _CHUNK):
            numbers = range(start, min(start + _CHUNK, len(library)))
            varied, _ = _varied(library, numbers, variant)
            owner = number * len(library) + start
            for keys in _keys(varied, step, bits, _N_VARIANT_TABLES):
                yield keys._replace(owner=keys.owner + np.int32(owner))


def _near(shift: int) -> range:
    return range(int(shift) - _TOLERANCE + 1, int(shift) + _TOLERANCE)


def _bits(one: InvertedIndex, other: InvertedIndex) -> int:
    n_windows = [
        sum(_n_windows(int(n), step) for n in library.lengths())
        for library, step in zip((one, other), _STEPS, strict=True)
    ]
    chance_hits = _CHANCE_HITS * max(len(one), len(other))
    return key_bits(_N_TABLES * math.prod(n_windows), chance_hits=chance_hits, among=_BITS)


@cache
def _planes(bits: int) -> NDArray[np.float32]:
    shape = (_WINDOW // _THINNED * N_CLASSES, _N_TABLES * bits)
    return np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)


def _n_windows(n_frames: int, step: int) -> int:
    return max((n_frames - _WINDOW) // step + 1, 0)


def _keys(library: InvertedIndex, step: int, bits: int, n_tables: int) -> Iterator[Keys]:
    """Yield, some sounds at a time, a key for every window and table: its number and the signs."""
    planes = _planes(bits)[:, : n_tables * bits]
    for start in range(0, max(len(library), 1), _CHUNK):
        numbers = range(start, min(start + _CHUNK, len(library)))
        windows = [_windows_of(library.sequence(n), step) for n in numbers]
        counts = np.array([len(few) for few in windows], dtype=np.int64)
        places = [step * np.arange(count, dtype=np.int32) for count in counts]
        stacked = np.concatenate([np.zeros((0, len(planes)), dtype=np.float32), *windows])
        yield Keys(
            _buckets(stacked @ planes, bits, n_tables).ravel(),
            np.repeat(np.array(numbers, dtype=np.int32), counts * n_tables),
            np.repeat(np.concatenate([np.zeros(0, dtype=np.int32), *places]), n_tables),
        )


def _buckets(projected: NDArray[np.float32], bits: int, n_tables: int) -> NDArray[np.uint32]:
    signs = np.zeros((len(projected), n_tables, _WORD_BITS), dtype=np.bool_)
    signs[..., -bits:] = (projected > 0).reshape(len(projected), n_tables, bits)
    buckets = np.packbits(signs, axis=2).view(">u4")[..., 0].astype(np.uint32)
    tables = np.arange(n_tables, dtype=np.uint32) << np.uint32(bits)
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


_ERRORS = (0.05, 0.42)
"""Share of differing bits that a melody leaves: 0.09 where it is 12 dB below its backing. Filters,
which thin chroma out as a melody does, leave 0.03 at most. Tempo changed by 3 % leaves 0.43 or
more, melodies where there still is a match 0.42 at most."""

_HIGHEST_CORRELATION = 0.95
"""Highest correlation that melodies were seen to leave: 0.94, 12 dB below their backing."""

_LEAST_SHARE, _SHARE_SLOPE = 0.17, 0.55
"""The largest tenth of the differences has at least this share of their energy, plus the slope
times the correlation: in all of 168 pairs over 12 backings, melodies 12 dB below to 12 dB above."""

_LARGEST = 10
"""One in so many differences counts as large."""

_REACH = math.ceil(CHROMA_HOP / HOP)


def shares_backing(
    words: tuple[Words, Words], chroma: tuple[Chroma, Chroma], offset_s: float
) -> bool:
    """Return whether two aligned sounds share a backing rather than everything.

    Args:
        words: Sub-fingerprints of both.
        chroma: Time–chroma of both.
        offset_s: Where the second begins in the first.
    """
    at, frame = round(offset_s * RATE_HZ / HOP), round(offset_s * FRAMES_PER_S)
    alignment = align_near(*chroma, range(frame - 1, frame + 2))
    if alignment.score == -math.inf or alignment.correlation >= _HIGHEST_CORRELATION:
        return False
    error = min(bit_error(*words, shift) for shift in range(at - _REACH, at + _REACH + 1))
    if not _ERRORS[0] <= error <= _ERRORS[1]:
        return False
    least = _LEAST_SHARE + _SHARE_SLOPE * alignment.correlation
    return _share_of_largest(*chroma, alignment.shift) >= least


def _share_of_largest(one: Chroma, other: Chroma, shift: int) -> float:
    """Return the energy of the largest tenth of the differences by that of all of them."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    differences = first[:n].astype(np.float64) - second[:n]
    energies = np.sort(((differences - differences.mean(axis=0)) ** 2).ravel())[::-1]
    total = float(energies.sum())
    return float(energies[: len(energies) // _LARGEST].sum()) / total if total > 0 else 0.0
