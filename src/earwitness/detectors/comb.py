"""The comb detector: evenly spaced lines that up-sampling layers leave in the mean spectrum.

It has no weights. Conventions: a comb of period P has teeth at all multiples of P in the band; z is
the mean residual on the teeth against all other offsets of the same period, in robust standard
deviations. A decoder counts as found if two periods of its family stand out.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard, FalsePositives
from earwitness.core.errors import DetectorError
from earwitness.core.io import sha256_of
from earwitness.core.predictions import DETAIL_COLUMNS, Details
from earwitness.detectors.base import (
    DetectorKind,
    OpenOptions,
    Scores,
    SpectralLines,
    check_range,
)
from earwitness.detectors.fakeprint import mean_spectrum_db

N_FFT = 32_768
SAMPLE_RATE_HZ = 44_100
BAND_HZ = (1_000.0, 16_000.0)
MAX_S, MIN_S = 240, 5
_MIN_TEETH = 4

FAMILIES: dict[str, tuple[float, ...]] = {
    "EnCodec 24 kHz": (75.0, 150.0, 300.0, 600.0),
    "EnCodec 24 kHz, played at 44.1 kHz": (137.8125, 275.625, 551.25, 1102.5),
    "12.5 to 50 Hz latents: EnCodec 32 kHz (MusicGen, YuE), ACE-Step, Lyra, Mimi": (
        *(12.5, 25.0, 50.0, 100.0, 400.0),
    ),
    "DAC or LAC 44.1 kHz": (57.421875, 86.1328125, 172.265625, 344.53125, 689.0625),
    "Musika": (10.7666015625, 21.533203125, 43.06640625),
}
"""Decoder → periods in Hz of its layers and their low multiples, from published strides."""

_LIMIT, _TAIL = 4.4, 0.83
"""Strength that at most 1 % of real music reaches, and the scale of the exponential tail of most
real music above its 0.9 quantile (2.7); docs/comb.md describes the corpus."""

_PART_S, _MAX_PARTS, _STEADY = 10, 4, 0.85
"""A decoder leaves its comb everywhere, notes and effects in places: the lower median over equal
parts of a file has to reach this share of the strength."""
_MISSING_PARTS = 0.05
"""What may be missing of the last part: an excerpt of 20 s that lost some samples has two, too."""

_CODEC_GRIDS = {"aac": SAMPLE_RATE_HZ / 2048, "opus": 50.0}
"""Codec → lowest period in Hz that its own transform or frames may leave."""


class Trace(NamedTuple):
    """The comb that stands out most.

    Attributes:
        strength: The second highest z of the family's periods, limited by that of most parts.
        period_hz: The period with the highest z, or its divisor or multiple with the lines.
        decoder: Name of the family.
        n_teeth: Teeth of that period above the background.
    """

    strength: float
    period_hz: float
    decoder: str
    n_teeth: int


def describe_comb(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card; the hash is that of the code, which is all there is."""
    return DetectorCard(
        name=options.name,
        kind="comb",
        summary="evenly spaced lines of a decoder's up-sampling layers, without training",
        contract=ClipContract(
            sample_rate_hz=SAMPLE_RATE_HZ,
            max_samples=MAX_S * SAMPLE_RATE_HZ,
            crop="start",
            mono=True,
        ),
        band_hz=BAND_HZ,
        one_sided=True,
        false_positives=FalsePositives(
            corpus="tracks of six Debian packages of games", n_items=155, n_flagged=1
        ),
        invariances={
            "polarity": 0.0,
            "16-bit audio as FLAC or WAV of 24 bits": 0.0,
            "rounding decoded MP3 to 24 bits": 0.0021,
            "gain up to 12 dB, not clipped": 0.041,
        },
        known_kinds=("EnCodec", "LAC", "Musika", "YuE", "ACE-Step"),
        unknown_kinds=("Udio", "Griffin-Lim", "Lyra"),
        trained_on=(),
        selected_on=(
            "limit: 329 human-made tracks of 20 Debian packages and excerpts of them after codecs",
            "rule: these, and decoders with listed strides and random weights; no generated music",
        ),
        licence="research use: patents are filed on fakeprint methods (Deezer)",
        source="Pons et al., arXiv 2010.14356; Afchar et al., arXiv 2506.19108",
        weights_from="part of the package: it has none",
        limits=(
            "Finds decoders whose frame rates it lists: EnCodec, DAC, LAC, Musika, YuE, ACE-Step "
            "and a third of Lyra. Udio, Suno and Griffin-Lim leave no comb that it sees; "
            "resampling, pitch shifts or low bit rates hide one: nothing found does not say real."
        ),
        details={"n_fft": N_FFT, "limit": _LIMIT, "tail": _TAIL, "shortest_s": MIN_S},
        weights_sha256=None if weights is None else sha256_of(Path(__file__)),
    )


