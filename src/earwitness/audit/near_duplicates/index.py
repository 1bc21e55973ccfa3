"""Finding which of many sequences share keys, and where: an inverted index by sorting.

Conventions: sequences are concatenated in one array (``InvertedIndex``). Two indices are joined by
equal keys; a hit is a key of one that the other has, too. Hits of a pair of sequences are votes for
the place where one begins in the other; a candidate is a pair with its most voted place. Time and
memory grow with the number of keys: one side is sorted, the other looked up block by block (each
in order, for the processor's cache), and keys are the longer the more there are, so that chance
gives every sequence as many hits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_COMMON = 256
"""A key that a library has more often than this tells nothing: hum, held notes, clicks."""

_HALF = 1 << 20
"""More places than any sequence can begin before another."""

Ints = NDArray[np.int64]


class InvertedIndex(NamedTuple):
    """Sequences end to end.

    Attributes:
        values: All of them, along the first axis.
        starts: Where each begins, and the end of the last.
    """

    values: NDArray[Any]
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sequence(self, number: int) -> NDArray[Any]:
        """Return one of the sequences."""
        return self.values[self.starts[number] : self.starts[number + 1]]

    def lengths(self) -> Ints:
        """Return how long each sequence is."""
        return np.diff(self.starts)

    def counts(self, kept: NDArray[np.bool_]) -> Ints:
        """Return how many values of each sequence are kept."""
        before = np.concatenate(([0], np.cumsum(kept, dtype=np.int64)))
        return np.diff(before[self.starts])


class Keys(NamedTuple):
    """Keys of a library, in the order of its sequences.

    Attributes:
        keys: ``(n,)`` unsigned.
        owner: ``(n,)`` number of the sequence.
        place: ``(n,)`` place in the sequence.
    """

    keys: NDArray[np.uint32]
    owner: NDArray[np.int32]
    place: NDArray[np.int32]


def concatenate(parts: Iterable[Keys]) -> Keys:
    """Return blocks of keys, at least one, as one."""
    return Keys(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Candidates(NamedTuple):
    """Pairs that share keys.

    Attributes:
        one: ``(n,)`` sequences of the first library.
        other: ``(n,)`` sequences of the second.
        shift: ``(n,)`` place in the first minus place in the second, of most of their hits.
        votes: ``(n,)`` hits for that place.
    """

    one: Ints
    other: Ints
    shift: Ints
    votes: Ints


def stack(sequences: Sequence[NDArray[Any]], *, empty: NDArray[Any]) -> InvertedIndex:
    """Return sequences as a library.

    Args:
        sequences: Any number of them.
        empty: One without values, of their kind.
    """
    lengths = [len(sequence) for sequence in sequences]
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return InvertedIndex(np.concatenate([empty, *sequences]), starts)


def key_bits(n_comparisons: int, *, chance_hits: int, among: range) -> int:
    """Return how long keys have to be for a number of hits by chance.

    Args:
        n_comparisons: Keys of one library times those of the other that they are compared with.
        chance_hits: Hits that chance may give in all.
        among: Lengths to choose from.
    """
    wanted = math.ceil(math.log2(max(n_comparisons / max(chance_hits, 1), 1)))
    return min(max(wanted, among.start), among.stop - 1)


def find_candidates(
    one: Iterable[Keys], other: Keys, *, tolerance: int, fewest: int, same: bool = False
) -> Candidates:
    """Return the pairs of sequences that share keys, each with its most voted place.

    Args:
        one: Keys of the first library, in blocks that split no sequence.
        other: Keys of the second.
        tolerance: Places this near to each other are one.
        fewest: Votes that a pair needs.
        same: Both are one library: each pair is given once, and no sequence with itself.
    """
    n_others = int(other.owner.max(initial=0)) + 1
    n_bins = 2 * _HALF // tolerance
    parts = []
    for owners, others, shifts in _hits(one, other, same=same):
        codes = (owners * n_others + others) * n_bins + (shifts + _HALF) // tolerance
        parts.append(_count_votes(codes, n_bins, fewest))
    nothing = np.zeros(0, dtype=np.int64)
    codes = np.concatenate([nothing, *(part[0] for part in parts)])
    votes = np.concatenate([nothing, *(part[1] for part in parts)])
    pair, place = np.divmod(codes, n_bins)
    shift = place * tolerance - _HALF + tolerance // 2
    return Candidates(pair // n_others, pair % n_others, shift, votes)


def _hits(one: Iterable[Keys], other: Keys, *, same: bool) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield owners and shifts of all hits, block by block."""
    order = np.argsort(other.keys).astype(np.int32)
    keys = other.keys[order]
    for block in one:
        by_key = np.argsort(block.keys)
        asked = block.keys[by_key]
        first = np.searchsorted(keys, asked)
        n_hits = np.searchsorted(keys, asked, "right") - first
        n_hits[n_hits > MOST_COMMON] = 0
        asking = np.repeat(by_key, n_hits)
        within = np.arange(len(asking)) - np.repeat(np.cumsum(n_hits) - n_hits, n_hits)
        answering = order[np.repeat(first, n_hits) + within]
        owners, others = block.owner[asking].astype(np.int64), other.owner[answering]
        shifts = block.place[asking].astype(np.int64) - other.place[answering]
        if same:
            once = owners < others
            owners, others, shifts = owners[once], others[once], shifts[once]
        yield owners, others.astype(np.int64), shifts


def _count_votes(codes: Ints, n_bins: int, fewest: int) -> tuple[Ints, Ints]:
    """Return the most voted code of each pair that has enough votes, and its votes."""
    codes, votes = np.unique(codes, return_counts=True)
    enough = votes >= fewest
    codes, votes = codes[enough], votes[enough]
    pair = codes // n_bins
    by_votes = np.lexsort((-votes, pair))
    best = by_votes[np.unique(pair[by_votes], return_index=True)[1]]
    return codes[best], votes[best]
