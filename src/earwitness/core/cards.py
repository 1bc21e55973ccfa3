"""Detector cards: name, input contract, origin and limits.

Convention: ``None`` means unknown, which is not the same as nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from earwitness.core.spectrogram import SpectrogramContract

Windows = int | Literal["published", "all"]
"""Clips taken of a file: the published single one, so many spread evenly, or one after another."""

ScoreKind = Literal["probability", "uncalibrated"]
CropPolicy = Literal["centre", "three_quarters"]
Preprocessing = Literal["correct", "published"]
Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["torch", "onnxruntime"]


class ClipContract(BaseModel):
    """Audio that a detector expects for one clip.

    Attributes:
        sample_rate_hz: Rate of the detector, to which audio is resampled.
        native_rate: Do not resample: clips keep their file's rate, all lengths are in samples at
            that rate, and the detector treats them as samples at its own.
        clip_samples: Length of a clip; ``None`` takes the whole file.
        max_samples: With ``clip_samples=None``, the maximum length taken of a file.
        min_samples: A shorter file cannot be scored (0: it is zero-padded at its end).
        crop: Position of the published single clip in a file: as much of the file before it as
            after it, or three times as much before it.
        skip_time: Whether the manifest's ``skip_time`` is cut from the start of a file.
        mono: Whether clips are the mean over channels, taken before resampling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate_hz: int = Field(gt=0, le=768_000)
    native_rate: bool = False
    clip_samples: int | None = Field(default=None, gt=0)
    max_samples: int | None = Field(default=None, gt=0)
    min_samples: int = Field(default=0, ge=0)
    crop: CropPolicy = "centre"
    skip_time: bool = False
    mono: bool = False

    def rate_for(self, native_rate_hz: int) -> int:
        """Return the rate of the clips of a file with this native rate."""
        return native_rate_hz if self.native_rate else self.sample_rate_hz


def clips_for(images: SpectrogramContract) -> ClipContract:
    """Return the audio contract of images."""
    return ClipContract(
        sample_rate_hz=images.sample_rate_hz,
        native_rate=images.native_rate,
        clip_samples=images.clip_samples,
        mono=True,
    )


class ContentNeed(BaseModel):
    """Minimum content of a clip; a detector abstains from clips with less.

    Attributes:
        min_level_dbfs: RMS that the loudest stretch of the clip must reach in the detector's
            band, without its mean; 0 dBFS is an RMS of 1. One step of 16-bit audio is -90.3
            dBFS: anything below is dither and rounding.
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
        complete: Whether these are all; not if training started from pretrained weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest_digest: str
    n_items: int
    item_sha256: tuple[str, ...]
    group_sha256: tuple[str, ...]
    complete: bool = True


class DetectorCard(BaseModel):
    """Name, contract, origin and limits of a detector.

    Attributes:
        name: Registered name, or the stem of the weights folder for a detector trained here.
        kind: Registered name of the detector, or of its architecture (``spectttra``) for weights
            other than the published ones.
        summary: One-line summary; may be empty.
        contract: Expected audio.
        images: How its spectrogram images are rendered; ``None`` for audio detectors and where it
            is unknown.
        classes: Names of its outputs by index, where it has one per class.
        preprocessing: ``correct`` resamples to the detector's rate; ``published`` reproduces the
            published loader, faults included.
        precision: Number format of the network; features are always ``fp32``.
        band_hz: Lowest and highest frequency it uses.
        needs: Minimum content of a clip; it abstains from others.
        score_kind: Whether ``pred_prob`` is a calibrated probability.
        threshold: Decision threshold on ``pred_prob``.
        encoders: Classes of its encoder head in order, ``()`` where it has none.
        trained_on: Data sets and splits it was trained on; ``None`` means unknown.
        selected_on: Data of early stopping or model selection; ``None`` means unknown.
        training_items: Hashes of the training items where it was trained here.
        licence: Licence of the weights and of the method.
        source: Where it was published.
        weights_from: How to get its weights; may be empty.
        limits: Known limitations, in a sentence or two.
        weights_sha256: SHA-256 of the weights it runs with; ``None`` before they are loaded.
        details: Further settings that its code needs.
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
    band_hz: tuple[float, float]
    needs: ContentNeed = ContentNeed()
    score_kind: ScoreKind = "uncalibrated"
    threshold: float = Field(default=0.5, ge=0, le=1)
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
