"""The lofcz detectors: logistic regression on a fakeprint, and a CNN on a cepstrum.

Conventions: a file is scored as a whole, never in windows. The detectors resample it themselves,
since verdicts can depend on the resampler: ``correct`` uses soxr HQ and abstains where the
fakeprint is nearly empty, ``published`` uses torchaudio's resampler and never abstains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.audio.clips import Clip
from earwitness.core.cards import ClipContract, DetectorCard, FalsePositives
from earwitness.core.errors import DetectorError
from earwitness.core.io import sha256_of
from earwitness.detectors import lofcz_features as features
from earwitness.detectors.base import Detector, DetectorKind, OpenOptions, Scores, check_range
from earwitness.detectors.lofcz_weights import (
    CNN_RELEASE,
    LinearModel,
    Network,
    find_cnn,
    find_lr,
    load_lr,
    open_network,
)

MIN_BINS = 1_000
"""With fewer bins that are not empty the score tends to the intercept, which says fake."""
FEW_BINS = 2_500
"""With fewer the score is raised: real music, half of it silence, was called fake with 1373."""
_MAX_LOGIT = 8.0
"""Higher ones are not compared with the other resampler, which moved none of 72 by over 3.7."""
_SHORT_S = 60
_MAX_CNN_S = 1_800


def describe_lr(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the logistic regression opened with these weights.

    Raises:
        WeightsError: The weights are missing, damaged or of another model.
    """
    if weights is None:
        return _lr_card(options, None, is_published=True)
    path = find_lr(weights)
    is_published = load_lr(path).is_published
    return _lr_card(options, sha256_of(path), is_published=is_published)


