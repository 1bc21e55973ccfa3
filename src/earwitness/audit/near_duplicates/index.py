"""Inverted index of sequences: which of two sets share keys, and at which shift.

Keys of one side are sorted into parts that fit a share of memory each, all in one where they do.
The other side asks in blocks of whole sequences, one part after another, so that all votes for a
pair are counted together. Neither parts nor blocks change what is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audit.near_duplicates.fingerprints import Ints
from earwitness.audit.scratch import Scratch

MOST_COMMON = 256
"""Keys more common than this carry no information: hum, held notes, clicks."""

_HALF = 1 << 20  # more than the largest shift
_ENTRY_BYTES = 48  # of a key, its owner and place, while they are sorted
_HITS_AT_ONCE = 1 << 19
_SAMPLE = 4_096  # keys of a run that limits of parts are drawn from


class InvertedIndex(NamedTuple):
    """Concatenated sequences.

    Attributes:
        values: All sequences, along the first axis.
        starts: Start of each sequence, and the end of the last.
    """

    values: NDArray[Any]
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sequence(self, number: int) -> NDArray[Any]:
        """Return one sequence."""
        return self.values[self.starts[number] : self.starts[number + 1]]

    def select(self, numbers: Ints, scratch: Scratch) -> tuple[InvertedIndex, Ints]:
        """Return the index of some sequences, each once, in memory, and their numbers in it."""
        distinct, places = np.unique(numbers, return_inverse=True)
        sequences = []
        for n_read, number in enumerate(distinct, 1):
            sequences.append(self.sequence(number).copy())
            if n_read % scratch.most_reads == 0:
                scratch.release()
        return stack(sequences, empty=self.values[:0]), places

    def lengths(self) -> Ints:
        """Return the length of each sequence."""
        return np.diff(self.starts)

    def count_loud(self) -> Ints:
        """Return the number of values of each sequence that are not silent."""
        n_loud = np.zeros(len(self), dtype=np.int64)
        for block in self.blocks():
            starts = self.starts[block.start : block.stop + 1]
            values = self.values[starts[0] : starts[-1]]
            loud = values.reshape(len(values), -1).any(axis=1) if len(values) else values
            before = np.concatenate(([0], np.cumsum(loud, dtype=np.int64)))
            n_loud[block.start : block.stop] = np.diff(before[starts - starts[0]])
        return n_loud

    def blocks(self, most_values: int = 1 << 22) -> Iterator[range]:
        """Yield up to 512 sequences at a time, one without any if there are none."""
        first = 0
        while first < max(len(self), 1):
            end = np.searchsorted(self.starts, self.starts[first] + most_values, "right") - 1
            last = min(max(int(end), first + 1), first + 512, len(self))
            yield range(first, last)
            first = max(last, first + 1)


def stack(
    sequences: Sequence[NDArray[Any]], *, empty: NDArray[Any], scratch: Scratch | None = None
) -> InvertedIndex:
    """Return the index of sequences; ``empty`` is a sequence of their type without values."""
    lengths = [len(sequence) for sequence in sequences]
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if scratch is None:
        return InvertedIndex(np.concatenate([empty, *sequences]), starts)
    values = scratch.empty((int(starts[-1]), *empty.shape[1:]), empty.dtype.type)
    index = InvertedIndex(values, starts)
    for block in index.blocks():
        for number in block:
            index.sequence(number)[...] = sequences[number]
        scratch.release()
    return index


class Keys(NamedTuple):
    """Keys of an index: ``(n,)`` keys, sequences and positions."""

    keys: NDArray[np.uint32]
    owner: NDArray[np.int32]
    place: NDArray[np.int32]

    def take(self, some: Any) -> Keys:
        """Return some of the keys."""
        return Keys(*(column[some] for column in self))


class Candidates(NamedTuple):
    """Pairs of sequences that share keys.

    Attributes:
        one: ``(n,)`` sequences of the first index.
        other: ``(n,)`` sequences of the second.
        shift: ``(n,)`` start of the second in the first, by most of the shared keys.
        votes: ``(n,)`` shared keys with that shift.
    """

    one: Ints
    other: Ints
    shift: Ints
    votes: Ints


def concatenate_keys(parts: Iterable[Keys]) -> Keys:
    """Return at least one block of keys as one."""
    return Keys(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def key_bits(n_comparisons: int, *, chance_hits: int, among: range) -> int:
    """Return the key length at which ``n_comparisons`` give ``chance_hits`` hits by chance."""
    wanted = math.ceil(math.log2(max(n_comparisons / max(chance_hits, 1), 1)))
    return min(max(wanted, among.start), among.stop - 1)


def find_candidates(
    one: Iterable[Keys],
    other: Iterable[Keys],
    *,
    tolerance: int,
    fewest: int,
    scratch: Scratch,
    same: bool = False,
) -> Iterator[Candidates]:
    """Yield the pairs of sequences that share keys, each with its most voted shift.

    Args:
        one: Keys of the first index, in blocks of whole sequences.
        other: Keys of the second, in blocks.
        tolerance: Shifts in bins of this size are one.
        fewest: Minimum number of votes.
        scratch: Place for sorted keys, and the limits of memory.
        same: Whether both are one index: each pair once, and no sequence with itself.

    Yields:
        Pairs by sequence of the first index and of the second, at least one block.
    """
    parts, n_others = _sort_keys(other, scratch)
    codes = VoteCodes(n_others, tolerance, fewest)
    votes = _Votes(parts, codes, same=same, most_hits=scratch.share // 8)
    blocks: list[Keys] = []
    n_keys = 0
    for keys in one:
        scratch.release()
        blocks.append(keys)
        n_keys += len(keys.keys)
        if n_keys >= votes.n_keys_wanted:
            yield from votes.count(concatenate_keys(blocks), scratch)
            blocks, n_keys = [], 0
    if blocks:
        yield from votes.count(concatenate_keys(blocks), scratch)


def _sort_keys(blocks: Iterable[Keys], scratch: Scratch) -> tuple[list[Keys], int]:
    """Return keys sorted in parts of increasing keys, and the number of sequences."""
    most = scratch.share // _ENTRY_BYTES
    runs: list[_Run] = []
    pending: list[Keys] = []
    n_pending = n_sequences = 0
    for keys in blocks:
        scratch.release()
        n_sequences = max(n_sequences, int(keys.owner.max(initial=-1)) + 1)
        if pending and n_pending + len(keys.keys) > most:
            runs.append(_store_run(_sorted(concatenate_keys(pending)), scratch))
            pending, n_pending = [], 0
        pending.append(keys)
        n_pending += len(keys.keys)
    last = _sorted(concatenate_keys(pending))
    if not runs:
        return [last], n_sequences
    runs.append(_store_run(last, scratch))
    return list(_merge(runs, scratch)), n_sequences


def _sorted(keys: Keys) -> Keys:
    """Return keys in their order, of each no more than tell that it is too common."""
    keys = keys.take(np.argsort(keys.keys))
    first = np.flatnonzero(np.diff(keys.keys, prepend=keys.keys[:1] + np.uint32(1)))
    counts = np.diff(first, append=len(keys.keys))
    if counts.max(initial=0) <= MOST_COMMON + 1:
        return keys
    return keys.take(np.arange(len(keys.keys)) - np.repeat(first, counts) <= MOST_COMMON)


def _store(keys: Keys, scratch: Scratch) -> Keys:
    words, owner, place = scratch.empty((3, len(keys.keys)), np.uint32)
    stored = Keys(words, owner.view(np.int32), place.view(np.int32))
    for column, values in zip(stored, keys, strict=True):
        column[...] = values
    scratch.release()
    return stored


class _Run(NamedTuple):
    """Sorted keys in a file, and a sample of them in memory."""

    stored: Keys
    sample: NDArray[np.uint32]


def _store_run(keys: Keys, scratch: Scratch) -> _Run:
    sample = _spread(keys.keys, _SAMPLE)  # now, as scattered reads of a file map most of it
    return _Run(_store(keys, scratch), sample)


def _merge(runs: Sequence[_Run], scratch: Scratch) -> Iterator[Keys]:
    """Yield the keys of sorted runs in as many parts, which no key is divided between."""
    sample = np.sort(np.concatenate([run.sample for run in runs]))
    limits = np.unique(_spread(sample, len(runs) + 1)[1:-1])
    ends = []
    for run, _ in runs:
        ends.append(np.concatenate(([0], np.searchsorted(run.keys, limits), [len(run.keys)])))
        scratch.release()
    for number in range(len(limits) + 1):
        slices = []
        for (run, _), end in zip(runs, ends, strict=True):
            part = run.take(slice(*end[number : number + 2]))
            slices.append(Keys(part.keys.copy(), part.owner.copy(), part.place.copy()))
            scratch.release()
        merged = concatenate_keys(slices)
        del slices
        yield _store(_sorted(merged), scratch)


def _spread(values: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """Return ``n`` values from evenly spaced places, first and last among them; none of none."""
    if not len(values):
        return values
    return values[np.linspace(0, len(values) - 1, n).astype(np.int64)]


class VoteCodes(NamedTuple):
    """Integers that stand for pairs of sequences and their shifts, one a vote.

    Attributes:
        n_others: Number of sequences of the second index.
        tolerance: Shifts in bins of this size are one.
        fewest: Minimum number of votes.
    """

    n_others: int
    tolerance: int
    fewest: int

    @property
    def n_bins(self) -> int:
        """Number of shifts of a pair that are distinguished."""
        return 2 * _HALF // self.tolerance

    def encode(self, owners: Ints, others: Ints, shifts: Ints) -> Ints:
        """Return the codes of votes; owners are counted from the first of their block."""
        return (owners * self.n_others + others) * self.n_bins + (shifts + _HALF) // self.tolerance

    def choose(self, codes: Ints, base: int) -> Candidates:
        """Return the most voted shift of each pair that has enough votes.

        Args:
            codes: Sorted.
            base: The first owner.
        """
        late = self.fewest - 1
        enough = codes[: max(len(codes) - late, 0)] == codes[late:]
        codes, votes = np.unique(codes[: len(enough)][enough], return_counts=True)
        pair, place = np.divmod(codes, self.n_bins)
        by_votes = np.lexsort((-votes, pair))
        best = by_votes[np.unique(pair[by_votes], return_index=True)[1]]
        one, other = np.divmod(pair[best], max(self.n_others, 1))
        shift = place[best] * self.tolerance - _HALF + self.tolerance // 2
        return Candidates(one + base, other, shift, votes[best] + late)


class _Votes:
    """Votes of the keys of one index for sequences of another.

    Attributes:
        n_keys_wanted: Number of keys that are best asked together.
    """

    def __init__(
        self, parts: Sequence[Keys], votes: VoteCodes, *, same: bool, most_hits: int
    ) -> None:
        self._parts, self._votes, self._same = parts, votes, same
        self._most_hits = most_hits
        self._codes: Ints = np.empty(most_hits, dtype=np.int64)  # pages count once they are used
        self.n_keys_wanted = 1 if len(parts) == 1 else most_hits // 64

    def count(self, block: Keys, scratch: Scratch) -> Iterator[Candidates]:
        """Yield the pairs of a block with enough votes; of halves of it if it has too many hits."""
        base = int(block.owner.min(initial=np.iinfo(np.int32).max))
        last = int(block.owner.max(initial=base))
        asked = block.take(np.argsort(block.keys))
        n_hits = 0
        for part in self._parts:
            for owners, others, shifts in _hits(part, asked, same=self._same):
                codes = self._votes.encode(owners - base, others, shifts)
                if n_hits + len(codes) > self._most_hits and last > base:
                    first_half = block.owner <= (base + last) // 2
                    yield from self.count(block.take(first_half), scratch)
                    yield from self.count(block.take(~first_half), scratch)
                    return
                if n_hits + len(codes) > len(self._codes):  # of a single sequence
                    more = np.empty(max(n_hits, len(codes)), dtype=np.int64)
                    self._codes = np.concatenate([self._codes, more])
                self._codes[n_hits : n_hits + len(codes)] = codes
                n_hits += len(codes)
            scratch.release()
        if len(self._parts) > 1 and n_hits:
            likely = len(block.keys) * 0.9 * self._most_hits / n_hits
            self.n_keys_wanted = min(int(likely), self._most_hits // 8)
        codes = self._codes[:n_hits]
        codes.sort()
        n_bins = self._votes.n_bins
        pairs = codes[_HITS_AT_ONCE::_HITS_AT_ONCE] // n_bins
        cuts = np.searchsorted(codes, np.unique(pairs) * n_bins)
        for begin, end in pairwise([0, *cuts.tolist(), n_hits]):
            yield self._votes.choose(codes[begin:end], base)


def _hits(part: Keys, asked: Keys, *, same: bool) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield sequences and shifts of shared keys; both sides in key order, for the cache."""
    if not len(part.keys):
        return
    inside = slice(
        np.searchsorted(asked.keys, part.keys[0]),
        np.searchsorted(asked.keys, part.keys[-1], "right"),
    )
    asked = asked.take(inside)
    first = np.searchsorted(part.keys, asked.keys)
    n_hits = np.searchsorted(part.keys, asked.keys, "right") - first
    n_hits[n_hits > MOST_COMMON] = 0
    ends = np.cumsum(n_hits)
    n_all = int(n_hits.sum())
    cuts = np.searchsorted(ends, np.arange(_HITS_AT_ONCE, n_all, _HITS_AT_ONCE)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(ends)]):
        counts = n_hits[begin:end]
        asking = np.repeat(np.arange(begin, end), counts)
        within = np.arange(len(asking)) - np.repeat(np.cumsum(counts) - counts, counts)
        answering = np.repeat(first[begin:end], counts) + within
        owners, others = asked.owner[asking].astype(np.int64), part.owner[answering]
        shifts = asked.place[asking].astype(np.int64) - part.place[answering]
        if same:
            once = owners < others
            owners, others, shifts = owners[once], others[once], shifts[once]
        yield owners, others.astype(np.int64), shifts
