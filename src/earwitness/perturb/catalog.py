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
from earwitness.perturb.base import AnyPerturbation, stream

KINDS = {
    "gain": "level:Gain",
    "clip": "level:Clip",
    "polarity": "level:Polarity",
    "noise": "noise:Noise",
    "coding": "coding:Coding",
    "vorbis": "coding:Vorbis",
    "lossless": "coding:Lossless",
    "decoder": "coding:OtherDecoder",
    "resample": "resampling:Resample",
    "speed": "resampling:Speed",
    "stretch": "stretching:Stretch",
    "loudness": "loudness:Loudness",
    "filter": "filters:PassFilter",
    "tilt": "filters:Tilt",
    "reverb": "room:Reverb",
    "rerecording": "room:Rerecording",
    "edit": "editing:Edit",
    "crop": "editing:Crop",
    "mono": "editing:Mono",
    "window_offset": "editing:WindowOffset",
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

    def __call__(self, rng: np.random.Generator) -> AnyPerturbation:
        """Draw a perturbation."""
        return draw_kind(self.kind, rng, **self.options)


def draw_kind(kind: str, rng: np.random.Generator, **options: Any) -> AnyPerturbation:
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
    if isinstance(drawn, AnyPerturbation):
        return drawn
    found = type(drawn).__name__
    raise PerturbationError(f"perturbation {kind!r}: {found}, expected a Perturbation")


def draw_for(name: str, *, seed: int, item: str) -> AnyPerturbation:
    """Draw a perturbation for one item.

    Args:
        name: Of the registry.
        seed: Seed of the suite.
        item: Identity of the item, its ``filepath`` in the manifest.

    Raises:
        PerturbationError: The name is unknown.
    """
    drawn: AnyPerturbation = PERTURBATIONS.load(name)(stream(name, seed=seed, item=item))
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

for _codec, _rates_kbps in {
    "mp3": (320, 128, 64, 32, 16),
    "aac": (128, 64),
    "opus": (96, 32),
}.items():
    for _kbps in _rates_kbps:
        _add(f"{_codec}_{_kbps}", "coding", codec=_codec, bit_rate_kbps=_kbps)
_add("vorbis_q5", "vorbis", quality=5.0)
for _container in ("flac", "wav"):
    _add(f"{_container}_24", "lossless", container=_container)
_add("decoder_ffmpeg", "decoder")
for _rate_hz in (44_100, 32_000, 22_050, 16_000, 8000):
    _add(f"resample_{_rate_hz}", "resample", rate_hz=_rate_hz)
for _resampler in ("sinc", "swresample"):
    _add(f"resample_{_resampler}_16000", "resample", rate_hz=16_000, resampler=_resampler)
for _ratio in (0.94, 1.06):
    _add(f"speed_{_ratio}", "speed", speed_ratio=_ratio)
for _ratio in (0.95, 1.05):
    _add(f"tempo_{_ratio}", "stretch", tempo_ratio=_ratio)
for _semitones in (-2, -1, 1, 2):
    _add(f"pitch_semitones_{_semitones:+d}", "stretch", semitones=_semitones)
_add("loudness_lufs_-14", "loudness", loudness_lufs=-14.0)
for _side, _cutoffs_hz in {"low": (8000, 4000), "high": (200, 2000)}.items():
    for _cutoff_hz in _cutoffs_hz:
        _add(f"{_side}pass_{_cutoff_hz}", "filter", side=_side, cutoff_hz=_cutoff_hz)
for _slope in (-3.0, 3.0):
    _add(f"tilt_db_per_octave_{_slope:+g}", "tilt", tilt_db_per_octave=_slope)
for _rt60_s in (0.3, 1.0):
    _add(f"reverb_rt60_{_rt60_s}", "reverb", rt60_s=_rt60_s)
_add("rerecording", "rerecording")
_add("trim_1", "edit", start_s=-1.0, end_s=-1.0)
_add("pad_1", "edit", start_s=1.0, end_s=1.0)
_add("silence_5", "edit", end_s=5.0)
_add("offset_ms_+10", "edit", start_s=-0.01)
_add("offset_ms_-10", "edit", start_s=0.01)
for _ratio in (0.5, -0.5):
    _add(f"offset_window_{_ratio:+g}", "window_offset", offset_ratio=_ratio)
_add("crop_0.5", "crop", share=0.5)
for _mix in ("mean", "left"):
    _add(f"mono_{_mix}", "mono", mix=_mix)