def describe_cnn(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the CNN opened with these weights.

    Raises:
        WeightsError: The weights are missing.
    """
    sha256 = None if weights is None else sha256_of(find_cnn(weights))
    return _cnn_card(options, sha256)


_FALSE_POSITIVES = FalsePositives(
    corpus="20 s excerpts of music from free games", n_items=10, n_flagged=0
)


def _lr_card(options: OpenOptions, sha256: str | None, *, is_published: bool) -> DetectorCard:
    contract = ClipContract(
        sample_rate_hz=features.SAMPLE_RATE_HZ,
        resampled_by="detector",
        max_samples=features.MAX_SAMPLES,
        min_samples=features.MIN_SAMPLES,
        crop="start",
    )
    details: dict[str, float | int | str] = {"short_below_s": _SHORT_S}
    if options.preprocessing == "correct":
        details["min_bins"] = MIN_BINS
    return DetectorCard(
        kind="lofcz-lr",
        summary="logistic regression on the spectral peaks of a whole file (Štágl)",
        contract=contract,
        band_hz=features.BAND_HZ,
        licence=(
            "MIT (code and weights, © 2026 Matěj Štágl); the fakeprint method has patents filed "
            "(Deezer): research use"
        ),
        weights_from="fetched from the Hugging Face hub (lofcz/ai-music-detector) when it is named",
        known_kinds=("Udio", "Suno") if is_published else None,
        unknown_kinds=("EnCodec", "LAC", "Musika", "ACE-Step", "Griffin-Lim")
        if is_published
        else None,
        limits=(
            "Knows Suno up to 5 and Udio up to 1.5. Scores rise with the length of a file: a "
            "threshold holds for one length, and a low score of a short file does not say real. "
            "Silence and a band with little sound raise the score, too."
        ),
        details={"resampler": _resamplers(options)[0], **details},
        **_shared_fields(options, sha256, is_published=is_published),
    )


def _cnn_card(options: OpenOptions, sha256: str | None) -> DetectorCard:
    is_published = sha256 in {None, CNN_RELEASE.sha256}
    is_limited = options.preprocessing == "correct"
    contract = ClipContract(
        sample_rate_hz=features.SAMPLE_RATE_HZ,
        resampled_by="detector",
        max_samples=_MAX_CNN_S * features.SAMPLE_RATE_HZ if is_limited else None,
        crop="start",
    )
    return DetectorCard(
        kind="lofcz-cnn",
        summary="convolutional network on the cepstrum of five segments of 10 s (Štágl)",
        contract=contract,
        band_hz=(500.0, 8_000.0),
        threshold=float(np.nextafter(0.5, 1)),  # published: fake above 0.5, not from 0.5 up
        licence="MIT (code and weights, © 2026 Matěj Štágl)",
        weights_from="fetched from github.com/lofcz/ai-music-detector (1.2 MB) when it is named",
        known_kinds=("YuE", "Suno") if is_published else None,
        unknown_kinds=("Udio", "EnCodec", "Musika", "ACE-Step", "Griffin-Lim")
        if is_published
        else None,
        limits=(
            "Knows Suno up to 5 and Udio up to 1.5, and flags some neural codecs. Scores change "
            "with gain and with a shift by a few samples, as other MP3 decoders have it."
        ),
        details={"resampler": _resamplers(options)[0]},
        **_shared_fields(options, sha256, is_published=is_published),
    )


def _shared_fields(
    options: OpenOptions, sha256: str | None, *, is_published: bool
) -> dict[str, Any]:
    """Return the fields of a card that both detectors share.

    What other weights were trained on is unknown.
    """
    trained_on = (
        "FMA-medium real, all splits",
        "SONICS fake, all splits",
        "private real music",
        "private fake music (Suno, Udio)",
    )
    return {
        "name": options.name,
        "preprocessing": options.preprocessing,
        "trained_on": trained_on if is_published else None,
        "false_positives": _FALSE_POSITIVES if is_published else None,
        "source": "github.com/lofcz/ai-music-detector (6ba389e); fakeprint: arXiv 2506.19108",
        "weights_sha256": sha256,
    }


def _resamplers(options: OpenOptions) -> tuple[features.Resampler, features.Resampler]:
    """Return the resampler that is used, and the other one."""
    if options.preprocessing == "published":
        return "torchaudio_sinc", "soxr_hq"
    return "soxr_hq", "torchaudio_sinc"


class Answer(NamedTuple):
    """The score of a mono signal.

    Attributes:
        logit: Its logit.
        nonzero_bins: Bins of the fakeprint that are not empty; ``None`` without a fakeprint.
    """

    logit: float
    nonzero_bins: int | None = None


class LofczDetector:
    """A detector that resamples and scores files as a whole.

    Args:
        card: Its card.
        resamplers: The resampler that is used, and the one that verdicts are compared with.
        kernel: Precision of the kernel of ``torchaudio_sinc``.
        answer: Scores a mono signal at 16 kHz.
        backend: What computes the score.
    """

    device = "cpu"
    batch_size = 1
    remarks = ()

    def __init__(
        self,
        card: DetectorCard,
        resamplers: tuple[features.Resampler, features.Resampler],
        *,
        kernel: features.Kernel,
        answer: Callable[[NDArray[np.float32]], Answer],
        backend: str,
    ) -> None:
        self.card = card
        self.backend = backend
        self._resamplers = resamplers
        self._kernel = kernel
        self._answer = answer

    def score(self, clips: Sequence[Clip]) -> Scores:
        """Score whole files at their own rate.

        Raises:
            DetectorError: A clip is too short, has no channel, or holds samples that are not
                finite or too large.
        """
        answers = [self._answer_with(clip, self._resamplers[0]) for clip in clips]
        logits = np.array([answer.logit for answer in answers], dtype=np.float64)
        lacks = [self._lack(answer) for answer in answers]
        notes = [
            None if lack else self._note(clip, answer)
            for clip, answer, lack in zip(clips, answers, lacks, strict=True)
        ]
        return Scores(logits, abstained=lacks, notes=notes)

    def _answer_with(self, clip: Clip, resampler: features.Resampler) -> Answer:
        self._check(clip)
        mono = features.to_mono_16k(
            clip.samples, clip.sample_rate_hz, resampler, kernel=self._kernel
        )
        return self._answer(mono)

    def _check(self, clip: Clip) -> None:
        shortest = max(1, self.card.contract.at_rate(clip.sample_rate_hz).min_samples)
        if clip.n_samples < shortest or not clip.samples.shape[0]:
            raise DetectorError(
                f"{self.card.name}: {clip.samples.shape[0]} channels of {clip.n_samples} samples "
                f"at {clip.sample_rate_hz} Hz, expected one or more of at least {shortest}"
            )
        check_range(clip, self.card)

    def _lack(self, answer: Answer) -> str | None:
        """Return why the answer is no verdict: empty bins raise the score towards fake."""
        found = answer.nonzero_bins
        if found is None or "min_bins" not in self.card.details:
            return None
        least, problem = MIN_BINS, "nothing to analyse"
        if found >= MIN_BINS and self._verdict(answer) == "fake":
            least, problem = FEW_BINS, "too little to say fake"
        if found >= least:
            return None
        return (
            f"{problem} ({found} of {features.N_BINS} bins from 1000 to 8000 Hz are not empty, "
            f"needs {least})"
        )

    def _note(self, clip: Clip, answer: Answer) -> str | None:
        notes = [self._note_on_resampler(clip, answer)]
        if answer.nonzero_bins is not None and answer.nonzero_bins < FEW_BINS:
            notes.append("the band from 1 to 8 kHz is partly empty, which raises the score")
        if self._is_short(clip) and self._verdict(answer) == "real":
            notes.append("short files score low, fake ones too: a low score does not say real")
        return "; ".join(filter(None, notes)) or None

    def _is_short(self, clip: Clip) -> bool:
        shortest = self.card.details.get("short_below_s", 0)
        return clip.n_samples < float(shortest) * clip.sample_rate_hz

    def _note_on_resampler(self, clip: Clip, answer: Answer) -> str | None:
        """Return a note if the other resampler gives the other verdict."""
        is_sure = abs(answer.logit) > _MAX_LOGIT
        if is_sure or clip.sample_rate_hz == features.SAMPLE_RATE_HZ:
            return None
        used, other = self._resamplers
        verdict = self._verdict(answer)
        other_verdict = self._verdict(self._answer_with(clip, other))
        if verdict == other_verdict:
            return None
        return (
            f"the verdict depends on the resampler: {verdict} with {used}, "
            f"{other_verdict} with {other}"
        )

    def _verdict(self, answer: Answer) -> str:
        prob = 1 / (1 + np.exp(-answer.logit))
        return "fake" if prob >= self.card.threshold else "real"


def open_lr(weights: Path, options: OpenOptions) -> Detector:
    """Open the logistic regression.

    Raises:
        WeightsError: The weights are missing, damaged or of another model.
    """
    path = find_lr(weights)
    model = load_lr(path)
    return LofczDetector(
        _lr_card(options, sha256_of(path), is_published=model.is_published),
        _resamplers(options),
        kernel="float64",
        answer=partial(_answer_lr, model),
        backend="numpy",
    )


def _answer_lr(model: LinearModel, mono: NDArray[np.float32]) -> Answer:
    fakeprint = features.lofcz_fakeprint(mono)
    return Answer(model.logit(fakeprint.vector), fakeprint.nonzero_bins)


def open_cnn(weights: Path, options: OpenOptions) -> Detector:
    """Open the CNN, which ONNX Runtime computes.

    Raises:
        DetectorError: ONNX Runtime is not installed.
        WeightsError: The weights are missing, damaged or of another network.
    """
    path = find_cnn(weights)
    return LofczDetector(
        _cnn_card(options, sha256_of(path)),
        _resamplers(options),
        kernel="float32",
        answer=partial(_answer_cnn, open_network(path)),
        backend="onnxruntime",
    )


def _answer_cnn(network: Network, mono: NDArray[np.float32]) -> Answer:
    """Return the median logit of the segments, of which there is an odd number."""
    return Answer(float(np.median(network(features.cepstrum(features.cut_segments(mono))))))


LOFCZ_LR = DetectorKind(describe_lr, open_lr)
LOFCZ_CNN = DetectorKind(describe_cnn, open_cnn, release=CNN_RELEASE)
