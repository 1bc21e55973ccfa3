"""Versions: the same music from a codec, a vocoder, a network or another recording.

Conventions: sounds are time–chroma sequences (``audio.chroma``). Few pairs are all aligned. Of many
pairs those are that share buckets: windows of 5 s, thinned to two values a second and class, fall
into buckets by the signs of random projections. Alignment over the whole overlap decides; how high
its score must be follows from how high strangers come by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from earwitness.audit.near_duplicates.alignment import (
    FRAMES_PER_S,
    LONGEST,
    MARGIN,
    UNCHANGED,
    VARIANTS,
    Spectra,
    Variant,
    align_near,
    align_pairs,
    screen,
    screen_near,
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

_STEP_OF_VARIANT = (8, 16)
"""Frames between windows of the side that asks, at the same speed and at another."""

_N_TABLES = 32
_N_VARIANT_TABLES = 16
_BITS = range(8, 27)
_CHANCE_HITS = 2_000
"""Hits that chance may give a sound."""

_TOLERANCE = 4
_FEWEST_VOTES = 2
_AT_ONCE = 32
"""Sounds that are slid over others at once."""

_FINER_PERCENT = (-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2)
"""Changes of speed that are tried around a variant."""

_SLOWEST = min(variant.speed for variant in VARIANTS)
_SEED = 20_260_101
_WORD_BITS = 32
_CHUNK = 512
"""Sounds whose windows are projected at once, or that one is slid over."""


class Scored(NamedTuple):
    """Matches and their scores.

    Attributes:
        matches: Pairs; ``similarity`` is their correlation.
        score: ``(n,)`` compared with scores of unrelated sounds.
        margin: ``(n,)`` of the score over that of any other place; see ``Alignment``.
        variant: ``(n,)`` index into the variants that were searched.
    """

    matches: Matches
    score: NDArray[np.float64]
    margin: NDArray[np.float64]
    variant: Ints


Variants = tuple[Variant, ...]


class _Aligned(NamedTuple):
    """Two sounds where they are most alike: numbers of both and of the variant."""

    first: int
    second: int
    variant: int
    shift: int
    correlation: float
    score: float
    margin: float


def find_versions(
    one: InvertedIndex,
    other: InvertedIndex,
    *,
    same: bool = False,
    least: float = -np.inf,
    variants: Variants = (UNCHANGED,),
) -> Scored:
    """Return the pairs that reach a score, each in its best variant.

    Args:
        one: Time–chroma of sounds, which are varied.
        other: Time–chroma of others.
        same: Both are one library: each pair is given once, and no sound with itself.
        least: Lowest score that counts.
        variants: Changes of pitch and speed to search.
    """
    propose = _screen if _are_few(one, other, same=same) else _look_up
    best: dict[tuple[int, int], _Aligned] = {}
    for aligned in propose(one, other, variants, same=same, least=least):
        pair = aligned.first, aligned.second
        key = (min(pair), max(pair)) if same else pair
        if -math.inf < aligned.score >= least and (
            key not in best or aligned.score > best[key].score
        ):
            best[key] = aligned
    kept = [_refine_margin(one, other, aligned, variants) for aligned in best.values()]
    columns = np.array(kept, dtype=np.float64).reshape(-1, 7).T
    first, second, variant = columns[:3].astype(np.int64)
    partial = np.zeros(len(kept), dtype=np.bool_)
    matches = Matches(first, second, columns[3] / FRAMES_PER_S, columns[4], partial)
    return Scored(matches, columns[5], columns[6], variant)


def _refine_margin(
    one: InvertedIndex, other: InvertedIndex, aligned: _Aligned, variants: Variants
) -> _Aligned:
    """Return the margin at the exact speed: a little beside it, a place stands out less."""
    if aligned.margin >= MARGIN:
        return aligned
    variant, chroma = variants[aligned.variant], one.sequence(aligned.first)
    tries = [
        vary(chroma, variant._replace(speed=variant.speed * (1 + percent / 100)))[0]
        for percent in _FINER_PERCENT
    ]
    found = align_pairs(tries, [other.sequence(aligned.second)] * len(tries))
    best = int(found.score.argmax())
    if found.score[best] < aligned.score:
        return aligned
    return aligned._replace(margin=float(found.margin[best]))


def _are_few(one: InvertedIndex, other: InvertedIndex, *, same: bool) -> bool:
    n_pairs = len(one) * len(other) // (2 if same else 1)
    return n_pairs * transform_length(2 * _longest(one, other)) <= ALL_PAIRS


def _longest(*libraries: InvertedIndex) -> int:
    return max((int(library.lengths().max(initial=0)) for library in libraries), default=0)


def _screen(
    one: InvertedIndex, other: InvertedIndex, variants: Variants, *, same: bool, least: float
) -> Iterator[_Aligned]:
    """Align all pairs that may reach the score."""
    if not len(one) or not len(other):
        return
    delay = _longest(other)
    n = transform_length(int(min(_longest(one), LONGEST) / _SLOWEST) + _longest(one), delay)
    for start in range(0, len(other), _CHUNK):
        others = range(start, min(start + _CHUNK, len(other)))
        answering = Spectra([other.sequence(number) for number in others], n)
        for number, variant in enumerate(variants):
            for at in range(0, others.stop if same else len(one), _AT_ONCE):
                asking = range(at, min(at + _AT_ONCE, len(one)))
                varied = [vary(one.sequence(a), variant)[0] for a in asking]
                found = screen(Spectra(varied, n, delay=delay), answering, delay, least)
                rows, columns = np.nonzero(found)
                pairs = np.stack([rows + at, columns + start], axis=1)
                if same:
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                yield from _align(one, other, pairs, number, variants)


def _look_up(
    one: InvertedIndex, other: InvertedIndex, variants: Variants, *, same: bool, least: float
) -> Iterator[_Aligned]:
    """Align the pairs that share buckets. All variants at once: the other side is sorted once."""
    bits, plain = _bits(one, other), variants == (UNCHANGED,)
    n_tables = _N_TABLES if plain else _N_VARIANT_TABLES
    found = find_candidates(
        _variant_keys(one, variants, bits, n_tables),
        concatenate(_keys(other, _STEPS[1], bits, n_tables)),
        tolerance=_TOLERANCE,
        fewest=_FEWEST_VOTES,
        same=same and plain,  # of two variants either sound may be the changed one
    )
    numbers, firsts = np.divmod(found.one, len(one))
    order = np.lexsort((firsts, numbers))
    for number in range(len(variants)):
        some = order[slice(*np.searchsorted(numbers[order], (number, number + 1)))]
        for at in range(0, len(some), _CHUNK):
            few = some[at : at + _CHUNK]
            few = few[firsts[few] != found.other[few]] if same else few
            pairs = np.stack([firsts[few], found.other[few]], axis=1)
            varied = {a: vary(one.sequence(a), variants[number])[0] for a in set(firsts[few])}
            near = screen_near(
                [varied[a] for a in firsts[few]],
                [other.sequence(b) for b in found.other[few]],
                found.shift[few],
                reach=_TOLERANCE,
                least=least,
            )
            yield from _align(one, other, pairs[near], number, variants)


def _align(
    one: InvertedIndex, other: InvertedIndex, pairs: Ints, number: int, variants: Variants
) -> Iterator[_Aligned]:
    """Align pairs, the first of each changed; the shift is one of the whole first sound."""
    for at in range(0, len(pairs), _CHUNK):
        some = pairs[at : at + _CHUNK]
        varied, starts = zip(
            *(vary(one.sequence(a), variants[number]) for a in some[:, 0]), strict=True
        )
        found = align_pairs(varied, [other.sequence(b) for b in some[:, 1]])
        shifts = np.rint(np.array(starts) + found.shift * variants[number].speed)
        for (a, b), shift, *rest in zip(some, shifts, *found[1:], strict=True):
            yield _Aligned(int(a), int(b), number, int(shift), *map(float, rest))


def _variant_keys(
    library: InvertedIndex, variants: Variants, bits: int, n_tables: int
) -> Iterator[Keys]:
    empty = np.zeros((0, N_CLASSES), dtype=np.int8)
    for number, variant in enumerate(variants):
        step = _STEP_OF_VARIANT[variant.speed != 1] if len(variants) > 1 else _STEPS[0]
        for start in range(0, max(len(library), 1), _CHUNK):
            numbers = range(start, min(start + _CHUNK, len(library)))
            varied = stack([vary(library.sequence(n), variant)[0] for n in numbers], empty=empty)
            owner = np.int32(number * len(library) + start)
            for keys in _keys(varied, step, bits, n_tables):
                yield keys._replace(owner=keys.owner + owner)


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
    return bool(_share_of_largest(*chroma, alignment.shift) >= least)


def _share_of_largest(one: Chroma, other: Chroma, shift: int) -> float:
    """Return the energy of the largest tenth of the differences by that of all of them."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    differences = first[:n].astype(np.float64) - second[:n]
    energies = np.sort(((differences - differences.mean(axis=0)) ** 2).ravel())[::-1]
    total = float(energies.sum())
    return float(energies[: len(energies) // _LARGEST].sum()) / total if total > 0 else 0.0
