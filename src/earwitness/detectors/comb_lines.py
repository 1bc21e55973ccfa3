"""The spectrum of a file in which a detector found a comb, read again for a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from earwitness.audio.decode import read_slice
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import AudioError
from earwitness.core.predictions import Details
from earwitness.detectors import comb
from earwitness.detectors.base import SpectralLines

_MAX_DIFFERENCE = 0.05
"""Share of teeth that rounding may lose or add."""


def read_comb(path: Path, details: Details, card: DetectorCard) -> SpectralLines:
    """Return the spectrum of a file in which a detector found a comb.

    Args:
        path: The scored file.
        details: The detector's columns of this file, with a ``decoder_period_hz``.
        card: The detector's card.

    Raises:
        AudioError: The file cannot be read, or its spectrum is empty or has not these teeth.
    """
    contract, period_hz = card.contract, float(details["decoder_period_hz"] or 0)
    rate_hz = contract.sample_rate_hz
    samples = read_slice(path, 0, contract.max_samples or 0, sample_rate_hz=rate_hz, mono=True)
    residual = comb.flatten(comb.comb_spectrum_db(np.atleast_2d(samples)))
    if residual is None:
        raise AudioError(str(path), "spectrum is empty, expected content from 1000 to 3000 Hz")
    bin_hz = comb.SAMPLE_RATE_HZ / comb.N_FFT
    if not period_hz >= 4 * bin_hz or not comb.fold(residual, period_hz).shape[1]:
        raise AudioError(str(path), f"no lines every {period_hz:g} Hz in its spectrum")
    n_found = comb.score_comb(residual, period_hz, comb.deviation_of(residual)).n_teeth
    n_scored = int(details.get("n_teeth") or n_found)
    if abs(n_found - n_scored) > max(2, _MAX_DIFFERENCE * n_scored):
        raise AudioError(
            str(path),
            f"{n_found} lines every {period_hz:.4g} Hz, but {n_scored} when it was scored: the "
            "file was changed since, or a changed copy of it was scored",
        )
    return SpectralLines(residual, period_hz)
