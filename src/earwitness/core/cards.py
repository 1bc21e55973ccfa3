"""Detector cards: name, input contract, origin and limits.

Convention: ``None`` means unknown, which is not the same as nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from earwitness.core.spectrogram import SpectrogramContract

Windows = int | Literal["published", "all"]
"""Clips per file: the published one, N evenly spaced, or all in sequence."""

ScoreKind = Literal["probability", "uncalibrated"]
CropPolicy = Literal["centre", "three_quarters", "start"]
Preprocessing = Literal["correct", "published"]
Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["torch", "onnxruntime"]


class ClipContract(BaseModel):
    """Audio that a detector expects for one clip.

    Attributes:
        sample_rate_hz: Rate of the detector, to which audio is resampled; 0 if it reads files.
        reads_files: The detector reads whole files itself, and how is unknown.
        native_rate: Do not resample: lengths are in samples at the file's rate, and the detector
            treats clips as if at its own.
        resampled_by: ``detector``: clips keep their file's rate, and the detector resamples them;
            lengths are in samples at its own rate.
        clip_samples: Clip length; ``None`` is the whole file.
        max_samples: Maximum length of whole files.
        min_samples: Minimum length; a shorter file has an error (0: it is zero-padded).
        crop: Position of the published clip: in the centre, with three quarters of the rest
            before it, or the start of the file, which is then the only clip.
        skip_time: Whether the manifest's ``skip_time`` is cut from the start of a file.
        mono: Whether clips are the mean over channels, taken before resampling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(ge=0, le=768_000)
    reads_files: bool = False
    native_rate: bool = False
    resampled_by: Literal["detector"] | None = None
    clip_samples: int | None = Field(default=None, gt=0)
    max_samples: int | None = Field(default=None, gt=0)
    min_samples: int = Field(default=0, ge=0)
    crop: CropPolicy = "centre"
    skip_time: bool = False
    mono: bool = False

    @model_validator(mode="after")
    def _has_a_rate(self) -> Self:
        if (self.sample_rate_hz == 0) is not self.reads_files:
            raise ValueError("sample_rate_hz 0, expected a rate unless the detector reads files")
        return self

    def rate_for(self, native_rate_hz: int) -> int:
        """Return the rate of the clips of a file with this native rate."""
        keeps_rate = self.reads_files or self.native_rate or self.resampled_by == "detector"
        return native_rate_hz if keeps_rate else self.sample_rate_hz

    def at_rate(self, rate_hz: int) -> ClipContract:
        """Return the contract at another rate if the detector resamples itself, else this one."""
        if self.resampled_by is None:
            return self
        ratio = Fraction(rate_hz, self.sample_rate_hz)
        scaled = {
            name: length and math.ceil(length * ratio)
            for name in ("clip_samples", "max_samples", "min_samples")
            if (length := getattr(self, name)) is not None
        }
        return self.model_copy(update={"sample_rate_hz": rate_hz, **scaled})


def clips_for(images: SpectrogramContract) -> ClipContract:
    """Return the audio contract of spectrogram images."""
    return ClipContract(
        sample_rate_hz=images.sample_rate_hz,
        native_rate=images.native_rate,
        clip_samples=images.clip_samples,
        mono=True,
    )


class ContentNeed(BaseModel):
    """Minimum content of a clip; a detector abstains from clips with less.

    Attributes:
        min_level_dbfs: Minimum RMS, without mean, of the loudest segment in the detector's band;
            0 dBFS is an RMS of 1. One step of 16-bit audio is -90.3 dBFS; less is dither.
        mix: Measured signal: the loudest channel, or the mean of the first two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min_level_dbfs: float = Field(default=-90.0, le=0)
    mix: Literal["channels", "first_two"] = "channels"


class TrainingItems(BaseModel):
    """Hashes of a detector's training items, from which audits compute exposure.

    Attributes:
        manifest_digest: Digest of the training manifest.
        n_items: Items it was fitted on.
        item_sha256: SHA-256 of each training file's bytes.
        group_sha256: SHA-256 of each training group's id (UTF-8).
        complete: False if training started from pretrained weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_digest: str
    n_items: int
    item_sha256: tuple[str, ...]
    group_sha256: tuple[str, ...]
    complete: bool = True


