"""The fakeprint detector: logistic regression on spectral peaks of up-sampling layers.

Conventions: the weights are a folder of ``weights.safetensors`` (``coefficients``
``(n_bins,)``, ``intercept`` ``(1,)``, both float64) and ``card.json``; there are no published
weights, it is trained in seconds (``earwitness train``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from earwitness.audio.clips import Clip
from earwitness.audio.decode import LOUDEST
from earwitness.audio.features import fakeprint
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.files import replacing, sha256_of
from earwitness.detectors.base import Scores
from earwitness.detectors.fakeprint_card import (
    BAND_HZ,
    N_FFT,
    SAMPLE_RATE_HZ,
    WEIGHTS_FILE,
    fakeprint_card,
)
from earwitness.detectors.opening import OpenOptions, read_card, write_card
from earwitness.detectors.safeheader import check_header

__all__ = [
    "BAND_HZ",
    "SAMPLE_RATE_HZ",
    "FakeprintDetector",
    "clip_fakeprint",
    "fakeprint_card",
    "open_fakeprint",
    "save_fakeprint",
]


class FakeprintDetector:
    """Logistic regression on fakeprints.

    Args:
        card: Its card; band and sample rate decide the features.
        coefficients: ``(n_bins,)``.
        intercept: Log-odds of fake at an empty fakeprint.
    """

    device = "cpu"
    backend = "numpy"
    batch_size = 1
    remarks = ()

    def __init__(
        self, card: DetectorCard, coefficients: NDArray[np.float64], intercept: float
    ) -> None:
        self.card = card
        self._coefficients = coefficients
        self._intercept = intercept

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Judge clips of any length from ``min_samples`` up; see ``Detector``."""
        vectors = [clip_fakeprint(clip, self.card) for clip in clips]
        logits = [float(v @ self._coefficients) + self._intercept for v in vectors]
        return Scores(np.array(logits, dtype=np.float64))


def clip_fakeprint(clip: Clip, card: DetectorCard) -> NDArray[np.float64]:
    """Return a clip's fakeprint by a card's rate and band, ``(n_bins,)``.

    Raises:
        DetectorError: The clip's rate is another, it is shorter than one frame, or its samples are
            not finite or too large for its arithmetic.
    """
    wanted = card.contract
    if clip.sample_rate_hz != wanted.sample_rate_hz or clip.n_samples < wanted.min_samples:
        raise DetectorError(
            f"{card.name}: clip of {clip.n_samples} samples at {clip.sample_rate_hz} Hz, expected "
            f"at least {wanted.min_samples} at {wanted.sample_rate_hz} Hz"
        )
    if not float(np.abs(clip.samples).max()) <= LOUDEST:
        raise DetectorError(f"{card.name}: samples not finite or beyond {LOUDEST:g}")
    return fakeprint(
        clip.samples,
        sample_rate_hz=clip.sample_rate_hz,
        band_hz=card.band_hz,
        n_fft=N_FFT,
    )


def save_fakeprint(
    card: DetectorCard, coefficients: NDArray[np.float64], intercept: float, folder: Path
) -> FakeprintDetector:
    """Write a trained detector, atomically and the card last, and return it."""
    path = folder / WEIGHTS_FILE
    with replacing(path) as temporary:
        tensors = {"coefficients": coefficients, "intercept": np.array([intercept])}
        save_file(tensors, temporary, metadata={"kind": card.kind})
    card = card.model_copy(update={"weights_sha256": sha256_of(path)})
    write_card(card, folder)
    return FakeprintDetector(card, coefficients, intercept)


def open_fakeprint(folder: Path, options: OpenOptions) -> FakeprintDetector:
    """Open a detector that ``save_fakeprint`` wrote.

    Raises:
        WeightsError: The folder is not one, or its files do not fit together.
    """
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    if card.kind != "fakeprint" or card.details.get("n_fft") != N_FFT:
        raise WeightsError(
            f"{folder}: card of a {card.kind!r} with n_fft {card.details.get('n_fft')!r}, "
            f"expected 'fakeprint' with {N_FFT}"
        )
    check_header(path)
    try:
        tensors = load_file(path)
        coefficients, intercept = tensors["coefficients"], tensors["intercept"]
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    n_bins = len(_band_bins(card))
    if coefficients.shape != (n_bins,) or intercept.shape != (1,):
        raise WeightsError(
            f"{path}: coefficients {coefficients.shape}, intercept {intercept.shape}; "
            f"expected ({n_bins},) and (1,)"
        )
    if not (np.isfinite(coefficients).all() and np.isfinite(intercept).all()):
        raise WeightsError(f"{path}: holds NaN or infinite values")
    actual = sha256_of(path)
    if card.weights_sha256 != actual:
        raise WeightsError(f"{path}: SHA-256 {actual[:12]}…, the card says {card.weights_sha256}")
    card = card.model_copy(update={"name": options.name})
    return FakeprintDetector(card, coefficients.astype(np.float64), float(intercept[0]))


def _band_bins(card: DetectorCard) -> NDArray[np.float64]:
    frequencies = np.linspace(0, card.contract.sample_rate_hz / 2, N_FFT // 2 + 1)
    inside = (frequencies > card.band_hz[0]) & (frequencies < card.band_hz[1])
    return frequencies[inside]
