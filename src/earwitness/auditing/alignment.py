"""How alike two time–chroma sequences are, over their whole overlap.

Conventions: sequences are ``(n_frames, N_CLASSES)``. A shift is the place in the first where the
other begins. The score is Fisher's z of the correlation times the square root of the overlap in
frames, so that long overlaps weigh more; it is minus infinity where the overlap is too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from earwitness.audio.chroma import HOP, N_CLASSES, Chroma
from earwitness.audio.fingerprint import RATE_HZ

SHORTEST = 40
"""Frames that two sounds must overlap by."""

FRAMES_PER_S = RATE_HZ / HOP

_LEAST_ENERGY = 1e-3
_HIGHEST = 0.999

Floats = NDArray[np.float64]


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
    """

    def __init__(self, sequences: Sequence[Chroma], n: int) -> None:
        padded = np.zeros((len(sequences), n, N_CLASSES), dtype=np.float32)
        there = np.zeros((len(sequences), n), dtype=np.float32)
        for number, sequence in enumerate(sequences):
            padded[number, : len(sequence)] = sequence
            there[number, : len(sequence)] = 1
        self.n = n
        self.values = fft.rfft(padded, axis=1)
        self.power = fft.rfft((padded**2).sum(axis=2), axis=1)
        self.there = fft.rfft(there, axis=1)


def transform_length(*longest: int) -> int:
    """Return a length for transforms of sequences no longer than these, one of each."""
    n: int = fft.next_fast_len(max(sum(longest), 1), real=True)
    return n


def slide(one: Spectra, number: int, other: Spectra) -> list[Alignment]:
    """Return the best alignment of one sequence with each of others.

    Args:
        one: Sequences.
        number: Which of them.
        other: What it is slid over.
    """
    values, power, there = one.values[number], one.power[number], one.there[number]
    products = np.einsum("fc,mfc->mf", values, other.values.conj())
    shared = fft.irfft(products, one.n, axis=1)
    overlap = np.rint(fft.irfft(there * other.there.conj(), one.n, axis=1))
    energy = fft.irfft(power * other.there.conj(), one.n, axis=1)
    energy = energy * fft.irfft(there * other.power.conj(), one.n, axis=1)
    correlation = shared / np.sqrt(np.maximum(energy, _LEAST_ENERGY))
    scores = score(correlation, overlap)
    best = scores.argmax(axis=1)
    rows = np.arange(len(best))
    shifts = np.where(best < one.n // 2, best, best - one.n)
    found = (shifts, correlation[rows, best], scores[rows, best])
    return [Alignment(int(at), float(r), float(z)) for at, r, z in zip(*found, strict=True)]


def align(one: Chroma, other: Chroma) -> Alignment:
    """Return the best alignment of two sequences."""
    n = transform_length(2 * max(len(one), len(other)))
    (alignment,) = slide(Spectra([one], n), 0, Spectra([other], n))
    return alignment


def align_near(one: Chroma, other: Chroma, shifts: range) -> Alignment:
    """Return the best alignment at one of a few shifts."""
    best = Alignment(shifts.start, 0.0, -np.inf)
    first, second = one.astype(np.float32), other.astype(np.float32)
    for shift in shifts:
        a, b = first[max(shift, 0) :], second[max(-shift, 0) :]
        n = min(len(a), len(b))
        if n < SHORTEST:
            continue
        a, b = a[:n].ravel(), b[:n].ravel()
        energy = max(float(a @ a) * float(b @ b), _LEAST_ENERGY)
        correlation = float(a @ b) / math.sqrt(energy)
        z = math.atanh(min(max(correlation, -_HIGHEST), _HIGHEST)) * math.sqrt(n)
        if z > best.score:
            best = Alignment(shift, correlation, z)
    return best


def score(correlation: NDArray[np.floating], overlap: NDArray[np.floating]) -> Floats:
    """Return Fisher's z times the square root of the overlap, which must be long enough."""
    z = np.arctanh(correlation.clip(-_HIGHEST, _HIGHEST)) * np.sqrt(overlap.clip(0))
    scores: Floats = np.where(overlap >= SHORTEST, z, -np.inf)
    return scores
