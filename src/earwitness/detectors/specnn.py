"""Card of the SpecCNN detector, without importing torch."""

from __future__ import annotations

from pathlib import Path

from earwitness.core.cards import ClipContract, ContentNeed, DetectorCard, Precision
from earwitness.datasets import fma
from earwitness.detectors.base import (
    CARD_JSON,
    Detector,
    DetectorKind,
    OpenOptions,
    hashed_card,
)
from earwitness.detectors.weights import find_bundle, hash_bundle

SAMPLE_RATE_HZ = 44_100
CLIP_SAMPLES = int(0.78 * SAMPLE_RATE_HZ)
CONTRACT = ClipContract(sample_rate_hz=SAMPLE_RATE_HZ, clip_samples=CLIP_SAMPLES)

ENCODERS = ("real", *sorted(fma.ENCODERS))
"""Classes of the published encoder head, in order."""


def specnn_card(
    name: str, n_encoders: int, weights_sha256: str | None, precision: Precision = "fp32"
) -> DetectorCard:
    """Return a card; its training data is known only with the published encoder classes."""
    published = n_encoders == len(ENCODERS)
    numbered = ("real", *(f"encoder{number}" for number in range(1, n_encoders)))
    data = "FMA-medium {} (Deezer split) and its nine reconstructions"
    return DetectorCard(
        name=name,
        kind="specnn_amplitude",
        summary="convolutional network over amplitude spectrograms: real or which auto-encoder",
        contract=CONTRACT,
        precision=precision,
        band_hz=(0.0, 16_000.0),
        needs=ContentNeed(mix="first_two"),
        encoders=ENCODERS if published else numbered,
        trained_on=(data.format("train"),) if published else None,
        selected_on=(data.format("validation"),) if published else None,
        licence="CC-BY-NC-4.0",
        source=(
            "Afchar, Meseguer-Brocal, Hennequin 2024, AI-Generated Music Detection and its "
            "Challenges; github.com/deezer/deepfake-detector"
        ),
        weights_from=(
            "yours to bring: the TensorFlow checkpoint of github.com/deezer/deepfake-detector"
        ),
        limits="Knows only the auto-encoders it was trained on; when unsure it says real.",
        weights_sha256=weights_sha256,
    )


def describe_specnn(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with these weights.

    Raises:
        WeightsError: No checkpoint, or a damaged one.
    """
    if weights is not None and (weights / CARD_JSON).is_file():
        return hashed_card(weights, name=options.name, precision=options.precision)
    sha256 = hash_bundle(find_bundle(weights)) if weights is not None else None
    return specnn_card(options.name, options.n_encoders, sha256, options.precision)


def _open(weights: Path, options: OpenOptions) -> Detector:
    from earwitness.detectors.nets.specnn import open_specnn

    return open_specnn(weights, options)


SPECNN = DetectorKind(describe_specnn, _open)
