"""Windows of time–chroma, and keys that similar ones are likely to share.

A window is 5 s, thinned to two values a second and class: ``(N_VALUES,)``. Its keys are the signs
of its projections on random planes, a key for each of many tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from earwitness.audit.near_duplicates.alignment import Variant, vary
from earwitness.audit.near_duplicates.fingerprints import N_CLASSES, Chroma
from earwitness.audit.near_duplicates.index import InvertedIndex, Keys, key_bits, stack

_FRAMES, _THINNED = 40, 4  # frames of a window, and those averaged into one value
N_VALUES = _FRAMES // _THINNED * N_CLASSES

QUERY_STEP, INDEX_STEP = 4, 16
"""Frames between windows of the query, and of the index."""

_N_TABLES = 32
_FRAMES_AT_ONCE = 1 << 16  # of recordings that are cut together


class Windows(NamedTuple):
    """Windows of recordings: ``(n, N_VALUES)`` values, recordings and first frames."""

    values: NDArray[np.float32]
    owner: NDArray[np.int32]
    place: NDArray[np.int32]

    def take(self, some: Any) -> Windows:
        """Return some of the windows."""
        return Windows(*(column[some] for column in self))


def cut_windows(index: InvertedIndex, step: int) -> Iterator[Windows]:
    """Yield the windows of all recordings, in blocks of whole recordings."""
    for numbers in index.blocks(_FRAMES_AT_ONCE):
        windows = [_windows_of(index.sequence(n), step) for n in numbers]
        counts = np.array([len(few) for few in windows], dtype=np.int64)
        places = [step * np.arange(count, dtype=np.int32) for count in counts]
        yield Windows(
            np.concatenate([np.zeros((0, N_VALUES), dtype=np.float32), *windows]),
            np.repeat(np.array(numbers, dtype=np.int32), counts),
            np.concatenate([np.zeros(0, dtype=np.int32), *places]),
        )


def cut_varied_windows(index: InvertedIndex, variants: tuple[Variant, ...]) -> Iterator[Windows]:
    """Yield the query's windows of all variants of all recordings.

    The recording of a window is its number plus that of the variant times the number of recordings.
    """
    empty = np.zeros((0, N_CLASSES), dtype=np.int8)
    for number, variant in enumerate(variants):
        step = QUERY_STEP
        if len(variants) > 1:
            step = 8 if variant.speed == 1 else 16
        for numbers in index.blocks(_FRAMES_AT_ONCE):
            varied = stack([vary(index.sequence(n), variant)[0] for n in numbers], empty=empty)
            owner = np.int32(number * len(index) + numbers.start)
            for windows in cut_windows(varied, step):
                yield windows._replace(owner=windows.owner + owner)


def count_windows(index: InvertedIndex, step: int = INDEX_STEP) -> int:
    """Return the number of windows of all recordings."""
    return int(((index.lengths() - _FRAMES) // step + 1).clip(0).sum())


def _windows_of(chroma: Chroma, step: int) -> NDArray[np.float32]:
    n = max((len(chroma) - _FRAMES) // step + 1, 0)
    if n == 0:
        return np.zeros((0, N_VALUES), dtype=np.float32)
    smooth = uniform_filter1d(chroma.astype(np.float32), _THINNED, axis=0)
    within = np.arange(0, _FRAMES, _THINNED)
    rows = step * np.arange(n)[:, None] + within
    windows: NDArray[np.float32] = smooth[rows].reshape(n, -1)
    return windows


def hash_windows(blocks: Iterable[Windows], bits: int, n_tables: int) -> Iterator[Keys]:
    """Yield a key for every window and table: the table's number and the signs."""
    planes = _planes(bits)[:, : n_tables * bits]
    for windows in blocks:
        yield Keys(
            _buckets(windows.values @ planes, bits, n_tables).ravel(),
            np.repeat(windows.owner, n_tables),
            np.repeat(windows.place, n_tables),
        )


def table_size(one: InvertedIndex, other: InvertedIndex, *, is_plain: bool) -> tuple[int, int]:
    """Return the length of keys in bits, and the number of tables."""
    n_windows = count_windows(one, QUERY_STEP) * count_windows(other)
    chance_hits = 2_000 * max(len(one), len(other))
    bits = key_bits(_N_TABLES * n_windows, chance_hits=chance_hits, among=range(8, 27))
    return bits, _N_TABLES if is_plain else _N_TABLES // 2


@cache
def _planes(bits: int) -> NDArray[np.float32]:
    """Return the normals of random hyperplanes, ``bits`` a table."""
    shape = (N_VALUES, _N_TABLES * bits)
    return np.random.default_rng(20_260_101).standard_normal(shape, dtype=np.float32)


def _buckets(projected: NDArray[np.float32], bits: int, n_tables: int) -> NDArray[np.uint32]:
    signs = np.zeros((len(projected), n_tables, 32), dtype=np.bool_)
    signs[..., -bits:] = (projected > 0).reshape(len(projected), n_tables, bits)
    buckets = np.packbits(signs, axis=2).view(">u4")[..., 0].astype(np.uint32)
    tables = np.arange(n_tables, dtype=np.uint32) << np.uint32(bits)
    return buckets | tables
