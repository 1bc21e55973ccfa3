"""Whether two sounds share all that can be heard, or a backing under parts of their own.

Conventions: coding and synthesis disturb words more than chroma, for words follow each millisecond
and chroma the notes. A melody over a shared backing does the opposite: where it sounds it replaces
the notes, and leaves the words between them. A pair whose chroma is less alike than its words allow
shares its backing.
"""

from __future__ import annotations

import math

import numpy as np

from earwitness.audio.chroma import HOP as CHROMA_HOP
from earwitness.audio.chroma import Chroma
from earwitness.audio.fingerprint import HOP, RATE_HZ, Words
from earwitness.auditing.alignment import FRAMES_PER_S, align_near
from earwitness.auditing.copymatch import bit_error

_BIT_ERROR = (0.12, 0.13, 0.20, 0.25, 0.30, 0.36)
_LEAST_CORRELATION = (-1.0, 0.88, 0.85, 0.75, 0.55, 0.40)
"""Correlation that a recording has at least where so many bits differ.

Melodies of their own over one backing left less (12 dB below: 0.16 and 0.83; as loud: 0.27 and
0.40; 12 dB above: 0.35 and 0.05), codecs and neural reconstructions more (0.15 and 0.98; 0.24 and
0.95; 0.34 and 0.82; 0.41 and 0.65).
"""

_REACH = math.ceil(CHROMA_HOP / HOP)


def shares_backing(
    words: tuple[Words, Words], chroma: tuple[Chroma, Chroma], offset_s: float
) -> bool:
    """Return whether two aligned sounds share a backing rather than everything.

    Args:
        words: Sub-fingerprints of both.
        chroma: Time–chroma of both.
        offset_s: Where the second begins in the first.
    """
    at, frame = round(offset_s * RATE_HZ / HOP), round(offset_s * FRAMES_PER_S)
    error = min(bit_error(*words, shift) for shift in range(at - _REACH, at + _REACH + 1))
    if error > _BIT_ERROR[-1]:
        return False
    alignment = align_near(*chroma, range(frame - 1, frame + 2))
    least = float(np.interp(error, _BIT_ERROR, _LEAST_CORRELATION))
    return alignment.score > -math.inf and alignment.correlation < least