class CombDetector:
    """Scores files by the strongest comb of a known decoder."""

    device = "cpu"
    backend = "numpy"
    batch_size = 1
    remarks = ()

    def __init__(self, card: DetectorCard) -> None:
        self.card = card

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips of any length; see ``Detector``."""
        answers = [self._answer(clip) for clip in clips]
        logits = [(trace.strength - _LIMIT) / _TAIL for trace, _ in answers]
        return Scores(
            np.array(logits, dtype=np.float64),
            abstained=[reason for _, reason in answers],
            details=[_details(trace) for trace, _ in answers],
        )

    def _answer(self, clip: Clip) -> tuple[Trace, str | None]:
        """Return the strongest comb of a clip, and why it is not decidable."""
        residual = residual_of(clip, self.card)
        if isinstance(residual, str):
            return _NOTHING, residual
        trace = _find_steady(clip.samples, find_traces(residual))
        grid_hz = _CODEC_GRIDS.get((clip.codec or "").lower(), 0.0)
        if trace.strength < _LIMIT or not grid_hz:
            return trace, None
        others = find_traces(residual, [trace.decoder], without_hz=grid_hz)
        rest = _find_steady(clip.samples, others, without_hz=grid_hz)
        if rest.strength >= _LIMIT:
            return rest, None
        return trace, (
            f"a comb of {trace.period_hz:.4g} Hz, which {clip.codec} coding may leave, too"
        )


def _details(trace: Trace) -> Details:
    found = (round(trace.period_hz, 3), trace.decoder, trace.n_teeth)
    return dict(zip(DETAIL_COLUMNS, found if trace.strength >= _LIMIT else [None] * 3, strict=True))


_NOTHING = Trace(0.0, 0.0, "", 0)


def comb_spectrum_db(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean spectrum of the mean over channels, up to the end of the band, in dB."""
    mono = samples if len(samples) == 1 else samples.mean(axis=0, keepdims=True, dtype=np.float32)
    return mean_spectrum_db(
        mono,
        n_fft=N_FFT,
        hop=N_FFT // 2,
        n_bins=round(BAND_HZ[1] * N_FFT / SAMPLE_RATE_HZ),
        dtype=np.float32,
    )


def flatten(spectrum_db: NDArray[np.floating]) -> NDArray[np.float32] | None:
    """Return a spectrum over its running median in dB, limited to [-3, 6].

    It is cut where the spectrum falls off for good; ``None`` if that is below 3 kHz.
    """
    from scipy import ndimage

    spectrum = np.asarray(spectrum_db, dtype=np.float32)
    floor = ndimage.median_filter(spectrum, 101, mode="nearest")
    n_used = _end_of_content(floor)
    if n_used * SAMPLE_RATE_HZ / N_FFT < BAND_HZ[0] + 2_000:
        return None
    residual: NDArray[np.float32] = np.clip(spectrum - floor, -3, 6)[:n_used]
    return residual


_Residual = NDArray[np.float32] | None
_lock = threading.Lock()
_shared: dict[int, tuple[weakref.ref[NDArray[np.float32]], Future[_Residual]]] = {}


def shared_residual(samples: NDArray[np.float32]) -> _Residual:
    """Return the residual spectrum of a clip, computed once for all detectors of this family.

    It is kept as long as the array, which must not be changed; another thread waits for it.
    """
    key = id(samples)
    with _lock:
        owner, future = _shared.get(key, (None, Future()))
        is_ours = owner is None or owner() is not samples
        if is_ours:
            future = Future()
            _shared[key] = weakref.ref(samples, lambda _: _shared.pop(key, None)), future
    if is_ours:
        try:
            future.set_result(flatten(comb_spectrum_db(samples)))
        except BaseException as error:
            future.set_exception(error)
            raise
    return future.result()