class FalsePositives(BaseModel):
    """Real music that a detector flagged at its threshold, in a corpus that did not choose it.

    Attributes:
        corpus: The real music, in a few words.
        n_items: Files of it.
        n_flagged: Files flagged; abstentions are not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    corpus: str
    n_items: int = Field(gt=0)
    n_flagged: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.n_flagged > self.n_items:
            raise ValueError(f"n_flagged {self.n_flagged}, expected at most {self.n_items}")
        return self


class DetectorCard(BaseModel):
    """Name, contract, origin and limits of a detector.

    Attributes:
        name: Registered name, or the stem of the weights folder if trained here.
        kind: Registered name of the detector or, for weights of one's own, of its architecture.
        summary: One-line summary; may be empty.
        contract: Expected audio.
        images: Rendering parameters of its spectrogram images; ``None`` for audio detectors or if
            unknown.
        classes: Class names of its outputs by index; may be empty.
        preprocessing: ``correct`` resamples to the detector's rate; ``published`` reproduces the
            published loader with its faults.
        precision: Number format of the network; features are always ``fp32``.
        band_hz: Lowest and highest frequency it uses; ``None`` means unknown.
        needs: Minimum content of a clip.
        score_kind: Whether ``pred_prob`` is a calibrated probability.
        threshold: Decision threshold on ``pred_prob``.
        one_sided: A score below the threshold is no evidence of real music: the detector looks for
            traces and has no model of real music.
        false_positives: Measured false positives at the threshold; ``None`` means unknown.
        invariances: Change of the audio that should not matter → largest absolute change of a
            logit seen; ``None`` means unknown.
        known_kinds: Generators and codecs most of whose files it was seen to find; ``None`` means
            unknown.
        unknown_kinds: Generators and codecs most of whose files it was seen to miss; ``None``
            means unknown.
        encoders: Classes of its encoder head; may be empty.
        trained_on: Data sets and splits it was trained on; ``None`` means unknown.
        selected_on: Data of early stopping or model selection; ``None`` means unknown.
        training_items: Hashes of the training items, if trained here.
        licence: Licence of the weights and of the method.
        source: Publication.
        weights_from: How to get its weights; may be empty.
        limits: Known limitations, in a sentence or two.
        weights_sha256: SHA-256 of the loaded weights; ``None`` before.
        details: Settings of its code.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    kind: str
    summary: str = ""
    contract: ClipContract
    images: SpectrogramContract | None = None
    classes: tuple[str, ...] = ()
    preprocessing: Preprocessing = "correct"
    precision: Precision = "fp32"
    band_hz: tuple[float, float] | None
    needs: ContentNeed = ContentNeed()
    score_kind: ScoreKind = "uncalibrated"
    threshold: float = Field(default=0.5, ge=0, le=1)
    one_sided: bool = False
    false_positives: FalsePositives | None = None
    invariances: dict[str, float] | None = None
    known_kinds: tuple[str, ...] | None = None
    unknown_kinds: tuple[str, ...] | None = None
    encoders: tuple[str, ...] = ()
    trained_on: tuple[str, ...] | None = None
    selected_on: tuple[str, ...] | None = None
    training_items: TrainingItems | None = None
    licence: str
    source: str
    weights_from: str = ""
    limits: str
    weights_sha256: str | None = None
    details: dict[str, float | int | str] = Field(default_factory=dict)

    @property
    def widest_band_hz(self) -> tuple[float, float]:
        """``band_hz``, or if unknown all frequencies of the contract."""
        return self.band_hz or (0.0, self.contract.sample_rate_hz / 2)
