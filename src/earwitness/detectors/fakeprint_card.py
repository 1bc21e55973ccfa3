"""What a fakeprint detector says of itself, told without loading anything to compute with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.cards import ClipContract, DetectorCard, TrainingItems
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.loading import read_card

if TYPE_CHECKING:
    from earwitness.detectors.loading import OpenOptions

WEIGHTS_FILE = "weights.safetensors"
N_FFT = 16_384
BAND_HZ = (5_000.0, 16_000.0)
SAMPLE_RATE_HZ = 44_100
_LONGEST_S = 120
_FEWEST_BINS = 100


def fakeprint_card(
    *,
    name: str,
    trained_on: tuple[str, ...] | None,
    training_items: TrainingItems | None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    band_hz: tuple[float, float] = BAND_HZ,
) -> DetectorCard:
    """Return the card of a fakeprint detector, before its weights are written.

    Raises:
        DetectorError: The band does not lie below half the sample rate.
    """
    narrowest_hz = _FEWEST_BINS * sample_rate_hz / N_FFT
    if not 0 <= band_hz[0] <= band_hz[1] - narrowest_hz <= sample_rate_hz / 2 - narrowest_hz:
        raise DetectorError(
            f"band {band_hz[0]:g} to {band_hz[1]:g} Hz, expected two rising frequencies "
            f"up to {sample_rate_hz / 2:g} Hz (half the sample rate), {narrowest_hz:.0f} Hz apart"
        )
    return DetectorCard(
        name=name,
        kind="fakeprint",
        summary="logistic regression on the spectral peaks that up-sampling layers leave",
        contract=ClipContract(
            sample_rate_hz=sample_rate_hz,
            max_samples=_LONGEST_S * sample_rate_hz,
            min_samples=N_FFT,
        ),
        band_hz=band_hz,
        trained_on=trained_on,
        selected_on=(),
        training_items=training_items,
        licence="research use: the method has patents filed (Deezer); weights are the trainer's",
        source='Afchar et al., ISMIR 2025, "A Fourier Explanation of AI-music Artifacts"',
        weights_from="trained by you in seconds: earwitness train --manifest FILE --out DIR",
        limits=(
            "Knows the up-sampling layers it was trained on; generators without such layers, or "
            "with others, look real to it. Audio without content in its band tells it nothing."
        ),
        details={"n_fft": N_FFT},
    )


def describe_fakeprint(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card as the detector opened from this folder would have it.

    Raises:
        WeightsError: The folder holds no card or no weights.
    """
    if weights is None:
        return fakeprint_card(name=options.name, trained_on=None, training_items=None)
    path = weights / WEIGHTS_FILE
    if not path.is_file():
        raise WeightsError(f"{path}: not there, expected the weights beside the card")
    changes = {"name": options.name, "weights_sha256": sha256_of(path)}
    return read_card(weights).model_copy(update=changes)
