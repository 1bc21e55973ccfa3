"""Alignment of two time–chroma sequences over their whole overlap, and changes of pitch and speed.

Sequences are ``(n_frames, N_CLASSES)``. A shift is the start of the second sequence in the first.
The score is Fisher's z of the correlation times the square root of the overlap in frames, so that
long overlaps count more; it is minus infinity below ``SHORTEST``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.audit.near_duplicates.fingerprints import (
    CHROMA_HOP,
    N_CLASSES,
    RATE_HZ,
    Chroma,
    Floats,
    Ints,
)

FRAMES_PER_S = RATE_HZ / CHROMA_HOP

SHORTEST = 40
"""Minimum overlap in frames (5 s)."""

MARGIN = 2.0
"""Minimum margin of a match over the other shifts of its pair."""

_ROUNDED = 1e-3  # rounding error of a correlation of float32


class Alignment(NamedTuple):
    """The best shift of a pair; arrays for several pairs.

    Attributes:
        shift: In frames.
        correlation: Over the overlap.
        score: Score at the shift.
        margin: Score above that of the correlation at the best other shift.
    """

    shift: Any
    correlation: Any
    score: Any
    margin: Any


class Spectra:
    """Fourier transforms and energies of sequences.

    Args:
        sequences: At least one.
        n: Length of the transforms, at least that of two sequences end to end.
        delay: Frames of silence before each.

    Attributes:
        lengths: ``(m,)`` frames of each.
        values: ``(m, n // 2 + 1, N_CLASSES)`` Fourier transforms.
        energy: ``(m, longest + 1)`` energy of all frames before each; integers, so exact.
        usual: ``(m,)`` mean energy of the frames that are not silent.
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
        """Return the energy of a stretch of each sequence, 0 where it is empty."""
        first = begin.clip(0, self.energy.shape[1] - 1)
        last = end.clip(first, self.energy.shape[1] - 1)
        rows = np.arange(len(self.energy))[:, None]
        energy: Ints = self.energy[rows, last] - self.energy[rows, first]
        return energy


def usual_energy(frames: Ints) -> float:
    """Return the mean energy of the frames above a tenth of the mean, 0 without any."""
    loud = frames[frames > 0.1 * frames.mean()] if len(frames) else frames
    return float(loud.mean()) if len(loud) else 0.0


def transform_length(*longest: int) -> int:
    """Return the transform length for one sequence of each of these lengths."""
    n: int = fft.next_fast_len(max(sum(longest), 1), real=True)
    return n


def effective_overlap(overlap: Ints, energies: tuple[Any, Any], usual: tuple[Any, Any]) -> Floats:
    """Return the overlap in frames of usual energy, of the side with fewer.

    Silence is excluded: near-silent frames correlate by chance.
    """
    frames = overlap.astype(np.float64)
    for energy, level in zip(energies, usual, strict=True):
        frames = np.minimum(frames, energy / np.maximum(level, 1))
    return frames


def align_pairs(ones: Sequence[Chroma], others: Sequence[Chroma]) -> Alignment:
    """Return the best alignment of each sequence with its counterpart, as arrays ``(n_pairs,)``."""
    longest = [max((len(side) for side in sides), default=0) for sides in (ones, others)]
    n = transform_length(*longest)
    step = max((1 << 17) // n, 1)  # bounds memory
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
    scores = score_of(correlation, overlap)
    rows, best = np.arange(len(scores)), scores.argmax(axis=1)
    shift, r, frames = shifts[best], correlation[rows, best], overlap[rows, best]
    elsewhere = np.abs(shifts - shift[:, None]) > 8  # 1 s
    elsewhere &= overlap >= np.maximum(SHORTEST, frames / 3)[:, None]
    second = np.where(elsewhere, correlation, 0).max(axis=1)
    margin = (_fisher_z(r) - _fisher_z(second)) * np.sqrt(frames.clip(0))
    return Alignment(shift, r, scores[rows, best], margin)


def score_of(correlation: NDArray[np.floating], overlap: NDArray[np.floating]) -> Floats:
    """Return the score of a correlation over an overlap in frames."""
    z = _fisher_z(correlation) * np.sqrt(overlap.clip(0))
    scores: Floats = np.where(overlap >= SHORTEST, z, -np.inf)
    return scores


def _fisher_z(correlation: NDArray[np.floating]) -> Floats:
    z: Floats = np.arctanh(correlation.clip(-0.999, 0.999))
    return z


def screen(one: Spectra, other: Spectra, delay: int, least: float) -> NDArray[np.bool_]:
    """Return which pairs may reach a score: all that do, and few others.

    The bound assumes usual energy in every frame of the overlap.

    Args:
        one: ``q`` sequences, each after ``delay`` silent frames.
        other: ``m`` sequences of at most ``delay`` frames.
        delay: As given to ``one``.
        least: The score.

    Returns:
        ``(q, m)``.
    """
    products = np.matmul(
        np.ascontiguousarray(one.values.transpose(1, 0, 2)),
        np.ascontiguousarray(other.values.conj().transpose(1, 2, 0)),
    )
    places = np.arange(one.n)[:, None]  # shifts, ``delay`` frames late
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
        needed[overlap[inside] < SHORTEST] = 1e18  # out of reach of any product
        second = _rows(energies, (length + delay - places)[inside]) - before[inside]
        scale = np.sqrt(np.maximum(second, 1, out=second), out=second)
        scale *= needed.astype(np.float32)[:, which]
        correlated = fft.irfft(products[:, row], one.n, axis=0)
        possible[row] = (correlated[inside] >= scale).any(axis=0)
    return possible


def _rows(values: NDArray[np.float32], places: Ints) -> NDArray[np.float32]:
    """Return the values at places, clipped to the valid ones."""
    inside = places.clip(0, len(values) - 1)
    rows: NDArray[np.float32] = values[inside if values.ndim == 1 else inside[:, 0]]
    return rows


def screen_near(
    ones: Sequence[Chroma], others: Sequence[Chroma], shifts: Ints, *, reach: int, least: float
) -> NDArray[np.bool_]:
    """Return which pairs may reach a score less than ``reach`` frames from a shift."""
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
    """Return the best of a few shifts, without its margin, from exact sums."""
    best = Alignment(shifts.start, 0.0, -np.inf, 0.0)
    first, second = one.astype(np.float64), other.astype(np.float64)
    usual = usual_energy((first**2).sum(axis=1)), usual_energy((second**2).sum(axis=1))
    for shift in shifts:
        a, b = first[max(shift, 0) :], second[max(-shift, 0) :]
        n = min(len(a), len(b))
        if n < SHORTEST:
            continue
        a, b = a[:n].ravel(), b[:n].ravel()
        energies = float(a @ a), float(b @ b)
        overlap = effective_overlap(np.array(n), energies, usual)
        correlation = float(a @ b) / math.sqrt(max(energies[0] * energies[1], 1))
        z = float(score_of(np.array(correlation), overlap))
        if z > best.score:
            best = Alignment(shift, correlation, z, 0.0)
    return best


class Variant(NamedTuple):
    """A change of pitch, to half a semitone, and a factor of speed."""

    semitones: float
    speed: float

    def describe(self) -> str:
        """Return the change as text ("about 6 % faster, 1 semitone up")."""
        parts = []
        if self.speed != 1:
            percent = round(abs(self.speed - 1) * 100)
            parts.append(f"about {percent} % {'faster' if self.speed > 1 else 'slower'}")
        if self.semitones:
            size = f"{abs(self.semitones):g} semitone{'' if abs(self.semitones) == 1 else 's'}"
            parts.append(f"{size} {'up' if self.semitones > 0 else 'down'}")
        return ", ".join(parts)


UNCHANGED = Variant(0.0, 1.0)

VARIANTS = (
    *(
        Variant(round(24 * math.log2(speed)) / 2, speed)
        for speed in (0.88, 0.91, 0.94, 0.97, 1.03, 1.06, 1.09, 1.12)
    ),
    *(Variant(0.0, tempo) for tempo in (0.9, 0.94, 1.06, 1.1)),
    *(Variant(semitones, 1.0) for semitones in (-2.0, -1.0, 1.0, 2.0)),
)
"""All changes that are searched: of speed, of tempo alone, of pitch alone."""

LONGEST = 400
"""Maximum length of a changed sequence in frames (50 s): small errors of speed accumulate."""


def vary(chroma: Chroma, variant: Variant) -> tuple[Chroma, int]:
    """Return the changed middle of a sequence, and the frame where that middle begins."""
    if variant == UNCHANGED:
        return chroma, 0
    start = max((len(chroma) - LONGEST) // 2, 0)
    middle = chroma[start : start + LONGEST]
    whole = math.floor(variant.semitones)
    varied = np.roll(middle, whole, axis=1).astype(np.float64)
    if whole != variant.semitones:
        varied = (varied + np.roll(varied, 1, axis=1)) / 2
    first, last, share = _resampled_places(len(middle), variant.speed)
    varied = varied[first] * (1 - share) + varied[last] * share
    return np.rint(varied).astype(np.int8).reshape(-1, N_CLASSES), start


@lru_cache(maxsize=1_024)
def _resampled_places(n: int, speed: float) -> tuple[Ints, Ints, Floats]:
    """Return the two frames around each frame of a faster sequence, and its distance from one."""
    places = np.arange(int(n / speed)) * speed
    first: Ints = places.astype(np.int64)
    last: Ints = np.minimum(first + 1, n - 1)
    share = np.asarray((places - first)[:, None], dtype=np.float64)
    return first, last, share
