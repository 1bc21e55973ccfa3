"""How alike two time–chroma sequences are, over their whole overlap.

Conventions: sequences are ``(n_frames, N_CLASSES)``. A shift is the place in the first where the
other begins. The score is Fisher's z of the correlation times the square root of the overlap in
frames, so that long overlaps weigh more; it is minus infinity where the overlap is too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.audit.near_duplicates.fingerprints import CHROMA_HOP, N_CLASSES, RATE_HZ, Chroma

SHORTEST = 40
"""Frames that two sounds must overlap by."""

MARGIN = 2.0
"""Margin from which on a match stands out from the other places of its pair."""

FRAMES_PER_S = RATE_HZ / CHROMA_HOP

_SILENT = 0.1
"""Share of the mean energy below which a frame counts as silent."""

_HIGHEST = 0.999

_SAME_PLACE = 8
"""Frames (1 s) around a place that count as the same place."""

_LEAST_ELSEWHERE = 3
"""Another place counts where it overlaps by this part of the best overlap."""

_ROUNDED = 1e-3
"""What a correlation of float32 may be off by."""

_OUT_OF_REACH = 1e18
"""More than any product of two sequences."""

_BLOCK = 1 << 17
"""Frames transformed at once."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Alignment(NamedTuple):
    """Where two sounds are most alike, and how much; of many pairs, arrays.

    Attributes:
        shift: Place in the first where the other begins, in frames.
        correlation: Over the overlap.
        score: Compared with scores of unrelated sounds.
        margin: What the score would lose if the correlation were that of the best other place.
    """

    shift: Any
    correlation: Any
    score: Any
    margin: Any


class Spectra:
    """Fourier transforms and energies of some sequences.

    Args:
        sequences: At least one.
        n: Length of the transforms: no less than two sequences end to end.
        delay: Frames of silence to put before each.

    Attributes:
        n: As given.
        lengths: ``(m,)`` frames of each.
        values: ``(m, n // 2 + 1, N_CLASSES)`` Fourier transforms.
        energy: ``(m, longest + 1)`` energy of all frames before each place; sums of whole numbers,
            so that the energy of any stretch is exact, 0 in silence.
        usual: ``(m,)`` energy of a frame of each, silent ones left out.
    """

    def __init__(self, sequences: Sequence[Chroma], n: int, *, delay: int = 0) -> None:
        self.n = n
        self.lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        padded = np.zeros((len(sequences), n, N_CLASSES), dtype=np.float32)
        for row, sequence in zip(padded, sequences, strict=True):
            row[delay : delay + len(sequence)] = sequence
        self.values = fft.rfft(padded, axis=1)
        sounding = padded[:, delay : delay + self.lengths.max(initial=0)]
        frames = np.einsum("mfc,mfc->mf", sounding, sounding).astype(np.int64)
        self.energy = np.pad(frames.cumsum(axis=1), ((0, 0), (1, 0)))
        self.usual = np.array(
            [usual_energy(frame[:n]) for frame, n in zip(frames, self.lengths, strict=True)]
        )

    def between(self, begin: Ints, end: Ints) -> Ints:
        """Return the energy of a stretch of each sequence, 0 where the end is not after begin."""
        first = begin.clip(0, self.energy.shape[1] - 1)
        last = end.clip(first, self.energy.shape[1] - 1)
        rows = np.arange(len(self.energy))[:, None]
        energy: Ints = self.energy[rows, last] - self.energy[rows, first]
        return energy


def usual_energy(frames: Ints) -> float:
    """Return the mean energy of frames that are not silent, 0 where all are."""
    loud = frames[frames > _SILENT * frames.mean()] if len(frames) else frames
    return float(loud.mean()) if len(loud) else 0.0


def transform_length(*longest: int) -> int:
    """Return a length for transforms of sequences no longer than these, one of each."""
    n: int = fft.next_fast_len(max(sum(longest), 1), real=True)
    return n


def effective_overlap(
    overlap: Ints, energies: tuple[Any, Any], usual: tuple[Any, Any]
) -> NDArray[np.float64]:
    """Return the overlap in frames of usual energy of the side that has fewer of them.

    Silence takes part in no overlap: next to nothing correlates with next to nothing by chance.
    """
    frames = overlap.astype(np.float64)
    for energy, level in zip(energies, usual, strict=True):
        frames = np.minimum(frames, energy / np.maximum(level, 1))
    return frames


def align(one: Chroma, other: Chroma) -> Alignment:
    """Return the best alignment of two sequences."""
    return Alignment(*(column[0] for column in align_pairs([one], [other])))


def align_pairs(ones: Sequence[Chroma], others: Sequence[Chroma]) -> Alignment:
    """Return the best alignment of each sequence with its counterpart, as arrays ``(n_pairs,)``."""
    longest = [max((len(side) for side in sides), default=0) for sides in (ones, others)]
    n = transform_length(*longest)
    step = max(_BLOCK // n, 1)
    parts = [
        _align_rows(Spectra(ones[at : at + step], n), Spectra(others[at : at + step], n))
        for at in range(0, len(ones), step)
    ]
    none = Alignment(np.zeros(0, dtype=np.int64), *np.zeros((3, 0)))
    return Alignment(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))


