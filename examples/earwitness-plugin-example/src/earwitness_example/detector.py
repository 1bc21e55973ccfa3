"""A detector: logistic regression on the spectral flatness of a clip.

Its weights are two numbers in a file of the package. It shows the interface and detects nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.base import DetectorKind, OpenOptions, Scores, mean_channel, mix_checked

RATE_HZ = 16_000


class FlatnessDetector:
    """Scores a clip by the ratio of the geometric to the arithmetic mean of its spectrum."""

    device = "cpu"
    backend = "numpy"
    batch_size = 1
    remarks = ()

    def __init__(self, card: DetectorCard, slope: float, intercept: float) -> None:
        self.card = card
        self._slope = slope
        self._intercept = intercept

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Return a logit of fake for each clip."""
        samples = [mix_checked(clip, at, self.card, mean_channel) for at, clip in enumerate(clips)]
        flatness = np.array([_flatness(mono) for mono in samples])
        return Scores(self._slope * flatness + self._intercept)


def _flatness(mono: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(mono)) ** 2 + 1e-12
    return float(np.exp(np.log(power).mean()) / power.mean())


def describe(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card; `earwitness detectors` calls this, so it imports no torch."""
    return DetectorCard(
        name=options.name,
        kind="flatness",
        summary="logistic regression on spectral flatness (an example of a plug-in)",
        contract=ClipContract(sample_rate_hz=RATE_HZ, clip_samples=RATE_HZ, mono=True),
        band_hz=(0.0, RATE_HZ / 2),
        trained_on=(),
        selected_on=(),
        licence="Apache-2.0",
        source="earwitness-plugin-example",
        weights_from="part of the package",
        limits="Detects noise, not generators.",
        weights_sha256=sha256_of(weights) if weights is not None else None,
    )


def open_flatness(weights: Path, options: OpenOptions) -> FlatnessDetector:
    """Open the detector from a JSON file of its two coefficients."""
    card = describe(weights, options)
    try:
        found = json.loads(weights.read_text(encoding="utf-8"))
        return FlatnessDetector(card, float(found["slope"]), float(found["intercept"]))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{weights}: {error!r}, expected slope and intercept") from error


FLATNESS = DetectorKind(describe, open_flatness, weights=Path(__file__).with_name("flatness.json"))
