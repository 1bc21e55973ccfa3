"""What a detector is, and how one is found by name.

Conventions: scores rise with fakeness; a score never depends on batch mates or their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError


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


def mix_checked(
    clip: Clip,
    at: int,
    card: DetectorCard,
    mix: Callable[[NDArray[np.float32]], NDArray[np.floating]],
) -> NDArray[np.floating]:
    """Mix a clip down, after checking that it follows a contract of fixed length.

    Args:
        clip: A clip of a batch.
        at: Where it stands in the batch, for the message.
        card: Whose contract it should follow.
        mix: Makes ``(n_samples,)`` of ``(n_channels, n_samples)``.

    Raises:
        DetectorError: Another rate or length, no channel, or a mix that is not finite.
    """
    where, wanted = f"{card.name}: clip {at}", card.contract
    rate_hz = wanted.rate_for(clip.sample_rate_hz)
    if clip.sample_rate_hz != rate_hz:
        raise DetectorError(f"{where}: {clip.sample_rate_hz} Hz, expected {rate_hz} Hz")
    if clip.n_samples != wanted.clip_samples:
        raise DetectorError(f"{where}: {clip.n_samples} samples, expected {wanted.clip_samples}")
    if not clip.samples.shape[0]:
        raise DetectorError(f"{where}: no channels, expected one or more")
    mono = mix(clip.samples)
    if not np.isfinite(mono).all():
        raise DetectorError(f"{where}: samples that are not finite, expected finite ones")
    return mono


class Detector(Protocol):
    """Anything that judges clips."""

    @property
    def card(self) -> DetectorCard:
        """What it is, what audio it wants and what its scores mean."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, as torch names it; ``cpu`` is asked by several threads at a time."""
        ...

    @property
    def backend(self) -> str:
        """What computes its scores: ``torch``, ``onnxruntime``, ``numpy``."""
        ...

    @property
    def batch_size(self) -> int:
        """Clips it likes best to be given at once."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What a user should know of how scoring went, in phrases without a full stop."""
        ...

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips that follow the card's contract.

        Args:
            clips: Any number of clips at the contract's rate, of its length where it has one.

        Raises:
            DetectorError: A clip does not follow the contract.
        """
        ...