def _align_rows(one: Spectra, other: Spectra) -> Alignment:
    shifts = np.arange(one.n)
    shifts[shifts >= int(one.lengths.max())] -= one.n
    lengths = one.lengths[:, None], other.lengths[:, None]
    begin = np.broadcast_to(np.maximum(shifts, 0), (len(lengths[0]), one.n))
    end = np.minimum(lengths[0], lengths[1] + shifts)
    energies = one.between(begin, end), other.between(begin - shifts, end - shifts)
    usual = one.usual[:, None], other.usual[:, None]
    overlap = effective_overlap(end - begin, energies, usual)
    norm = np.sqrt(np.maximum(energies[0].astype(np.float64) * energies[1], 1))
    products = np.einsum("mfc,mfc->mf", one.values, other.values.conj())
    correlation = fft.irfft(products, one.n, axis=1) / norm
    scores = score(correlation, overlap)
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    shift, r, frames = shifts[best], correlation[rows, best], overlap[rows, best]
    elsewhere = np.abs(shifts - shift[:, None]) > _SAME_PLACE
    elsewhere &= overlap >= np.maximum(SHORTEST, frames / _LEAST_ELSEWHERE)[:, None]
    second = np.where(elsewhere, correlation, 0).max(axis=1)
    margin = (_fisher_z(r) - _fisher_z(second)) * np.sqrt(frames.clip(0))
    return Alignment(shift, r, scores[rows, best], margin)


def screen(one: Spectra, other: Spectra, delay: int, least: float) -> NDArray[np.bool_]:
    """Return which pairs may reach a score: all that do, and hardly any other.

    The bound takes every frame of the overlap for one of usual energy.

    Args:
        one: ``q`` sequences, each after ``delay`` silent frames.
        other: ``m`` sequences, none longer than ``delay``.
        delay: As given to ``one``.
        least: The score.

    Returns:
        ``(q, m)``.
    """
    products = np.matmul(
        np.ascontiguousarray(one.values.transpose(1, 0, 2)),
        np.ascontiguousarray(other.values.conj().transpose(1, 2, 0)),
    )
    places = np.arange(one.n)[:, None]  # of the other's begin, ``delay`` frames late
    lengths, which = np.unique(other.lengths, return_inverse=True)
    begins, ends = np.maximum(places - delay, 0), lengths + places - delay
    energies = np.ascontiguousarray(other.energy.T, dtype=np.float32)
    before = _rows(energies, delay - places)
    possible = np.zeros((len(one.lengths), len(other.lengths)), dtype=np.bool_)
    for row, length in enumerate(one.lengths):
        overlap = np.minimum(ends, length) - begins
        long = np.flatnonzero((overlap >= SHORTEST).any(axis=1))
        if len(long) == 0:
            continue
        inside = slice(long[0], long[-1] + 1)
        energy = one.energy[row].astype(np.float32)
        first = _rows(energy, ends[inside]) - _rows(energy, begins[inside])
        needed = np.tanh(least / np.sqrt(np.maximum(overlap[inside], 1))) - _ROUNDED
        needed *= np.sqrt(np.maximum(first, 1))
        needed[overlap[inside] < SHORTEST] = _OUT_OF_REACH
        second = _rows(energies, (length + delay - places)[inside]) - before[inside]
        scale = np.sqrt(np.maximum(second, 1, out=second), out=second)
        scale *= needed.astype(np.float32)[:, which]
        correlated = fft.irfft(products[:, row], one.n, axis=0)
        possible[row] = (correlated[inside] >= scale).any(axis=0)
    return possible


def _rows(values: NDArray[np.float32], places: Ints) -> NDArray[np.float32]:
    """Return the values at places, the first and last ones where those are outside."""
    inside = places.clip(0, len(values) - 1)
    rows: NDArray[np.float32] = values[inside if values.ndim == 1 else inside[:, 0]]
    return rows


def screen_near(
    ones: Sequence[Chroma], others: Sequence[Chroma], shifts: Ints, *, reach: int, least: float
) -> NDArray[np.bool_]:
    """Return which pairs may reach a score at a shift, or less than ``reach`` frames from it."""
    n, reach = max(len(one) for one in ones), reach - 1
    first = np.zeros((len(ones), n, N_CLASSES), dtype=np.float32)
    second = np.zeros((len(ones), n + 2 * reach, N_CLASSES), dtype=np.float32)
    lengths = np.array([(len(one), len(other)) for one, other in zip(ones, others, strict=True)])
    for row, (one, other, at) in enumerate(zip(ones, others, shifts + reach, strict=True)):
        first[row, : len(one)] = one
        here = other[max(-at, 0) : max(n + 2 * reach - at, 0)]
        second[row, max(at, 0) : max(at, 0) + len(here)] = here
    energies = [
        np.pad(np.einsum("ktc,ktc->kt", side, side).cumsum(axis=1), ((0, 0), (1, 0)))
        for side in (first, second)
    ]
    rows, possible = np.arange(len(ones)), np.zeros(len(ones), dtype=np.bool_)
    for step in range(-reach, reach + 1):
        shift, back = shifts + step, reach - step
        begin, end = np.maximum(shift, 0), np.minimum(lengths[:, 0], lengths[:, 1] + shift)
        inside = end - begin >= SHORTEST
        begin, end = begin.clip(0, n), end.clip(0, n)
        e1, e2 = (
            values[rows, end + late] - values[rows, begin + late]
            for values, late in zip(energies, (0, back), strict=True)
        )
        needed = np.tanh(least / np.sqrt(np.maximum(end - begin, 1))) - _ROUNDED
        products = np.einsum("ktc,ktc->k", first, second[:, back : back + n])
        possible |= inside & (products >= needed * np.sqrt(np.maximum(e1 * e2, 1)))
    return possible


