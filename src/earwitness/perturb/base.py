"""The protocol of perturbations, and random draws that do not depend on one another.

Conventions: samples are ``(n_channels, n_samples)`` float32, full scale is 1. ``draw`` takes all
randomness; ``apply`` is a pure function of the samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Window
from earwitness.core.errors import PerturbationError

Samples = NDArray[np.float32]
Parameters = Mapping[str, float | int | str]


class Drawn(Protocol):
    """A change with all of its parameters fixed, as a frozen dataclass."""

    @property
    def parameters(self) -> Parameters:
        """Values by name, units in the names, for the row of the changed item."""
        ...

    @classmethod
    def draw(cls, rng: np.random.Generator, **options: Any) -> Self:
        """Return a perturbation with its random parameters drawn from ``rng``."""
        ...


@runtime_checkable
class Perturbation(Drawn, Protocol):
    """A change to audio."""

    def apply(self, samples: Samples, sample_rate_hz: int) -> tuple[Samples, int]:
        """Return changed samples and their rate; the input is left as it is.

        Raises:
            PerturbationError: The audio cannot be changed in this way.
        """
        ...


@runtime_checkable
class DecodePerturbation(Drawn, Protocol):
    """A change to how a file is decoded; it takes the place of ``read_audio``."""

    def read(self, path: Path) -> tuple[Samples, int]:
        """Return the samples of a file and their rate; ``AudioError`` if it cannot be read."""
        ...


@runtime_checkable
class WindowPerturbation(Drawn, Protocol):
    """A change to where a detector's clips are in a file, whose samples stay as they are."""

    def move(self, windows: Sequence[Window], n_samples: int) -> list[Window]:
        """Return windows within ``n_samples``; none if the file has no room for them."""
        ...


class FieldsAsParameters:
    """Base of dataclasses whose fields are their parameters and, unless drawn, their options."""

    @property
    def parameters(self) -> Parameters:
        """The fields."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # subclasses are dataclasses

    @classmethod
    def draw(cls, rng: np.random.Generator, *_: Any, **options: Any) -> Self:  # noqa: ARG003
        """Return a perturbation that is not random."""
        return cls(**options)


AnyPerturbation = Perturbation | DecodePerturbation | WindowPerturbation

Factory = Callable[..., AnyPerturbation]
"""Takes a generator and keyword options."""


def stream(name: str, *, seed: int, item: str) -> np.random.Generator:
    """Return the random stream of one perturbation of one item.

    It depends on nothing else: more items or perturbations change no draw.
    """
    key = "\0".join((str(seed), name, item))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()))


def apply_to(
    perturbation: Perturbation, samples: Samples, sample_rate_hz: int
) -> tuple[Samples, int]:
    """Apply a perturbation, anyone's, and check what it returns.

    Raises:
        PerturbationError: The result is not finite float32 of shape ``(n_channels, n_samples)``.
    """
    changed, rate_hz = perturbation.apply(samples, sample_rate_hz)
    name = type(perturbation).__name__
    if changed.ndim != 2 or changed.dtype != np.float32:
        found = f"{changed.dtype} of shape {changed.shape}"
        raise PerturbationError(f"{name}: {found}, expected float32 (n_channels, n_samples)")
    if not changed.size:
        raise PerturbationError(f"{name}: no sample is left, expected at least 1")
    if not np.isfinite(changed).all():
        raise PerturbationError(f"{name}: NaN or infinite samples, expected finite ones")
    return changed, rate_hz
