"""All perturbations by name: those built in, and those of other packages.

Convention: a name is the kind, the parameter where the kind leaves it open, and the value:
``mp3_128`` (kbit/s), ``gain_db_+12``, ``noise_white_snr_20`` (dB).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from earwitness.core.errors import PerturbationError
from earwitness.core.registry import Registry, nearest
from earwitness.perturb.base import DecodePerturbation, Perturbation, stream

KINDS = {
    "gain": "level:Gain",
    "clip": "level:Clip",
    "polarity": "level:Polarity",
    "noise": "noise:Noise",
}
"""Module and class of each kind, below ``earwitness.perturb``."""

PERTURBATIONS = Registry(
    "perturbation",
    PerturbationError,
    group="earwitness.perturbations",
    expected="a function of a random generator that returns a perturbation",
)
"""Factories by name."""


@dataclass(frozen=True)
class BuiltIn:
    """A kind with its options, imported when it is drawn."""

    kind: str
    options: dict[str, Any]

    def __call__(self, rng: np.random.Generator) -> Perturbation | DecodePerturbation:
        """Draw a perturbation."""
        return draw_kind(self.kind, rng, **self.options)


def draw_kind(
    kind: str, rng: np.random.Generator, **options: Any
) -> Perturbation | DecodePerturbation:
    """Draw a perturbation of a kind, or of another package, with options.

    Raises:
        PerturbationError: The kind is unknown or an option is invalid.
    """
    if kind in KINDS:
        module, _, name = KINDS[kind].partition(":")
        factory = getattr(importlib.import_module(f"earwitness.perturb.{module}"), name).draw
    elif kind in PERTURBATIONS:
        factory = PERTURBATIONS.load(kind)
    else:
        hint = nearest(kind, list(KINDS)) or f"; known: {', '.join(KINDS)}"
        raise PerturbationError(f"no kind of perturbation named {kind!r}{hint}")
    try:
        drawn: Any = factory(rng, **options)
    except (TypeError, ValueError) as error:
        raise PerturbationError(f"perturbation {kind!r}: {error}") from error
    if isinstance(drawn, Perturbation | DecodePerturbation):
        return drawn
    found = type(drawn).__name__
    raise PerturbationError(f"perturbation {kind!r}: {found}, expected a Perturbation")


def draw_for(name: str, *, seed: int, item: str) -> Perturbation | DecodePerturbation:
    """Draw a perturbation for one item.

    Args:
        name: Of the registry.
        seed: Seed of the suite.
        item: Identity of the item, its ``filepath`` in the manifest.

    Raises:
        PerturbationError: The name is unknown.
    """
    drawn: Perturbation | DecodePerturbation = PERTURBATIONS.load(name)(
        stream(name, seed=seed, item=item)
    )
    return drawn


def _add(name: str, kind: str, **options: Any) -> None:
    PERTURBATIONS.add(name, BuiltIn(kind, options))


for _gain_db in (12.0, -12.0):
    _add(f"gain_db_{_gain_db:+g}", "gain", gain_db=_gain_db)
_add("clip_0.5", "clip", threshold_ratio=0.5)
_add("polarity", "polarity")
for _color in ("white", "pink"):
    for _snr_db in (30.0, 20.0, 10.0):
        _add(f"noise_{_color}_snr_{_snr_db:g}", "noise", color=_color, snr_db=_snr_db)