def align_near(one: Chroma, other: Chroma, shifts: range) -> Alignment:
    """Return the best alignment at one of a few shifts."""
    best = Alignment(shifts.start, 0.0, -np.inf, 0.0)
    first, second = one.astype(np.float64), other.astype(np.float64)  # whole numbers: exact sums
    usual = tuple(usual_energy((side**2).sum(axis=1)) for side in (first, second))
    for shift in shifts:
        a, b = first[max(shift, 0) :], second[max(-shift, 0) :]
        n = min(len(a), len(b))
        if n < SHORTEST:
            continue
        a, b = a[:n].ravel(), b[:n].ravel()
        energies = float(a @ a), float(b @ b)
        overlap = effective_overlap(np.array(n), energies, (usual[0], usual[1]))
        correlation = float(a @ b) / math.sqrt(max(energies[0] * energies[1], 1))
        z = float(score(np.array(correlation), overlap))
        if z > best.score:
            best = Alignment(shift, correlation, z, 0.0)
    return best


def score(correlation: NDArray[np.floating], overlap: NDArray[np.floating]) -> Floats:
    """Return Fisher's z times the square root of the overlap, which must be long enough."""
    z = _fisher_z(correlation) * np.sqrt(overlap.clip(0))
    scores: Floats = np.where(overlap >= SHORTEST, z, -np.inf)
    return scores


def _fisher_z(correlation: NDArray[np.floating]) -> Floats:
    z: Floats = np.arctanh(correlation.clip(-_HIGHEST, _HIGHEST))
    return z


LONGEST = 400
"""Frames (50 s) from the middle of a sound that are varied: a small error of speed adds up."""

_CLASSES = np.arange(N_CLASSES)
_SPEEDS = (0.88, 0.91, 0.94, 0.97, 1.03, 1.06, 1.09, 1.12)
_TEMPOS = (0.9, 0.94, 1.06, 1.1)
_PITCHES = (-2.0, -1.0, 1.0, 2.0)


class Variant(NamedTuple):
    """One change.

    Attributes:
        semitones: Pitch, to half a semitone.
        speed: Factor.
    """

    semitones: float
    speed: float

    def describe(self) -> str:
        """Return what the other sound did to the first ("6 % faster, 1 semitone up")."""
        said = []
        if self.speed != 1:
            percent = round(abs(self.speed - 1) * 100)
            said.append(f"about {percent} % {'faster' if self.speed > 1 else 'slower'}")
        if self.semitones:
            size = f"{abs(self.semitones):g} semitone{'' if abs(self.semitones) == 1 else 's'}"
            said.append(f"{size} {'up' if self.semitones > 0 else 'down'}")
        return ", ".join(said)


UNCHANGED = Variant(0.0, 1.0)

VARIANTS = (
    *(Variant(round(24 * math.log2(speed)) / 2, speed) for speed in _SPEEDS),
    *(Variant(0.0, tempo) for tempo in _TEMPOS),
    *(Variant(semitones, 1.0) for semitones in _PITCHES),
)
"""All that are looked for."""


def vary(chroma: Chroma, variant: Variant) -> tuple[Chroma, int]:
    """Return the middle of a sound, changed, and the frame where that middle begins."""
    if variant == UNCHANGED:
        return chroma, 0
    start = max((len(chroma) - LONGEST) // 2, 0)
    middle = chroma[start : start + LONGEST]
    whole = math.floor(variant.semitones)
    varied = np.take(middle, (_CLASSES - whole) % N_CLASSES, axis=1).astype(np.float64)
    if whole != variant.semitones:
        varied = (varied + np.roll(varied, 1, axis=1)) / 2
    first, last, share = _resampled_places(len(middle), variant.speed)
    varied = varied[first] * (1 - share) + varied[last] * share
    return np.rint(varied).astype(np.int8).reshape(-1, N_CLASSES), start


@lru_cache(maxsize=1_024)
def _resampled_places(n: int, speed: float) -> tuple[Ints, Ints, Floats]:
    """Return the frames between which the frames of a faster sound are, and how far between."""
    places = np.arange(int(n / speed)) * speed
    first: Ints = places.astype(np.int64)
    last: Ints = np.minimum(first + 1, n - 1)
    share = np.asarray((places - first)[:, None], dtype=np.float64)
    return first, last, share
