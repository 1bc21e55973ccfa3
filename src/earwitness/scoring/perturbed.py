"""Perturbed samples of a file, held in memory; nothing is written.

A file longer than ``MAX_S`` is represented by its middle, in the clean rows as well.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.decode import AudioInfo, check_values, probe_audio, read_slice
from earwitness.core.errors import AudioError, EarwitnessError
from earwitness.core.registry import summarize_error
from earwitness.core.remote import to_path

if TYPE_CHECKING:
    from earwitness.perturb.base import (
        AnyPerturbation,
        DecodePerturbation,
        Perturbation,
        WindowPerturbation,
    )

CLEAN = "clean"
"""Name of the recipe that changes nothing."""

MAX_S = 120.0
"""Longest stretch of a file that is perturbed, in seconds; it bounds memory."""

LOSSLESS = "pcm_f32le"
"""Codec of changed samples, unless the perturbation's parameters name one."""


class Recipe(NamedTuple):
    """An entry of a suite, ``options`` as JSON; random draws follow from name, seed and item.

    That of a whole manifest has no item.
    """

    name: str
    seed: int
    item: str = ""
    kind: str | None = None
    options: str = "{}"

    def draw(self) -> AnyPerturbation | None:
        """Return the perturbation, ``None`` for ``clean``; ``PerturbationError`` if unknown."""
        if self.name == CLEAN:
            return None
        from earwitness.perturb.suites import Entry

        entry = Entry(name=self.name, kind=self.kind, options=json.loads(self.options))
        return entry.draw(seed=self.seed, item=self.item)


class Stretch(NamedTuple):
    """Samples of a file, ``(n_channels, n_samples)``, their format, and where they start in it.

    ``mover`` changes the windows of detectors.
    """

    samples: NDArray[np.float32]
    info: AudioInfo
    start_s: float
    mover: WindowPerturbation | None = None


def perturbed_audio(path: str, recipe: Recipe) -> Stretch:
    """Return the perturbed samples of a file.

    Raises:
        AudioError: The file cannot be read, or the perturbation fails on it.
    """
    from earwitness.perturb.base import WindowPerturbation

    info = probe_audio(path)
    try:
        perturbation = recipe.draw()
        if perturbation is None or isinstance(perturbation, WindowPerturbation):
            start, _ = _middle(info.n_samples, info.sample_rate_hz)
            clean = _described(info, _stretch(info), info.sample_rate_hz, info.codec, start)
            return clean._replace(mover=perturbation)
        return _changed(info, perturbation)
    except AudioError:
        raise
    except EarwitnessError as error:
        raise AudioError(path, f"{recipe.name}: {error}") from error
    except Exception as error:  # what goes wrong in anyone's code costs this row only
        raise AudioError(path, f"{recipe.name}: {summarize_error(error)}") from error


def _changed(info: AudioInfo, perturbation: Perturbation | DecodePerturbation) -> Stretch:
    from earwitness.perturb.base import DecodePerturbation, apply_to

    if isinstance(perturbation, DecodePerturbation):
        samples, rate_hz = perturbation.read(to_path(info.path))
        start, n_samples = _middle(samples.shape[1], rate_hz)
        samples, codec = samples[:, start : start + n_samples], info.codec
    else:
        samples, rate_hz = apply_to(perturbation, _stretch(info), info.sample_rate_hz)
        codec = str(perturbation.parameters.get("codec", LOSSLESS))
        start, _ = _middle(info.n_samples, info.sample_rate_hz)
    check_values(info.path, samples)
    return _described(info, np.ascontiguousarray(samples), rate_hz, codec, start)


def _described(
    info: AudioInfo, samples: NDArray[np.float32], rate_hz: int, codec: str, start: int
) -> Stretch:
    n_channels, n_samples = samples.shape
    described = replace(
        info, sample_rate_hz=rate_hz, n_channels=n_channels, n_samples=n_samples, codec=codec
    )
    return Stretch(samples, described, start / info.sample_rate_hz)


@functools.lru_cache(maxsize=1)
def _stretch(info: AudioInfo) -> NDArray[np.float32]:
    """Return the samples to perturb, read-only; jobs of one file follow each other."""
    samples = read_slice(info.path, *_middle(info.n_samples, info.sample_rate_hz))
    samples.flags.writeable = False
    return samples


def _middle(n_samples: int, rate_hz: int) -> tuple[int, int]:
    """Return start and length of the stretch."""
    length = min(n_samples, round(MAX_S * rate_hz))
    return (n_samples - length) // 2, length
