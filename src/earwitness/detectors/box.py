"""The box detector: a small network on folded spectra, trained without generated music.

Its folder has ``card.json`` and ``weights.safetensors``; the shipped one is part of the package.
Conventions: a network scores every period alone; a clip's strength is the soft maximum over
periods, averaged over networks. Its logit is 0 at the limit chosen on real music.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard, TrainingItems
from earwitness.core.errors import WeightsError
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.predictions import DETAIL_COLUMNS, Details
from earwitness.detectors import comb
from earwitness.detectors.base import (
    WEIGHTS_FILE,
    DetectorKind,
    OpenOptions,
    Scores,
    hashed_card,
    read_card,
    write_card,
)
from earwitness.detectors.box_features import FEATURES, fold, periods_hz
from earwitness.detectors.weights import check_header

SHIPPED = Path(__file__).parent / "shipped" / "box"
N_HIDDEN = (16, 16)
UNLISTED = "a decoder that is not listed"

_CODEC_GRIDS = {"aac": (44_100 / 2048, 48_000 / 2048), "opus": (50.0,)}
"""Codec → lowest periods in Hz that its own transform or frames may leave."""
_EXCLUDED = -30.0
_LIKELY = 6.0
"""Periods that score this much less than the highest are candidates for the decoder's own."""


