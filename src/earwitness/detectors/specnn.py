"""The SpecCNN detector: its card, without importing torch.

Conventions: what it was trained on is known for the published classes of its encoder head alone.
"""

from __future__ import annotations

from pathlib import Path

from earwitness.core.cards import ClipContract, ContentNeed, DetectorCard, Precision
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.datasets import fma
from earwitness.detectors.base import (
    CARD_JSON,
    WEIGHTS_FILE,
    Detector,
    DetectorKind,
    OpenOptions,
    read_card,
)
from earwitness.detectors.weights import find_bundle, hash_bundle

SAMPLE_RATE_HZ = 44_100
CLIP_SAMPLES = int(0.78 * SAMPLE_RATE_HZ)
CONTRACT = ClipContract(sample_rate_hz=SAMPLE_RATE_HZ, clip_samples=CLIP_SAMPLES)

ENCODERS = ("real", *sorted(fma.ENCODERS))
"""Classes of the published encoder head, in its order: real, then the names sorted."""

_TRAINED_ON = ("FMA-medium train (Deezer split) and its nine reconstructions",)
_SELECTED_ON = ("FMA-medium validation (Deezer split) and its nine reconstructions",)


def specnn_card(
    name: str, n_encoders: int, weights_sha256: str | None, precision: Precision = "fp32"
) -> DetectorCard:
    """Return the published detector's card, as far as it holds for these weights."""
    published = n_encoders == len(ENCODERS)
    numbered = ("real", *(f"encoder{number}" for number in range(1, n_encoders)))
    return DetectorCard(
        name=name,
        kind="specnn_amplitude",
        summary="convolutional network over amplitude spectrograms: real or which auto-encoder",
        contract=CONTRACT,
        precision=precision,
        band_hz=(0.0, 16_000.0),
        needs=ContentNeed(mix="first_two"),
        encoders=ENCODERS if published else numbered,
        trained_on=_TRAINED_ON if published else None,
        selected_on=_SELECTED_ON if published else None,
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
    """Return the card as the detector opened with these weights would have it.

    Raises:
        WeightsError: No checkpoint there, or one that cannot be read.
    """
    if weights is not None and (weights / CARD_JSON).is_file():
        path = weights / WEIGHTS_FILE
        if not path.is_file():
            raise WeightsError(f"{path}: not there, expected the weights beside the card")
        changes = {"name": options.name, "precision": options.precision}
        changes |= {"weights_sha256": sha256_of(path)}
        return read_card(weights).model_copy(update=changes)
    sha256 = hash_bundle(find_bundle(weights)) if weights is not None else None
    return specnn_card(options.name, options.n_encoders, sha256, options.precision)


def _open(weights: Path, options: OpenOptions) -> Detector:
    from earwitness.detectors.nets.specnn import open_specnn

    return open_specnn(weights, options)


SPECNN = DetectorKind(describe_specnn, _open)