def residual_of(clip: Clip, card: DetectorCard) -> NDArray[np.float32] | str:
    """Return the residual spectrum of a clip, or why there is none to analyse.

    Raises:
        DetectorError: Another rate, no channel, or samples out of range.
    """
    if clip.sample_rate_hz != SAMPLE_RATE_HZ or not clip.samples.shape[0]:
        raise DetectorError(
            f"{card.name}: {clip.samples.shape[0]} channels at {clip.sample_rate_hz} Hz, "
            f"expected one or more at {SAMPLE_RATE_HZ} Hz"
        )
    if clip.n_samples:
        check_range(clip, card)
    if clip.n_samples < MIN_S * SAMPLE_RATE_HZ:
        length_s = clip.n_samples / SAMPLE_RATE_HZ
        return f"{length_s:.3g} s long, too few frames (needs {MIN_S} s)"
    residual = shared_residual(clip.samples)
    if residual is None:
        return "nothing to analyse (its spectrum is empty from 1000 to 3000 Hz)"
    return residual


def _end_of_content(floor_db: NDArray[np.float32]) -> int:
    """Return the number of bins up to the highest with content: 60 dB below the 1 to 5 kHz band.

    A low-passed spectrum is not analysed above its edge.
    """
    first, stop = (round(hz * N_FFT / SAMPLE_RATE_HZ) for hz in (1_000, 5_000))
    level = float(np.median(floor_db[first:stop]))
    above = np.flatnonzero(floor_db > max(level - 60, -95.0))
    return int(0.97 * above[-1]) if len(above) else 0


def find_traces(
    residual: NDArray[np.float32],
    decoders: Sequence[str] = tuple(FAMILIES),
    *,
    without_hz: float = 0.0,
) -> list[Trace]:
    """Return the comb of each known decoder that has two periods to look for.

    Args:
        residual: From ``flatten``.
        decoders: Families to look for.
        without_hz: Leave out periods that are multiples of this one.
    """
    deviation = deviation_of(residual)
    found = []
    for decoder in decoders:
        kept = [p for p in FAMILIES[decoder] if not without_hz or abs(p / without_hz % 1) > 1e-6]
        combs = sorted((score_comb(residual, p, deviation) for p in kept), reverse=True)
        if len(combs) > 1:
            z, lines = combs[1].z, combs[0]
            if z >= _LIMIT:  # below it, the period is not reported
                lines = _lines_of(residual, [comb for comb in combs if comb.n_teeth])
            found.append(Trace(z, lines.period_hz, decoder, lines.n_teeth))
    return found


def _lines_of(residual: NDArray[np.float32], combs: Sequence[Comb]) -> Comb:
    """Return the first comb, or one of its divisors or multiples that has its lines.

    Lines every 50 Hz are combs of 12.5 Hz, too, of which few teeth stand out, and of 100 Hz.
    """
    found, *others = combs
    others.sort(key=lambda comb: comb.period_hz)
    for finer in reversed(others):
        if _stands_out_between(residual, finer, found):
            found = finer
    for coarser in others:
        if _stands_out_between(residual, found, coarser) is False:
            found = coarser
    return found


def _stands_out_between(residual: NDArray[np.float32], fine: Comb, coarse: Comb) -> bool | None:
    """Return whether teeth that a coarser comb lacks are half as high as its; ``None``: not one."""
    ratio = coarse.period_hz / fine.period_hz
    if ratio < 1.5 or abs(ratio - round(ratio)) > 1e-6:
        return None
    levels = fold(residual, fine.period_hz)
    heights = levels[0] - np.median(levels.mean(axis=1))
    first = np.ceil(BAND_HZ[0] / fine.period_hz)
    is_shared = (first + np.arange(len(heights))) % round(ratio) == 0
    return bool(heights[~is_shared].mean() >= heights[is_shared].mean() / 2)


