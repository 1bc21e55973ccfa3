"""Interface of a detector, and its card on disk.

Conventions: scores rise with fakeness; a score never depends on the other clips of a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from earwitness.audio.clips import Clip
from earwitness.core.cards import Backend, DetectorCard, Precision, Preprocessing
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.core.io import sha256_of, write_json
from earwitness.core.predictions import Details

CARD_JSON, CONFIG_JSON = "card.json", "config.json"
WEIGHTS_FILE = "weights.safetensors"


class Scores(NamedTuple):
    """Scores of a batch of clips.

    Attributes:
        logits: ``(n_clips,)`` float64, finite, higher is more fake; scores are their logistic
            function.
        encoders: ``(n_clips, n_classes)`` float64 in the order of the card's ``encoders``, each
            row summing to 1, or ``None`` without an encoder head.
        abstained: Why the detector abstains from each clip, ``None`` for clips that it scores;
            ``()`` if it scores all of them.
        notes: A note for the user on each clip, or ``None``; ``()`` if there are none.
        details: Further columns of each clip's row, name → value; ``()`` if there are none.
    """

    logits: NDArray[np.float64]
    encoders: NDArray[np.float64] | None = None
    abstained: Sequence[str | None] = ()
    notes: Sequence[str | None] = ()
    details: Sequence[Details] = ()


def mean_channel(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean over channels, ``(n_samples,)``."""
    mean: NDArray[np.float64] = samples.mean(axis=0, dtype=np.float64)
    return mean


def check_range(clip: Clip, card: DetectorCard) -> None:
    """Check that the samples of a clip, at least one, are finite and not too large for arithmetic.

    Raises:
        DetectorError: They are not.
    """
    from earwitness.audio.decode import LOUDEST  # it loads libsndfile

    lowest, highest = float(clip.samples.min()), float(clip.samples.max())
    if not -LOUDEST <= lowest <= highest <= LOUDEST:  # a NaN is no score, and not real
        raise DetectorError(f"{card.name}: samples not finite or beyond {LOUDEST:g}")


def mix_checked(
    clip: Clip,
    at: int,
    card: DetectorCard,
    mix: Callable[[NDArray[np.float32]], NDArray[np.floating]],
) -> NDArray[np.floating]:
    """Return the mono mix of the clip at position ``at`` of a batch, checked against a contract.

    Raises:
        DetectorError: Another rate or length, no channel, or a mix that is not finite.
    """
    where, wanted = f"{card.name}: clip {at}", card.contract
    rate_hz = wanted.rate_for(clip.sample_rate_hz)
    if clip.sample_rate_hz != rate_hz:
        raise DetectorError(f"{where}: {clip.sample_rate_hz} Hz, expected {rate_hz} Hz")
    if clip.n_samples != wanted.clip_samples:
        raise DetectorError(f"{where}: {clip.n_samples} samples, expected {wanted.clip_samples}")
    if not clip.samples.shape[0]:
        raise DetectorError(f"{where}: no channels, expected one or more")
    mono = mix(clip.samples)
    if not np.isfinite(mono).all():
        raise DetectorError(f"{where}: samples that are not finite, expected finite ones")
    return mono


class Opened(Protocol):
    """An opened detector, of clips or of files."""

    @property
    def card(self) -> DetectorCard:
        """Its identity, input contract and the meaning of its scores."""
        ...

    @property
    def device(self) -> str:
        """Torch's device name; on ``cpu``, ``score`` is called from several threads."""
        ...

    @property
    def backend(self) -> str:
        """What computes its scores, such as ``torch``, ``onnxruntime``, ``numpy`` or ``http``."""
        ...

    @property
    def batch_size(self) -> int:
        """Preferred number of clips or files per call."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """Notes for the user on how scoring went, in phrases without a full stop."""
        ...


class Detector(Opened, Protocol):
    """Scores clips."""

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score clips that meet the card's contract.

        Args:
            clips: Any number of clips at the contract's rate, of its length where it has one.

        Raises:
            DetectorError: A clip does not meet the contract.
        """
        ...


@runtime_checkable
class FileDetector(Opened, Protocol):
    """Scores whole files, which it reads itself: its contract has ``reads_files``."""

    @property
    def n_parallel(self) -> int:
        """Number of calls at a time, from several threads."""
        ...

    def keep_records(self, folder: Path) -> None:
        """Keep what resumes or repeats a run in a folder, if anything; called before scoring."""
        ...

    def score_files(self, paths: Sequence[str]) -> Sequence[float | str]:
        """Return the logit of each file, or the reason why it has none."""
        ...


AnyDetector = Detector | FileDetector


@dataclass(frozen=True)
class OpenOptions:
    """Options for opening a detector, which ignores those that do not apply to it.

    Attributes:
        name: Its name in the output.
        device: Torch's device name.
        n_encoders: Number of classes of the encoder head.
        preprocessing: Audio preprocessing.
        precision: Precision of the network.
        backend: Library that runs the network.
        published: Registered name of the published weights, if these are meant.
        target: File or address that was named besides a ``detector.yaml``, if any.
        max_requests: Maximum number of requests to a service.
        fake_label: Name of the fake class.
    """

    name: str
    device: str = "cpu"
    n_encoders: int = 10
    preprocessing: Preprocessing = "correct"
    precision: Precision = "fp32"
    backend: Backend = "torch"
    published: str | None = None
    target: str | None = None
    max_requests: int | None = None
    fake_label: str | None = None


class Release(NamedTuple):
    """Weights that are one file of a public GitHub repository.

    Attributes:
        path: ``owner/repository/commit/path/of/file``.
        sha256: SHA-256 of the file.
        n_bytes: Its length.
    """

    path: str
    sha256: str
    n_bytes: int


class SpectralLines(NamedTuple):
    """Evenly spaced lines that a detector found in the mean spectrum of a file.

    Attributes:
        residual: Mean spectrum over its running median in dB, ``(n_bins,)`` from 0 Hz.
        period_hz: Distance of the lines.
    """

    residual: NDArray[np.float32]
    period_hz: float


Explain = Callable[[Path, Details, DetectorCard], SpectralLines]
"""Reads a file again and returns what the details of its row tell of; ``AudioError`` if the file
cannot be read or has no such lines."""


class DetectorKind(NamedTuple):
    """A registered kind of detector.

    Attributes:
        describe: Returns the card of the detector with these weights, or a card without a hash
            for ``None``. Must not import torch.
        open: Opens the detector.
        weights: Weights included in the package, if any.
        release: Weights that are downloaded when the detector is named, if any.
        explain: Returns what it found in a file, for a picture, if it can.
    """

    describe: Callable[[Path | None, OpenOptions], DetectorCard]
    open: Callable[[Path, OpenOptions], AnyDetector]
    weights: Path | None = None
    release: Release | None = None
    explain: Explain | None = None


def read_card(folder: Path) -> DetectorCard:
    """Read the ``card.json`` of a folder, else raise ``WeightsError``."""
    path = folder / CARD_JSON
    try:
        return DetectorCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{path}: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read as a detector's card ({error})") from error


def hashed_card(folder: Path, **changes: object) -> DetectorCard:
    """Return the changed card of a folder of weights trained here, with the weights' hash.

    Raises:
        WeightsError: A file is missing, or the card is invalid.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise WeightsError(f"{path}: no such file, expected the weights")
    return read_card(folder).model_copy(update={**changes, "weights_sha256": sha256_of(path)})


def write_card(card: DetectorCard, folder: Path) -> None:
    """Write a card as ``card.json``, atomically."""
    write_json(folder / CARD_JSON, card.model_dump(mode="json"))
