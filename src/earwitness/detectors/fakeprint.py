"""The fakeprint detector: logistic regression on spectral peaks of up-sampling layers.

Its folder has ``card.json`` and ``weights.safetensors`` (``coefficients`` ``(n_bins,)`` and
``intercept`` ``(1,)``, float64).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard, TrainingItems
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import atomic_write, sha256_of
from earwitness.detectors.base import (
    WEIGHTS_FILE,
    DetectorKind,
    OpenOptions,
    Scores,
    check_range,
    hashed_card,
    read_card,
    write_card,
)
from earwitness.detectors.weights import check_header

N_FFT = 16_384
BAND_HZ = (5_000.0, 16_000.0)
SAMPLE_RATE_HZ = 44_100
_SUM_FRAMES, _BLOCK_FRAMES = 64, 8
"""Frames whose levels are summed in the precision of the logarithms, and frames transformed
together: a block and its spectra fit the processor's cache."""


def fakeprint_card(
    *,
    name: str,
    trained_on: tuple[str, ...] | None,
    training_items: TrainingItems | None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    band_hz: tuple[float, float] = BAND_HZ,
) -> DetectorCard:
    """Return the card of a fakeprint detector, without a hash of weights.

    Raises:
        DetectorError: The band exceeds half the sample rate, or has under 100 bins.
    """
    narrowest_hz = 100 * sample_rate_hz / N_FFT
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
            max_samples=120 * sample_rate_hz,
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
    """Return the card of the detector with these weights; ``WeightsError`` if there are none."""
    if weights is None:
        return fakeprint_card(name=options.name, trained_on=None, training_items=None)
    return hashed_card(weights, name=options.name)


class FakeprintDetector:
    """Logistic regression on fakeprints, with ``(n_bins,)`` coefficients."""

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
        """Score clips of at least ``min_samples``; see ``Detector``."""
        vectors = [clip_fakeprint(clip, self.card) for clip in clips]
        logits = [float(v @ self._coefficients) + self._intercept for v in vectors]
        return Scores(np.array(logits, dtype=np.float64))


def clip_fakeprint(clip: Clip, card: DetectorCard) -> NDArray[np.float64]:
    """Return a clip's fakeprint by a card's rate and band, ``(n_bins,)``.

    Raises:
        DetectorError: Another sample rate, under one frame, or samples not finite or too large.
    """
    wanted = card.contract
    if clip.sample_rate_hz != wanted.sample_rate_hz or clip.n_samples < wanted.min_samples:
        raise DetectorError(
            f"{card.name}: clip of {clip.n_samples} samples at {clip.sample_rate_hz} Hz, expected "
            f"at least {wanted.min_samples} at {wanted.sample_rate_hz} Hz"
        )
    check_range(clip, card)
    return fakeprint(
        clip.samples,
        sample_rate_hz=clip.sample_rate_hz,
        band_hz=card.widest_band_hz,
        n_fft=N_FFT,
    )


def save_fakeprint(
    card: DetectorCard, coefficients: NDArray[np.float64], intercept: float, folder: Path
) -> FakeprintDetector:
    """Write a trained detector atomically, its card last, and return it."""
    path = folder / WEIGHTS_FILE
    with atomic_write(path) as temporary:
        tensors = {"coefficients": coefficients, "intercept": np.array([intercept])}
        save_file(tensors, temporary, metadata={"kind": card.kind})
    card = card.model_copy(update={"weights_sha256": sha256_of(path)})
    write_card(card, folder)
    return FakeprintDetector(card, coefficients, intercept)