def _find_steady(
    samples: NDArray[np.float32], traces: Sequence[Trace], *, without_hz: float = 0.0
) -> Trace:
    """Return the strongest trace; one over the limit counts as far as most parts have it."""
    decoders = [trace.decoder for trace in traces if trace.strength >= _LIMIT]
    length = samples.shape[1] / (_PART_S * SAMPLE_RATE_HZ)
    n_parts = int(np.clip(length + _MISSING_PARTS, 1, _MAX_PARTS))
    held: dict[str, list[float]] = {decoder: [] for decoder in decoders}
    for part in np.array_split(samples, n_parts, axis=1) if decoders else ():
        residual = flatten(comb_spectrum_db(part))
        of_part = [] if residual is None else find_traces(residual, decoders, without_hz=without_hz)
        strengths = {trace.decoder: trace.strength for trace in of_part}
        for decoder in decoders:
            held[decoder].append(strengths.get(decoder, 0.0))
    limits = {d: sorted(found)[(n_parts - 1) // 2] / _STEADY for d, found in held.items()}
    steady = [t._replace(strength=min(t.strength, limits.get(t.decoder, np.inf))) for t in traces]
    return max((_NOTHING, *steady))


def deviation_of(residual: NDArray[np.float32]) -> float:
    """Return the robust standard deviation of a residual spectrum in the band."""
    inside = residual[round(BAND_HZ[0] * N_FFT / SAMPLE_RATE_HZ) :]
    return 1.4826 * float(np.median(np.abs(inside - np.median(inside))))


class Comb(NamedTuple):
    """Strength of one comb, its period and its teeth above the background."""

    z: float
    period_hz: float
    n_teeth: int


def score_comb(residual: NDArray[np.float32], period_hz: float, deviation: float) -> Comb:
    """Return the strength of a comb.

    Args:
        residual: From ``flatten``.
        period_hz: Distance of its teeth.
        deviation: From ``deviation_of``.
    """
    levels = fold(residual, period_hz)
    n_offsets, n_teeth = levels.shape
    if n_teeth < _MIN_TEETH:
        return Comb(0.0, period_hz, 0)
    means = levels.mean(axis=1, dtype=np.float64)
    margin = max(2, int(0.06 * n_offsets))
    others = means[margin : n_offsets - margin + 1]
    middle = _median(others)
    spread = 1.4826 * _median(np.abs(others - middle))
    scale = max(spread, deviation / np.sqrt(n_teeth), 1e-3)
    return Comb((float(means[0]) - middle) / scale, period_hz, int((levels[0] > middle).sum()))


def _median(values: NDArray[np.float64]) -> float:
    """Return the median of a few finite values; ``np.median`` takes several times as long."""
    ordered, half = np.sort(values), len(values) // 2
    return float((ordered[half] + ordered[-half - 1]) / 2)


def fold(residual: NDArray[np.float32], period_hz: float) -> NDArray[np.float32]:
    """Return the residual at equal offsets from each tooth, ``(n_offsets, n_teeth)``."""
    levels: NDArray[np.float32] = residual[_fold_bins(period_hz, len(residual))]
    return levels


@lru_cache(maxsize=64)
def _fold_bins(period_hz: float, n_bins: int) -> NDArray[np.intp]:
    bin_hz = SAMPLE_RATE_HZ / N_FFT
    teeth = np.arange(np.ceil(BAND_HZ[0] / period_hz), np.floor(n_bins * bin_hz / period_hz))
    n_offsets = int(np.clip(period_hz / bin_hz, 8, 400)) // 2 * 2
    offsets_hz = np.arange(n_offsets) / n_offsets * period_hz
    at = np.rint((teeth * period_hz + offsets_hz[:, None]) / bin_hz).astype(np.intp)
    bins: NDArray[np.intp] = np.minimum(at, n_bins - 1)
    bins.setflags(write=False)
    return bins


def open_comb(weights: Path, options: OpenOptions) -> CombDetector:
    """Open the detector."""
    return CombDetector(describe_comb(weights, options))


def explain_comb(path: Path, details: Details, card: DetectorCard) -> SpectralLines:
    """Return the lines found in a file; see ``Explain``."""
    from earwitness.detectors.comb_lines import read_comb  # it loads libsndfile

    return read_comb(path, details, card)


COMB = DetectorKind(describe_comb, open_comb, weights=Path(__file__), explain=explain_comb)
