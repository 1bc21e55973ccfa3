"""What a detector is, and how one is found by name.

Conventions: scores rise with fakeness; a score never depends on batch mates or their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.core.cards import DetectorCard


class Scores(NamedTuple):
    """What a detector says of some clips.

    Attributes:
        logits: ``(n_clips,)`` float64, finite, higher is more fake; the number shown between
            0 and 1 is its logistic function.
        encoders: ``(n_clips, n_classes)`` float64 in the order of the card's ``encoders``, each
            row summing to 1, or ``None`` where the detector has no encoder head.
    """

    logits: NDArray[np.float64]
    encoders: NDArray[np.float64] | None = None


class Detector(Protocol):
    """Anything that judges clips."""

    @property
    def card(self) -> DetectorCard:
        """What it is, what audio it wants and what its scores mean."""
        ...

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips that follow the card's contract.

        Args:
            clips: Any number of clips at the contract's rate, of its length where it has one.

        Raises:
            DetectorError: A clip does not follow the contract.
        """
        ...
