"""How alike two time–chroma sequences are, over their whole overlap.

Conventions: sequences are ``(n_frames, N_CLASSES)``. A shift is the place in the first where the
other begins. The score is Fisher's z of the correlation times the square root of the overlap in
frames, so that long overlaps weigh more; it is minus infinity where the overlap is too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.audit.near_duplicates.fingerprints import CHROMA_HOP, N_CLASSES, RATE_HZ, Chroma

SHORTEST = 40
"""Frames that two sounds must overlap by."""

FRAMES_PER_S = RATE_HZ / CHROMA_HOP

_SILENT = 0.1
"""Share of the mean energy below which a frame counts as silent."""

_HIGHEST = 0.999

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Alignment(NamedTuple):
    """Where two sounds are most alike, and how much.

    Attributes:
        shift: Place in the first where the other begins, in frames.
        correlation: Over the overlap.
        score: What is held against chance.
    """

    shift: int
    correlation: float
    score: float


class Spectra:
    """Some sequences, ready to be slid over others.

    Args:
        sequences: At least one.
        n: Length of the transforms: no less than two sequences end to end.

    Attributes:
        n: As given.
        lengths: ``(m,)`` frames of each.
        values: ``(m, n // 2 + 1, N_CLASSES)`` Fourier transforms.
        energy: ``(m, longest + 1)`` energy of all frames before each place; sums of whole numbers,
            so that the energy of any stretch is exact, 0 in silence.
        usual: ``(m,)`` energy of a frame of each, silent ones left out.
    """

    def __init__(self, sequences: Sequence[Chroma], n: int) -> None:
        self.n = n
        self.lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        padded = np.zeros((len(sequences), n, N_CLASSES), dtype=np.float32)
        for number, sequence in enumerate(sequences):
            padded[number, : len(sequence)] = sequence
        self.values = fft.rfft(padded, axis=1)
        frames = (padded[:, : self.lengths.max(initial=0)] ** 2).sum(axis=2).astype(np.int64)
        self.energy = np.pad(frames.cumsum(axis=1), ((0, 0), (1, 0)))
        self.usual = np.array(
            [usual_energy(frame[:n]) for frame, n in zip(frames, self.lengths, strict=True)]
        )

    def between(self, numbers: Ints, begin: Ints, end: Ints) -> Ints:
        """Return the energy of stretches of some sequences, 0 where the end is not after begin."""
        first = begin.clip(0, self.energy.shape[1] - 1)
        last = end.clip(first, self.energy.shape[1] - 1)
        energy: Ints = self.energy[numbers, last] - self.energy[numbers, first]
        return energy


def usual_energy(frames: Ints) -> float:
    """Return the mean energy of frames that are not silent, 0 where all are."""
    loud = frames[frames > _SILENT * frames.mean()] if len(frames) else frames
    return float(loud.mean()) if len(loud) else 0.0


def transform_length(*longest: int) -> int:
    """Return a length for transforms of sequences no longer than these, one of each."""
    n: int = fft.next_fast_len(max(sum(longest), 1), real=True)
    return n


def slide(one: Spectra, number: int, other: Spectra) -> tuple[Ints, Floats, Floats]:
    """Return the best alignment of one sequence with each of others.

    Args:
        one: Sequences.
        number: Which of them.
        other: What it is slid over.

    Returns:
        Shifts, correlations and scores, each ``(m,)``; see ``Alignment``.
    """
    shifts = np.arange(one.n)
    shifts[shifts >= (one.n + 1) // 2] -= one.n
    length, lengths = int(one.lengths[number]), other.lengths[:, None]
    begin, end = np.maximum(shifts, 0)[None], np.minimum(length, lengths + shifts)
    energies = (
        one.between(np.array([[number]]), np.broadcast_to(begin, end.shape), end),
        other.between(np.arange(len(lengths))[:, None], begin - shifts, end - shifts),
    )
    usual = one.usual[number], other.usual[:, None]
    overlap = effective_overlap(end - begin, energies, usual)
    norm = np.sqrt(np.maximum(energies[0].astype(np.float64) * energies[1], 1))
    products = np.einsum("fc,mfc->mf", one.values[number], other.values.conj())
    correlation = fft.irfft(products, one.n, axis=1) / norm
    scores = score(correlation, overlap)
    best = scores.argmax(axis=1)
    rows = np.arange(len(best))
    return shifts[best], correlation[rows, best], scores[rows, best]


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
    n = transform_length(2 * max(len(one), len(other)))
    shifts, correlations, scores = slide(Spectra([one], n), 0, Spectra([other], n))
    return Alignment(int(shifts[0]), float(correlations[0]), float(scores[0]))


def align_near(one: Chroma, other: Chroma, shifts: range) -> Alignment:
    """Return the best alignment at one of a few shifts."""
    best = Alignment(shifts.start, 0.0, -np.inf)
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
            best = Alignment(shift, correlation, z)
    return best


def score(correlation: NDArray[np.floating], overlap: NDArray[np.floating]) -> Floats:
    """Return Fisher's z times the square root of the overlap, which must be long enough."""
    z = np.arctanh(correlation.clip(-_HIGHEST, _HIGHEST)) * np.sqrt(overlap.clip(0))
    scores: Floats = np.where(overlap >= SHORTEST, z, -np.inf)
    return scores


LONGEST = 400
"""Frames (50 s) from the middle of a sound that are varied: a small error of speed adds up."""

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


VARIANTS = (
    *(Variant(round(24 * math.log2(speed)) / 2, speed) for speed in _SPEEDS),
    *(Variant(0.0, tempo) for tempo in _TEMPOS),
    *(Variant(semitones, 1.0) for semitones in _PITCHES),
)
"""All that are looked for."""


def vary(chroma: Chroma, variant: Variant) -> tuple[Chroma, int]:
    """Return the middle of a sound as a variant has it, and the frame where that middle begins."""
    start = max((len(chroma) - LONGEST) // 2, 0)
    middle = chroma[start : start + LONGEST]
    whole = math.floor(variant.semitones)
    varied = np.roll(middle, whole, axis=1).astype(np.float64)
    if whole != variant.semitones:
        varied = (varied + np.roll(middle, whole + 1, axis=1)) / 2
    places = np.arange(int(len(middle) / variant.speed)) * variant.speed
    first = places.astype(np.int64)
    last = np.minimum(first + 1, len(middle) - 1)
    share = (places - first)[:, None]
    varied = varied[first] * (1 - share) + varied[last] * share
    return np.rint(varied).astype(np.int8).reshape(-1, N_CLASSES), start