class Networks(NamedTuple):
    """Networks of three layers with shared scaling of features, and the scale of logits.

    Attributes:
        centre: ``(n_features,)``, subtracted from features.
        scale: ``(n_features,)``, by which they are then divided.
        weights: Arrays ``(n_networks, n_in, n_out)`` of each layer.
        biases: Arrays ``(n_networks, n_out)`` of each layer.
        limit: Strength at a logit of 0.
        tail: Strength by which the logit rises by 1.
    """

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    limit: float = 0.0
    tail: float = 1.0

    def score_periods(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores ``(n_networks, n_periods)`` of rows of features."""
        usable = ~np.isnan(features[:, 0])
        x = ((features[usable] - self.centre) / self.scale)[None]
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias[:, None]
            if number < last:
                x = np.maximum(x, 0)
        scores = np.full((len(x), len(features)), _EXCLUDED, dtype=np.float32)
        scores[:, usable] = x[..., 0]
        return scores


def strength(scores: NDArray[np.float32], excluded: NDArray[np.bool_]) -> float:
    """Return the soft maximum over periods that are not excluded, averaged over networks."""
    kept = np.where(excluded, _EXCLUDED, scores).astype(np.float64)
    highest = kept.max(axis=1)
    sums = np.exp(kept - highest[:, None]).sum(axis=1)
    return float(np.mean(highest + np.log(sums)))


def codec_periods(codec: str | None) -> NDArray[np.bool_]:
    """Return which periods share at least every eighth tooth with the grid of a codec."""
    periods = periods_hz()
    found = np.zeros(len(periods), dtype=bool)
    for grid_hz in _CODEC_GRIDS.get((codec or "").lower(), ()):
        for every in range(1, 9):
            ratio = every * periods / grid_hz
            found |= (np.abs(ratio - np.rint(ratio)) < 1e-4) & (ratio > 0.5)
    return found


def box_card(
    *,
    name: str,
    trained_on: tuple[str, ...] | None = None,
    selected_on: tuple[str, ...] | None = None,
    training_items: TrainingItems | None = None,
    details: Mapping[str, float | int | str] | None = None,
) -> DetectorCard:
    """Return the card of a box, without a hash of weights."""
    return DetectorCard(
        name=name,
        kind="box",
        summary="a small network on evenly spaced lines, trained on decoders with random weights",
        contract=ClipContract(
            sample_rate_hz=comb.SAMPLE_RATE_HZ,
            max_samples=comb.MAX_S * comb.SAMPLE_RATE_HZ,
            crop="start",
            mono=True,
        ),
        band_hz=comb.BAND_HZ,
        one_sided=True,
        trained_on=trained_on,
        selected_on=selected_on,
        training_items=training_items,
        licence="Apache-2.0; research use: patents are filed on fakeprint methods (Deezer)",
        source="Pons et al., arXiv 2010.14356; Afchar et al., arXiv 2506.19108",
        weights_from="part of the package; earwitness train --detector box makes others",
        limits=(
            "Finds evenly spaced lines of up-sampling layers at standard sample rates, of decoders "
            "that no list names, too; generators without such lines, and traces that resampling, "
            "pitch shifts or low bit rates hide, it does not find: nothing found does not say real."
        ),
        details={"n_fft": comb.N_FFT, "shortest_s": comb.MIN_S, **(details or {})},
    )


def describe_box(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the box with these weights; ``WeightsError`` if there are none."""
    return hashed_card(SHIPPED if weights is None else weights, name=options.name)


class BoxDetector:
    """Scores files by networks on spectra that are folded by many periods."""

    device = "cpu"
    backend = "numpy"
    batch_size = 1
    remarks = ()

    def __init__(self, card: DetectorCard, networks: Networks) -> None:
        self.card = card
        self.networks = networks

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips of any length; see ``Detector``."""
        answers = [self._answer(clip) for clip in clips]
        return Scores(
            np.array([logit for logit, _, _ in answers], dtype=np.float64),
            abstained=[reason for _, reason, _ in answers],
            details=[details for _, _, details in answers],
        )

    def _answer(self, clip: Clip) -> tuple[float, str | None, Details]:
        """Return the logit of a clip, why it is not decidable, and the details of its row."""
        residual = comb.residual_of(clip, self.card)
        if isinstance(residual, str):
            return self._logit(0.0), residual, _NOTHING
        return self._decide(residual, clip.codec)

    def _decide(
        self, residual: NDArray[np.float32], codec: str | None
    ) -> tuple[float, str | None, Details]:
        scores = self.networks.score_periods(fold(residual))
        of_codec = codec_periods(codec)
        logit = self._logit(strength(scores, np.zeros_like(of_codec)))
        if logit >= 0 and of_codec.any():
            without = self._logit(strength(scores, of_codec))
            if without < 0:
                period_hz = periods_hz()[scores.mean(axis=0).argmax()]
                return (
                    logit,
                    f"a comb of {period_hz:.4g} Hz, which {codec} coding may leave, too",
                    _NOTHING,
                )
            logit = without
            scores = np.where(of_codec, _EXCLUDED, scores)
        return logit, None, _describe(scores, residual) if logit >= 0 else _NOTHING

    def _logit(self, strength: float) -> float:
        return (strength - self.networks.limit) / self.networks.tail


_NOTHING: Details = dict.fromkeys(DETAIL_COLUMNS)


def _describe(scores: NDArray[np.float32], residual: NDArray[np.float32]) -> Details:
    """Return the period with the most evident teeth, the decoder it is from and its teeth.

    Multiples and divisors of a period score highly with it. Of a multiple there are fewer teeth,
    and of a divisor only some stand out: the excess of teeth in standard deviations is highest at
    the period itself.
    """
    periods, mean = periods_hz(), scores.mean(axis=0)
    likely = np.flatnonzero(mean > mean.max() - _LIKELY)
    end_hz = len(residual) * comb.SAMPLE_RATE_HZ / comb.N_FFT

    def excess(found: comb.Comb) -> float:
        n_teeth = (end_hz - comb.BAND_HZ[0]) / found.period_hz
        return (found.n_teeth - n_teeth / 2) / float(np.sqrt(n_teeth))

    combs = [comb.score_comb(residual, float(period), 1.0) for period in periods[likely]]
    found = max(combs, key=excess)
    guess = next(
        (
            decoder
            for decoder, known_hz in comb.FAMILIES.items()
            if np.isclose(found.period_hz, known_hz, rtol=1e-5).any()
        ),
        UNLISTED,
    )
    values = round(found.period_hz, 3), guess, found.n_teeth
    return dict(zip(DETAIL_COLUMNS, values, strict=True))


def save_box(card: DetectorCard, networks: Networks, folder: Path) -> BoxDetector:
    """Write a trained box atomically, its card last, and return it."""
    path = folder / WEIGHTS_FILE
    tensors = {
        "centre": networks.centre,
        "scale": networks.scale,
        "limit_and_tail": np.array([networks.limit, networks.tail]),
    }
    for number, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        tensors |= {f"weight_{number}": weight, f"bias_{number}": bias}
    with atomic_write(path) as temporary:
        plain = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        save_file(plain, temporary, metadata={"kind": card.kind})
    card = card.model_copy(update={"weights_sha256": sha256_of(path)})
    write_card(card, folder)
    return BoxDetector(card, networks)


def open_box(folder: Path, options: OpenOptions) -> BoxDetector:
    """Open a detector that ``save_box`` wrote, else raise ``WeightsError``."""
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    if card.kind != "box":
        raise WeightsError(f"{folder}: card of a {card.kind!r}, expected 'box'")
    check_header(path)
    try:
        networks = _read(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    actual = sha256_of(path)
    if card.weights_sha256 != actual:
        raise WeightsError(f"{path}: SHA-256 {actual[:12]}…, the card says {card.weights_sha256}")
    return BoxDetector(card.model_copy(update={"name": options.name}), networks)


def _read(path: Path) -> Networks:
    """Return networks whose arrays are finite and of the right shapes."""
    tensors = load_file(path)
    n_networks = len(tensors["weight_0"])
    sizes = (len(FEATURES), *N_HIDDEN, 1)
    wanted: dict[str, tuple[int, ...]] = {"limit_and_tail": (2,)}
    wanted |= dict.fromkeys(("centre", "scale"), (len(FEATURES),))
    for number, (n_in, n_out) in enumerate(pairwise(sizes)):
        wanted |= {
            f"weight_{number}": (n_networks, n_in, n_out),
            f"bias_{number}": (n_networks, n_out),
        }
    shapes = {name: values.shape for name, values in tensors.items()}
    if shapes != wanted:
        raise WeightsError(f"{path}: shapes {shapes}, expected {wanted}")
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise WeightsError(f"{path}: NaN or infinite values")
    limit, tail = (float(value) for value in tensors["limit_and_tail"])
    if not (tail > 0 and (tensors["scale"] > 0).all()):
        raise WeightsError(f"{path}: scales that are not positive")
    n_layers = len(N_HIDDEN) + 1
    return Networks(
        tensors["centre"],
        tensors["scale"],
        tuple(tensors[f"weight_{number}"] for number in range(n_layers)),
        tuple(tensors[f"bias_{number}"] for number in range(n_layers)),
        limit,
        tail,
    )


BOX = DetectorKind(describe_box, open_box, weights=SHIPPED, explain=comb.explain_comb)
