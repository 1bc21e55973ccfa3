"""Changes of pitch and speed that music comes back with, as changes of its time–chroma.

Conventions: a variant raises the pitch by ``semitones`` and plays ``speed`` times as fast. A record
that is played faster has both, in step. Alignment tolerates 3 % of speed over 30 s and some of
pitch, so that a few variants cover what lies between them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from earwitness.audio.chroma import N_CLASSES, Chroma

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