def open_fakeprint(folder: Path, options: OpenOptions) -> FakeprintDetector:
    """Open a detector that ``save_fakeprint`` wrote, else raise ``WeightsError``."""
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
    frequencies = np.linspace(0, card.contract.sample_rate_hz / 2, N_FFT // 2 + 1)
    low_hz, high_hz = card.widest_band_hz
    n_bins = int(((frequencies > low_hz) & (frequencies < high_hz)).sum())
    if coefficients.shape != (n_bins,) or intercept.shape != (1,):
        raise WeightsError(
            f"{path}: coefficients {coefficients.shape}, intercept {intercept.shape}; "
            f"expected ({n_bins},) and (1,)"
        )
    if not (np.isfinite(coefficients).all() and np.isfinite(intercept).all()):
        raise WeightsError(f"{path}: NaN or infinite values")
    actual = sha256_of(path)
    if card.weights_sha256 != actual:
        raise WeightsError(f"{path}: SHA-256 {actual[:12]}…, the card says {card.weights_sha256}")
    card = card.model_copy(update={"name": options.name})
    return FakeprintDetector(card, coefficients.astype(np.float64), float(intercept[0]))


FAKEPRINT = DetectorKind(describe_fakeprint, open_fakeprint)


def mean_spectrum_db(
    samples: NDArray[np.float32],
    *,
    n_fft: int,
    hop: int,
    n_bins: int | None = None,
    dtype: type[np.floating] = np.float64,
) -> NDArray[np.float64]:
    """Return the mean power spectrum in decibels over frames and channels, ``(n_bins,)``.

    Frames are centred, with reflected ends, under a periodic Hann window; power is clipped to
    [1e-10, 1e6] before the logarithm. Memory does not grow with the duration.

    Args:
        samples: ``(n_channels, n_samples)``, more than ``n_fft // 2`` samples long.
        n_fft: Window and transform length, in samples.
        hop: Step between frames, in samples.
        n_bins: Number of the lowest bins; all ``n_fft // 2 + 1`` by default.
        dtype: Precision of the logarithms; float32 takes a third of the time.
    """
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    total = np.zeros(n_bins or n_fft // 2 + 1)
    n_frames = 0
    for channel in samples:
        padded = np.pad(channel, n_fft // 2, mode="reflect")
        frames = sliding_window_view(padded, n_fft)[::hop]
        for start in range(0, len(frames), _SUM_FRAMES):
            total += _sum_db(frames[start : start + _SUM_FRAMES], window, len(total), dtype)
        n_frames += len(frames)
    return total / n_frames


def _sum_db(
    frames: NDArray[np.float32],
    window: NDArray[np.float32],
    n_bins: int,
    dtype: type[np.floating],
) -> NDArray[np.floating]:
    """Return the sum of the power spectra of frames in decibels, ``(n_bins,)``."""
    from scipy import fft

    total = np.zeros(n_bins, dtype=dtype)
    for start in range(0, len(frames), _BLOCK_FRAMES):
        block = frames[start : start + _BLOCK_FRAMES] * window
        levels = np.abs(fft.rfft(block, axis=1)[:, :n_bins]).astype(dtype, copy=False)
        np.square(levels, out=levels)
        np.clip(levels, 1e-10, 1e6, out=levels)
        np.log10(levels, out=levels)
        levels *= 10
        for level in levels:
            total += level
    return total


def fakeprint(
    samples: NDArray[np.float32], *, sample_rate_hz: int, band_hz: tuple[float, float], n_fft: int
) -> NDArray[np.float64]:
    """Return the fakeprint, the peaks of the mean spectrum, ``(n_bins,)`` in [0, 1].

    Up-sampling layers of neural decoders leave evenly spaced spectral peaks. The fakeprint is
    the mean spectrum in the band minus its lower hull (the minima of every 10 neighbouring
    bins, joined by a quadratic spline and kept above -45 dB), clipped to [0, 5] dB and divided
    by its maximum (Afchar et al., ISMIR 2025, "A Fourier Explanation of AI-music Artifacts").

    Args:
        samples: ``(n_channels, n_samples)``, more than ``n_fft // 2`` samples long.
        sample_rate_hz: Sample rate.
        band_hz: Frequency band, both ends excluded.
        n_fft: Window and transform length; frames overlap by half.
    """
    spectrum = mean_spectrum_db(samples, n_fft=n_fft, hop=n_fft // 2)
    frequencies = np.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    inside = (frequencies > band_hz[0]) & (frequencies < band_hz[1])
    curve, positions = spectrum[inside], frequencies[inside]
    residue = np.clip(curve - _lower_hull(positions, curve), 0, 5)
    vector: NDArray[np.float64] = residue / (residue.max() + 1e-6)
    return vector


def _lower_hull(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import interpolate

    windows = sliding_window_view(y, 10)
    lowest = np.argmin(windows, axis=1) + np.arange(len(windows))
    knots = np.unique(np.concatenate(([0], lowest, [len(y) - 1])))
    hull = interpolate.make_interp_spline(x[knots], y[knots], k=2)(x)
    floored: NDArray[np.float64] = np.maximum(hull, -45.0)
    return floored
