"""Versions: the same music made anew, by a codec, a vocoder, a network or another recording.

Conventions: sounds are time–chroma sequences (``audio.chroma``). Windows of 5 s, thinned to two
values a second and class, are put into buckets by the signs of random projections; those that
share buckets are proposed, and correlation over the whole overlap decides. The score is Fisher's z
of the correlation times the square root of the overlap in frames, so that long overlaps weigh more.
How high it must be follows from how high strangers come by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

from earwitness.audio.chroma import HOP, N_CLASSES
from earwitness.audio.fingerprint import RATE_HZ
from earwitness.auditing.copymatch import Matches
from earwitness.auditing.lookup import Candidates, Ints, Keys, Library, find_candidates, key_bits

SHORTEST = 40
"""Frames that two sounds must overlap by, 5 s."""

SHORTEST_S = SHORTEST * HOP / RATE_HZ

_WINDOW = 40
_THINNED = 4
_STEPS = (4, 16)
"""Frames between windows of the side that asks and of the side that answers."""

_N_TABLES = 32
_BITS = (8, 26)
_TOLERANCE = 4
_FEWEST_VOTES = 2
_SEED = 20_260_101
_CHUNK = 256
"""Sounds whose windows are projected at once."""


class Scored(NamedTuple):
    """Matches and their scores.

    Attributes:
        matches: Proposed pairs; ``similarity`` is their correlation.
        score: ``(n,)`` what is held against chance.
    """

    matches: Matches
    score: NDArray[np.float64]


def find_versions(one: Library, other: Library, *, same: bool = False) -> Scored:
    """Return all pairs that are proposed, whatever their score.

    Args:
        one: Time–chroma of sounds.
        other: Time–chroma of others.
        same: Both are one library: each pair is given once, and no sound with itself.
    """
    found = _propose(one, other, same=same)
    kept = []
    for first, second, shift in zip(found.one, found.other, found.shift, strict=True):
        at, correlation, score = _confirm(
            _floats(one.sequence(first)), _floats(other.sequence(second)), int(shift)
        )
        kept.append((first, second, at * HOP / RATE_HZ, correlation, score))
    columns = np.array(kept, dtype=np.float64).reshape(-1, 5).T
    pairs = (columns[0].astype(np.int64), columns[1].astype(np.int64))
    return Scored(Matches(*pairs, columns[2], columns[3]), columns[4])


def best_score(one: NDArray[np.int8], other: NDArray[np.int8]) -> float:
    """Return the highest score of two sounds at any place; NaN where they are too short."""
    first, second = _floats(one), _floats(other)
    lengths = len(first), len(second)
    if min(lengths) < SHORTEST:
        return float("nan")
    n = fft.next_fast_len(sum(lengths), real=True)

    def slide(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
        spectra = fft.rfft(a, n, axis=0) * fft.rfft(b, n, axis=0).conj()
        slid: NDArray[np.float64] = fft.irfft(spectra.sum(axis=1), n)
        return slid

    ones = [np.ones((length, 1), dtype=np.float32) for length in lengths]
    powers = [(part**2).sum(axis=1, keepdims=True) for part in (first, second)]
    overlap = np.rint(slide(ones[0], ones[1]))
    energy = slide(powers[0], ones[1]) * slide(ones[0], powers[1])
    correlation = slide(first, second) / np.sqrt(np.maximum(energy, 1e-3))
    scores = _score(correlation, overlap)
    return float(scores[overlap >= SHORTEST].max())


def _score(correlation: NDArray[np.float64], overlap: NDArray[np.float64]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.arctanh(correlation.clip(-0.999, 0.999)) * np.sqrt(overlap)
    return scores


def _floats(chroma: NDArray[np.int8]) -> NDArray[np.float32]:
    return chroma.astype(np.float32)


def _confirm(
    one: NDArray[np.float32], other: NDArray[np.float32], shift: int
) -> tuple[int, float, float]:
    """Return the best place near ``shift``, and the correlation and score there."""
    best = (shift, 0.0, -np.inf)
    for at in range(shift - _TOLERANCE, shift + _TOLERANCE + 1):
        first, second = one[max(at, 0) :], other[max(-at, 0) :]
        n = min(len(first), len(second))
        if n < SHORTEST:
            continue
        a, b = first[:n].ravel(), second[:n].ravel()
        correlation = float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), 1e-3)
        score = float(_score(np.array(correlation), np.array(float(n))))
        if score > best[2]:
            best = (at, correlation, score)
    return best


def _propose(one: Library, other: Library, *, same: bool) -> Candidates:
    libraries = list(zip((one, other), _STEPS, strict=True))
    counts = [int(_n_windows(library, step).sum()) for library, step in libraries]
    n_sounds = max(len(one), len(other))
    n_keys = counts[0] * _N_TABLES
    bits = key_bits(n_keys, counts[1], n_sounds, fewest=_BITS[0], most=_BITS[1])
    planes = np.random.default_rng(_SEED).standard_normal(
        (_WINDOW // _THINNED * N_CLASSES, _N_TABLES * bits), dtype=np.float32
    )
    keys = [_keys(library, step, planes, bits) for library, step in libraries]
    return find_candidates(*keys, tolerance=_TOLERANCE, fewest=_FEWEST_VOTES, same=same)


def _n_windows(library: Library, step: int) -> Ints:
    n: Ints = np.maximum((library.lengths() - _WINDOW) // step + 1, 0)
    return n


def _keys(library: Library, step: int, planes: NDArray[np.float32], bits: int) -> Keys:
    """Return a key for every window and table: the table's number, then the signs."""
    counts = _n_windows(library, step)
    owner = np.repeat(np.arange(len(library), dtype=np.int32), counts)
    places = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = np.empty((len(owner), _N_TABLES), dtype=np.uint32)
    at = 0
    for windows in _windows(library, step):
        keys[at : at + len(windows)] = _buckets(windows @ planes, bits)
        at += len(windows)
    return Keys(
        keys.ravel(),
        np.repeat(owner, _N_TABLES),
        np.repeat((places * step).astype(np.int32), _N_TABLES),
    )


def _buckets(projected: NDArray[np.float32], bits: int) -> NDArray[np.uint32]:
    signs = (projected > 0).reshape(len(projected), _N_TABLES, bits)
    weights = np.uint32(1) << np.arange(bits, dtype=np.uint32)
    tables = np.arange(_N_TABLES, dtype=np.uint32) << np.uint32(bits)
    buckets: NDArray[np.uint32] = (signs * weights).sum(axis=2, dtype=np.uint32) | tables
    return buckets


def _windows(library: Library, step: int) -> Iterator[NDArray[np.float32]]:
    """Yield the windows of some sounds at a time, each as one row."""
    for start in range(0, len(library), _CHUNK):
        stop = min(start + _CHUNK, len(library))
        parts = [_windows_of(library.sequence(number), step) for number in range(start, stop)]
        yield np.concatenate(parts)


def _windows_of(chroma: NDArray[np.int8], step: int) -> NDArray[np.float32]:
    n = max((len(chroma) - _WINDOW) // step + 1, 0)
    if n == 0:
        return np.zeros((0, _WINDOW // _THINNED * N_CLASSES), dtype=np.float32)
    smooth = uniform_filter1d(_floats(chroma), _THINNED, axis=0)
    within = np.arange(0, _WINDOW, _THINNED)
    rows = step * np.arange(n)[:, None] + within
    windows: NDArray[np.float32] = smooth[rows].reshape(n, -1)
    return windows
