"""Versions: the same music from a codec, a vocoder, a network or another performance.

Recordings are time–chroma sequences. Of few pairs all are aligned. Of many pairs those that have
similar windows are: by shared keys, or by faiss where there are very many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audit.near_duplicates import alignment
from earwitness.audit.near_duplicates.alignment import (
    FRAMES_PER_S,
    UNCHANGED,
    VARIANTS,
    Spectra,
    Variant,
    align_pairs,
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
    Floats,
    Ints,
    Words,
)
from earwitness.audit.near_duplicates.index import (
    Candidates,
    InvertedIndex,
    find_candidates,
)
from earwitness.audit.near_duplicates.neighbours import (
    Lookup,
    choose_lookup,
    find_near_candidates,
    split_recordings,
)
from earwitness.audit.near_duplicates.windows import (
    INDEX_STEP,
    cut_varied_windows,
    cut_windows,
    hash_windows,
    table_size,
)
from earwitness.audit.scratch import Collected, Scratch

ALL_PAIRS = 3e8
"""Pairs times frames up to which every pair is aligned: some 1 000 recordings of 30 s."""

_TOLERANCE = 4  # of shifts, in frames
_CHUNK = 512  # recordings or pairs processed together, to bound memory


class Scored(NamedTuple):
    """Matches, whose ``similarity`` is the correlation, and their scores.

    Attributes:
        matches: The pairs.
        score: ``(n,)`` see ``Alignment``.
        margin: ``(n,)`` see ``Alignment``.
        variant: ``(n,)`` index into the variants that were searched.
    """

    matches: Matches
    score: Floats
    margin: Floats
    variant: Ints


Variants = tuple[Variant, ...]


class _Aligned(NamedTuple):
    """The alignments of pairs, or that of one: numbers of both recordings and of the variant."""

    first: Any
    second: Any
    variant: Any
    shift: Any
    correlation: Any
    score: Any
    margin: Any


def find_versions(
    one: InvertedIndex,
    other: InvertedIndex,
    *,
    same: bool = False,
    least: float = -np.inf,
    variants: Variants = (UNCHANGED,),
    scratch: Scratch | None = None,
    lookup: Lookup | None = None,
) -> Scored:
    """Return the pairs that reach a score, each in its best variant.

    Args:
        one: Time–chroma of recordings, which are varied.
        other: Time–chroma of others.
        same: Whether both are one index: each pair once, and no recording with itself.
        least: Minimum score.
        variants: Changes of pitch and speed to search.
        scratch: Place for sorted keys, and the limits of memory.
        lookup: How many pairs are searched (default: as ``choose_lookup`` has it).

    Raises:
        UsageError: faiss is not installed.
    """
    scratch = scratch or Scratch()
    n_pairs = len(one) * len(other) // (2 if same else 1)
    are_few = n_pairs * transform_length(2 * _longest(one, other)) <= ALL_PAIRS
    propose = _screen if are_few else partial(_look_up, lookup=lookup or choose_lookup(other))
    found = Collected(7, scratch)
    for aligned in propose(one, other, variants, same=same, least=least, scratch=scratch):
        enough = (aligned.score >= least) & (aligned.score > -math.inf)
        found.add(np.stack(aligned, axis=1)[enough])
    kept = Collected(7, scratch)
    for rows in _best_of_pairs(found, len(one), same=same, scratch=scratch):
        for row in np.flatnonzero(rows[:, 6] < alignment.MARGIN):
            rows[row, 6] = _refine_margin(one, other, _Aligned(*rows[row]), variants)
            scratch.release()
        kept.add(rows)
    columns = kept.columns()
    first, second, variant = columns[:3].astype(np.int64)
    whole = np.zeros(len(first), dtype=np.bool_)
    matches = Matches(first, second, columns[3] / FRAMES_PER_S, columns[4], whole)
    return Scored(matches, columns[5], columns[6], variant)


def _best_of_pairs(
    found: Collected, n: int, *, same: bool, scratch: Scratch
) -> Iterator[NDArray[np.float64]]:
    """Yield the best alignment of each pair, by pair, as many at a time as fit a share.

    Args:
        found: Alignments, see ``_Aligned``.
        n: Number of first recordings.
        same: Whether a pair is the same in either order.
        scratch: Limit of memory.
    """
    most_rows = scratch.share // 256

    def first_of(rows: NDArray[np.float64]) -> Ints:
        first: Ints = rows[:, : 1 + same].min(axis=1).astype(np.int64)
        return first

    counts = np.zeros(n, dtype=np.int64)
    for rows in found:
        np.add.at(counts, first_of(rows), 1)
    part_of = (np.cumsum(counts) - counts) // most_rows
    for part in np.unique(part_of[counts > 0]):
        some = np.concatenate([rows[part_of[first_of(rows)] == part] for rows in found])
        pairs = np.sort(some[:, :2], axis=1) if same else some[:, :2]
        best_first = np.lexsort((-some[:, 5], pairs[:, 1], pairs[:, 0]))
        is_first = np.diff(pairs[best_first], axis=0, prepend=-1).any(axis=1)
        yield some[best_first[is_first]]


def _refine_margin(
    one: InvertedIndex, other: InvertedIndex, aligned: _Aligned, variants: Variants
) -> float:
    """Return the margin at the exact speed, where it is largest."""
    variant, chroma = variants[int(aligned.variant)], one.sequence(int(aligned.first))
    tries = [
        vary(chroma, variant._replace(speed=variant.speed * (1 + percent / 100)))[0]
        for percent in (-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2)
    ]
    found = align_pairs(tries, [other.sequence(int(aligned.second))] * len(tries))
    best = int(found.score.argmax())
    return float(aligned.margin if found.score[best] < aligned.score else found.margin[best])


def _longest(*indices: InvertedIndex) -> int:
    return max((int(index.lengths().max(initial=0)) for index in indices), default=0)


def _screen(
    one: InvertedIndex,
    other: InvertedIndex,
    variants: Variants,
    *,
    same: bool,
    least: float,
    scratch: Scratch,
) -> Iterator[_Aligned]:
    """Align all pairs that may reach the score."""
    if not len(one) or not len(other):
        return
    delay = _longest(other)
    slowest = min(variant.speed for variant in VARIANTS)
    n = transform_length(
        int(min(_longest(one), alignment.LONGEST) / slowest) + _longest(one), delay
    )
    chunk = _fitting(_CHUNK, n * N_CLASSES * 20, scratch)  # a spectrum, its transpose, its energy
    batch = _fitting(32, n * (chunk * 12 + N_CLASSES * 20), scratch)  # products and correlations
    for start in range(0, len(other), chunk):
        others = range(start, min(start + chunk, len(other)))
        scratch.release()
        answering = Spectra([other.sequence(number) for number in others], n)
        for number, variant in enumerate(variants):
            for at in range(0, others.stop if same else len(one), batch):
                asking = range(at, min(at + batch, len(one)))
                varied = [vary(one.sequence(a), variant)[0] for a in asking]
                spectra = Spectra(varied, n, delay=delay)
                rows, columns = np.nonzero(alignment.screen(spectra, answering, delay, least))
                pairs = np.stack([rows + at, columns + start], axis=1)
                if same:
                    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                yield from _align(one, other, pairs, number, variants)


def _fitting(most: int, n_bytes: int, scratch: Scratch) -> int:
    """Return how many of this size, up to ``most``, fit half a share of the memory."""
    return min(max(scratch.share // 2 // n_bytes, 1), most)


def _look_up(
    one: InvertedIndex,
    other: InvertedIndex,
    variants: Variants,
    *,
    same: bool,
    least: float,
    lookup: Lookup,
    scratch: Scratch,
) -> Iterator[_Aligned]:
    """Align the pairs that have similar windows."""
    sources = _propose(one, other, variants, same=same, lookup=lookup, scratch=scratch)
    chunk = _fitting(_CHUNK, _longest(one, other) * N_CLASSES * 40, scratch)
    in_chunks = (_in_chunks(blocks, len(one), chunk) for blocks in sources)
    for number, found, voted in chain.from_iterable(in_chunks):
        differ = found[:, 0] != found[:, 1] if same else slice(None)
        pairs, shifts = found[differ], voted[differ]
        if len(pairs):
            (first, a), (second, b) = (
                index.select(side, scratch)
                for index, side in zip((one, other), pairs.T, strict=True)
            )
            varied = [vary(first.sequence(n), variants[number])[0] for n in range(len(first))]
            near = alignment.screen_near(
                [varied[n] for n in a],
                [second.sequence(n) for n in b],
                shifts,
                reach=_TOLERANCE,
                least=least,
            )
            here = np.stack([a, b], axis=1)[near]
            for aligned in _align(first, second, here, number, variants):
                x, y = pairs[near].T
                yield aligned._replace(first=x, second=y)
        scratch.release()


def _propose(
    one: InvertedIndex,
    other: InvertedIndex,
    variants: Variants,
    *,
    same: bool,
    lookup: Lookup,
    scratch: Scratch,
) -> Iterator[Iterable[Candidates]]:
    """Yield the pairs that have similar windows, for a part of the others at a time."""
    plain = variants == (UNCHANGED,)
    once = same and plain  # either recording of a pair may be the changed one
    if lookup == "faiss":
        for part in split_recordings(other, scratch):
            windows = cut_varied_windows(one, variants)
            yield find_near_candidates(
                windows, other, part, tolerance=_TOLERANCE, scratch=scratch, same=once
            )
        return
    size = table_size(one, other, is_plain=plain)
    asked = hash_windows(cut_varied_windows(one, variants), *size)
    keys = hash_windows(cut_windows(other, INDEX_STEP), *size)
    yield find_candidates(asked, keys, tolerance=_TOLERANCE, fewest=2, scratch=scratch, same=once)


def _in_chunks(
    blocks: Iterable[Candidates], n: int, chunk: int
) -> Iterator[tuple[int, Ints, Ints]]:
    """Yield variant, pairs and shifts of up to ``chunk`` candidates, whatever the blocks."""
    waiting = np.zeros((3, 0), dtype=np.int64)
    for found in chain(blocks, [None]):
        if found is not None:
            waiting = np.concatenate([waiting, np.stack(found[:3])], axis=1)
        while waiting.size:
            number = int(waiting[0, 0]) // n
            end = int(np.searchsorted(waiting[0], (number + 1) * n))
            if found is not None and end == waiting.shape[1] < chunk:
                break
            some, waiting = np.split(waiting, [min(end, chunk)], axis=1)
            yield number, np.stack([some[0] - number * n, some[1]], axis=1), some[2]


def _align(
    one: InvertedIndex, other: InvertedIndex, pairs: Ints, number: int, variants: Variants
) -> Iterator[_Aligned]:
    """Align pairs, the first of each varied; shifts refer to the whole first recording."""
    for at in range(0, len(pairs), _CHUNK):
        some = pairs[at : at + _CHUNK]
        varied, starts = zip(
            *(vary(one.sequence(a), variants[number]) for a in some[:, 0]), strict=True
        )
        found = align_pairs(varied, [other.sequence(b) for b in some[:, 1]])
        shifts = np.rint(np.array(starts) + found.shift * variants[number].speed)
        which = np.full(len(some), number)
        yield _Aligned(some[:, 0], some[:, 1], which, shifts, *found[1:])


def shares_backing(
    words: tuple[Words, Words], chroma: tuple[Chroma, Chroma], offset_s: float
) -> bool:
    """Return whether two aligned recordings share a backing rather than everything.

    Args:
        words: Fingerprints of both.
        chroma: Time–chroma of both.
        offset_s: Start of the second in the first.
    """
    at, frame = round(offset_s * RATE_HZ / HOP), round(offset_s * FRAMES_PER_S)
    aligned = alignment.align_near(*chroma, range(frame - 1, frame + 2))
    # the largest correlation seen of other melodies is 0.94, 12 dB below their backing
    if aligned.score == -math.inf or aligned.correlation >= 0.95:
        return False
    reach = math.ceil(CHROMA_HOP / HOP)
    error = min(bit_error(*words, shift) for shift in range(at - reach, at + reach + 1))
    # melodies 12 dB below leave 0.09, the loudest that still match 0.42; filters leave at most
    # 0.03, a tempo changed by 3 % at least 0.43
    if not 0.05 <= error <= 0.42:
        return False
    # holds for all of 168 pairs over 12 backings, with melodies from -12 to 12 dB
    least = 0.17 + 0.55 * aligned.correlation
    return bool(_share_of_largest(*chroma, aligned.shift) >= least)


def _share_of_largest(one: Chroma, other: Chroma, shift: int) -> float:
    """Return the share of the energy of all differences in the largest tenth."""
    first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
    n = min(len(first), len(second))
    differences = first[:n].astype(np.float64) - second[:n]
    energies = np.sort(((differences - differences.mean(axis=0)) ** 2).ravel())[::-1]
    total = float(energies.sum())
    return float(energies[: len(energies) // 10].sum()) / total if total > 0 else 0.0
