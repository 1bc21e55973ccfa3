"""Nearest windows of time–chroma by faiss (extra ``[faiss]``): which pairs have several in common.

Windows of one side are in inverted lists of 4-bit product codes, as many recordings at a time as
fit a share of the memory; every window of the other side asks for its nearest ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.audit.near_duplicates.fingerprints import Ints
from earwitness.audit.near_duplicates.index import Candidates, InvertedIndex, VoteCodes
from earwitness.audit.near_duplicates.windows import (
    INDEX_STEP,
    N_VALUES,
    Windows,
    count_windows,
    cut_windows,
)
from earwitness.audit.scratch import Scratch
from earwitness.core.errors import UsageError

MOST_HASHED = 1_000_000
"""Number of windows (some 75 000 recordings of 30 s) beyond which faiss is used if installed."""

MISSING = "faiss not installed, expected pip install 'earwitness[faiss]'"

_ENTRY_BYTES = 80  # of a code, its list's spare room, its recording and place
_N_NEIGHBOURS, _N_PROBED = 16, 8
_ALIKE = 0.4  # squared distance of a correlation of 0.8
_AT_ONCE = 1 << 10  # windows that ask together; each has 30 KB of tables


Lookup = Literal["hash", "faiss"]
"""How similar windows are looked up: by shared keys, or as nearest neighbours."""


def choose_lookup(other: InvertedIndex) -> Lookup:
    """Return how windows of recordings are looked up."""
    return "faiss" if count_windows(other) > MOST_HASHED and find_spec("faiss") else "hash"


def describe_missing(other: InvertedIndex) -> str:
    """Return a note where faiss would be used if it were installed; empty elsewhere."""
    n = count_windows(other)
    if n <= MOST_HASHED or find_spec("faiss"):
        return ""
    return f"{n} windows of 5 s looked up by hashes, which miss faint versions ({MISSING})"


def find_near_candidates(
    one: Iterable[Windows],
    other: InvertedIndex,
    numbers: range,
    *,
    tolerance: int,
    scratch: Scratch,
    same: bool = False,
) -> Iterator[Candidates]:
    """Yield the pairs that have two near windows in common, or one that correlates by 0.8.

    Args:
        one: Windows of the asking recordings, in blocks of whole recordings.
        other: Time–chroma of the answering recordings.
        numbers: Those that are looked up, see ``split_recordings``.
        tolerance: Shifts in bins of this size are one.
        scratch: Limits of memory.
        same: Whether both are one index: each pair once, and no recording with itself.

    Raises:
        UsageError: faiss is not installed.
    """
    first = numbers.start
    other = InvertedIndex(other.values, other.starts[first : numbers.stop + 1])
    neighbours, votes = _Neighbours(other, scratch), VoteCodes(len(other), tolerance, fewest=2)
    for asked in map(_unit, one):
        base = int(asked.owner.min(initial=np.iinfo(np.int32).max))
        codes = [np.zeros(0, dtype=np.int64)]
        for at in range(0, len(asked.owner), _AT_ONCE):
            owners, others, shifts = neighbours.look_up(asked.take(slice(at, at + _AT_ONCE)))
            once = owners < others + first if same else slice(None)
            codes.append(votes.encode(owners[once] - base, others[once], shifts[once]))
        found = votes.choose(np.sort(np.concatenate(codes)), base)
        yield found._replace(other=found.other + first)
        scratch.release()


def split_recordings(index: InvertedIndex, scratch: Scratch) -> Iterator[range]:
    """Yield recordings of as many windows as fit a share of the memory."""
    before = np.concatenate(([0], np.cumsum((index.lengths() // INDEX_STEP).clip(1))))
    first = 0
    while first < len(index):
        most = before[first] + scratch.share // _ENTRY_BYTES
        last = max(int(np.searchsorted(before, most, "right")) - 1, first + 1)
        yield range(first, last)
        first = last


class _Neighbours:
    """Windows of recordings, looked up by similarity."""

    def __init__(self, index: InvertedIndex, scratch: Scratch) -> None:
        try:
            import faiss
        except ImportError:
            raise UsageError(MISSING) from None
        n_lists = 1 << max(int(math.log2(2 * math.sqrt(max(count_windows(index), 1)))), 0)
        lists: Any = faiss.index_factory(N_VALUES, f"IVF{n_lists},PQ{N_VALUES // 2}x4fs")
        lists.nprobe = _N_PROBED
        lists.cp.niter = 8
        for clustering in (lists.cp, lists.pq.cp):
            clustering.min_points_per_centroid = 1  # no warning about few
        lists.train(_sample(index, max(40 * n_lists, 1_000), scratch))
        owner, place = [], []
        for windows in map(_unit, cut_windows(index, INDEX_STEP)):
            lists.add(windows.values)
            owner.append(windows.owner)
            place.append(windows.place)
            scratch.release()
        self._lists = lists
        self._owner, self._place = np.concatenate(owner), np.concatenate(place)

    def look_up(self, asked: Windows) -> tuple[Ints, Ints, Ints]:
        """Return recordings and shifts of near windows, twice where they are much alike."""
        distances, found = self._lists.search(asked.values, _N_NEIGHBOURS)
        near, alike = (np.nonzero((found >= 0) & (distances <= most)) for most in (np.inf, _ALIKE))
        rows, columns = np.concatenate([near, alike], axis=1)
        numbers = found[rows, columns]
        shifts = asked.place[rows].astype(np.int64) - self._place[numbers]
        owners, others = asked.owner[rows], self._owner[numbers]
        return owners.astype(np.int64), others.astype(np.int64), shifts


def _sample(index: InvertedIndex, n: int, scratch: Scratch) -> NDArray[np.float32]:
    """Return about ``n`` windows of random recordings, repeated where they are too few."""
    fewest = 64  # for 16 product codes
    order = np.random.default_rng(0).permutation(len(index))
    n_recordings = max(int(len(index) * n / max(count_windows(index), 1)), 1)
    some, _ = index.select(np.sort(order[:n_recordings]), scratch)
    values = np.concatenate([_unit(windows).values for windows in cut_windows(some, INDEX_STEP)])
    return np.resize(values, (max(len(values), fewest), N_VALUES))


def _unit(windows: Windows) -> Windows:
    """Return the windows that are not silent, of unit length."""
    lengths = np.linalg.norm(windows.values, axis=1)
    loud = np.flatnonzero(lengths > 0)
    some = windows.take(loud)
    return some._replace(values=some.values / lengths[loud, None])
