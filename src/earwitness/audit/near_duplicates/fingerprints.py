"""Fingerprints and time–chroma of recordings, and the inverted index that finds shared ones.

A fingerprint is a 32-bit word a frame: the signs of how the energy differences of neighbouring
bands change over time (Haitsma and Kalker, ISMIR 2002). Bit 31 is the lowest band; 0 is a silent
frame. Time–chroma is the energy of the twelve pitch classes a frame, relative to its neighbourhood.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter1d

RATE_HZ = 5_500
FRAME, HOP, N_BITS = 2_048, 64, 32
CHROMA_FRAME, CHROMA_HOP, N_CLASSES = 4_096, 688, 12

_BLOCK = 512  # frames transformed at once

Words = NDArray[np.uint32]
Chroma = NDArray[np.int8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def fingerprint(samples: NDArray[np.float32]) -> Words:
    """Return the words of a recording, one fewer than frames; none below two frames.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``, nominally in [-1, 1].
    """
    energies = _band_energies(samples)
    if len(energies) < 2:
        return np.zeros(0, dtype=np.uint32)
    slopes = np.diff(energies, axis=1)
    signs = slopes[1:] < slopes[:-1]
    words = np.packbits(signs, axis=1).view(">u4").astype(np.uint32).ravel()
    loud = energies.sum(axis=1) > 1e-9  # mean power of the band, relative to full scale
    words[~(loud[1:] & loud[:-1])] = 0
    return words


def _band_energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energy in ``N_BITS + 1`` logarithmically spaced bands of every whole frame."""
    if len(samples) < FRAME:
        return np.zeros((0, N_BITS + 1), dtype=np.float32)
    window, edges = _band_window(), _band_edges()
    frames = sliding_window_view(samples, FRAME)[::HOP]
    energies = np.empty((len(frames), N_BITS + 1), dtype=np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        inside = spectrum[:, edges[0] : edges[-1]]
        power = inside.real**2 + inside.imag**2
        energies[start : start + _BLOCK] = np.add.reduceat(power, edges[:-1] - edges[0], axis=1)
    return energies


@cache
def _band_window() -> NDArray[np.float32]:
    """Return a Hann window with unit energy, so that band energies are mean powers."""
    window = np.hanning(FRAME + 1)[:-1]
    unit: NDArray[np.float32] = (window / np.sqrt(FRAME * (window**2).sum() / 2)).astype(np.float32)
    return unit


@cache
def _band_edges() -> Ints:
    """Return the first bin of each band, and the end of the last."""
    hz = np.geomspace(300.0, 2_000.0, N_BITS + 2)
    return np.rint(hz * FRAME / RATE_HZ).astype(np.int64)


def time_chroma(samples: NDArray[np.float32]) -> Chroma:
    """Return the time–chroma of a recording, 0 in silence and where it is constant.

    Args:
        samples: ``(n_samples,)`` at ``RATE_HZ``.

    Returns:
        ``(n_frames, N_CLASSES)``, in 1/32 of the standard deviation of each class, clipped to ±127.
    """
    energies = _class_energies(samples)
    if len(energies) == 0:
        return np.zeros((0, N_CLASSES), dtype=np.int8)
    floor = 1e-6  # energy as a share of the recording's mean
    silent = energies.sum(axis=1) <= floor * energies.sum(axis=1).mean()
    level = np.log10(energies + floor * energies.mean() + np.finfo(np.float32).tiny)
    level -= level.mean(axis=1, keepdims=True)
    level -= uniform_filter1d(level, 32, axis=0)  # 4 s
    level -= level[~silent].mean(axis=0) if not silent.all() else 0
    level[silent] = 0
    spread = np.sqrt((level**2).sum(axis=0) / max(int((~silent).sum()), 1))
    level *= 32 / np.where(spread > 1e-6, spread, np.inf)
    stored: Chroma = np.rint(level).clip(-127, 127).astype(np.int8)
    return stored


def _class_energies(samples: NDArray[np.float32]) -> Floats:
    if len(samples) < CHROMA_FRAME:
        return np.zeros((0, N_CLASSES))
    frames = sliding_window_view(samples, CHROMA_FRAME)[::CHROMA_HOP]
    window = np.hanning(CHROMA_FRAME + 1)[:-1].astype(np.float32)
    first, weights = _class_weights()
    energies = np.empty((len(frames), N_CLASSES))
    for start in range(0, len(frames), _BLOCK):
        spectrum = fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        inside = spectrum[:, first : first + len(weights)]
        energies[start : start + _BLOCK] = (inside.real**2 + inside.imag**2) @ weights
    return energies


@cache
def _class_weights() -> tuple[int, NDArray[np.float32]]:
    """Return the first bin from 80 to 2 400 Hz, and the weight of each bin in each class."""
    hz = np.arange(CHROMA_FRAME // 2 + 1) * RATE_HZ / CHROMA_FRAME
    inside = np.flatnonzero((hz >= 80.0) & (hz <= 2_400.0))
    place = N_CLASSES * np.log2(hz[inside] / 440.0)
    apart = place[:, None] - np.arange(N_CLASSES)
    distance = np.abs((apart + N_CLASSES / 2) % N_CLASSES - N_CLASSES / 2)
    return int(inside[0]), np.clip(1 - distance, 0, None).astype(np.float32)


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

    def lengths(self) -> Ints:
        """Return the length of each sequence."""
        return np.diff(self.starts)

    def counts(self, kept: NDArray[np.bool_]) -> Ints:
        """Return the number of selected values of each sequence."""
        before = np.concatenate(([0], np.cumsum(kept, dtype=np.int64)))
        return np.diff(before[self.starts])


class Keys(NamedTuple):
    """Keys of an index, in the order of its sequences: ``(n,)`` keys, sequences and positions."""

    keys: NDArray[np.uint32]
    owner: NDArray[np.int32]
    place: NDArray[np.int32]


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


def concatenate(parts: Iterable[Keys]) -> Keys:
    """Return at least one block of keys as one."""
    return Keys(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def stack(sequences: Sequence[NDArray[Any]], *, empty: NDArray[Any]) -> InvertedIndex:
    """Return the index of sequences; ``empty`` is a sequence of their type without values."""
    lengths = [len(sequence) for sequence in sequences]
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return InvertedIndex(np.concatenate([empty, *sequences]), starts)


def key_bits(n_comparisons: int, *, chance_hits: int, among: range) -> int:
    """Return the key length at which ``n_comparisons`` give ``chance_hits`` hits by chance."""
    wanted = math.ceil(math.log2(max(n_comparisons / max(chance_hits, 1), 1)))
    return min(max(wanted, among.start), among.stop - 1)


_HALF = 1 << 20  # more than the largest shift


def find_candidates(
    one: Iterable[Keys], other: Keys, *, tolerance: int, fewest: int, same: bool = False
) -> Candidates:
    """Return the pairs of sequences that share keys, each with its most voted shift.

    Args:
        one: Keys of the first index, in blocks of whole sequences.
        other: Keys of the second.
        tolerance: Shifts in bins of this size are one.
        fewest: Minimum number of votes.
        same: Whether both are one index: each pair once, and no sequence with itself.
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
    """Yield sequences and shifts of all shared keys; both sides in key order, for the cache."""
    order = np.argsort(other.keys).astype(np.int32)
    keys = other.keys[order]
    for block in one:
        by_key = np.argsort(block.keys)
        asked = block.keys[by_key]
        first = np.searchsorted(keys, asked)
        n_hits = np.searchsorted(keys, asked, "right") - first
        n_hits[n_hits > 256] = 0  # keys this common carry no information: hum, held notes, clicks
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
