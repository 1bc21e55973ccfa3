"""Rendering parameters of spectrogram images, and class labels read from text.

Conventions: time runs to the right and frequency upwards; an image shows one clip, in decibels
below its loudest point. Parameters are stored in ``spectrogram.json``, in each image's metadata and
on the cards of detectors trained on images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FrequencyScale = Literal["mel", "linear", "log"]
ColourMap = Literal["grey", "viridis", "magma"]

SPECTROGRAM_JSON = "spectrogram.json"
PNG_CONTRACT = "earwitness:spectrogram"
"""Key of the rendering parameters in a PNG's metadata."""
PNG_SOURCE = "earwitness:source"
"""Key of the rendered clip in a PNG's metadata."""


class SpectrogramContract(BaseModel):
    """Rendering parameters of spectrogram images.

    Attributes:
        version: Version of this schema.
        sample_rate_hz: Rate to which audio is resampled first.
        native_rate: Do not resample: samples are treated as if at ``sample_rate_hz``, so the
            image's top is half the file's own rate.
        n_fft: Window and FFT length in samples.
        hop: Hop length in samples.
        n_frames: Frames per clip of ``(n_frames - 1) * hop`` samples, averaged to ``width``
            columns; ``None`` is one per column.
        width: Columns.
        height: Rows, each a frequency band.
        scale: Frequency scale: mel, linear or logarithmic.
        band_hz: Lowest and highest frequency.
        top_db: Dynamic range; lower levels are black.
        colours: Colour map; ``grey`` gives images with one channel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: Literal[1] = 1
    sample_rate_hz: int = Field(default=16_000, ge=1_000, le=768_000)
    native_rate: bool = False
    n_fft: int = Field(default=2_048, ge=16, le=2**16)
    hop: int = Field(default=359, ge=1)
    n_frames: int | None = Field(default=None, ge=8, le=2**17)
    width: int = Field(default=224, ge=8, le=4_096)
    height: int = Field(default=224, ge=8, le=4_096)
    scale: FrequencyScale = "mel"
    band_hz: tuple[float, float] = (20.0, 8_000.0)
    top_db: float = Field(default=80.0, gt=0, le=200)
    colours: ColourMap = "grey"

    @property
    def clip_samples(self) -> int:
        """Clip length of an image in samples."""
        return ((self.n_frames or self.width) - 1) * self.hop

    @property
    def clip_s(self) -> float:
        """Clip length of an image in seconds, at ``sample_rate_hz``."""
        return self.clip_samples / self.sample_rate_hz

    @property
    def mode(self) -> str:
        """Pillow's image mode."""
        return "L" if self.colours == "grey" else "RGB"

    def list_differences(self, other: SpectrogramContract) -> Iterator[str]:
        """Yield a text for each parameter that differs."""
        for name in type(self).model_fields:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                yield f"{name} {_shown(ours)} and not {_shown(theirs)}"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        low, high = self.band_hz
        lowest = 0.0 if self.scale == "linear" else 1.0
        if not lowest <= low < high <= self.sample_rate_hz / 2:
            raise ValueError(
                f"band_hz {low:g} to {high:g}, expected rising frequencies from {lowest:g} to "
                f"{self.sample_rate_hz / 2:g} Hz (half the sample rate)"
            )
        if self.clip_samples <= self.n_fft // 2:
            raise ValueError(
                f"a clip of {self.clip_samples} samples (width and hop), expected over "
                f"{self.n_fft // 2} (half of n_fft)"
            )
        return self


def _shown(value: object) -> str:
    return "–".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)


REAL_NAMES = (
    *("original", "real", "bonafide", "genuine", "authentic", "human", "humanmade", "natural"),
    *("0", "0.0"),
)
FAKE_NAMES = (
    *("deepfake", "fake", "spoof", "spoofed", "synthetic", "synthesized", "generated"),
    *("ai", "aigenerated", "aimade", "artificial", "machine", "1", "1.0"),
)

PUBLISHED_NAMES = ("Original", "Deepfake")
"""Class names of the published pipeline, by target."""

_NUMBERS = dict.fromkeys(REAL_NAMES, 0) | dict.fromkeys(FAKE_NAMES, 1)
_DROPPED = str.maketrans("", "", " \t-_")


def parse_label(text: str) -> int | None:
    """Return 0 for a name of real, 1 for a name of fake, else ``None``."""
    if text.strip().startswith("-"):  # -1 is not 1
        return None
    return _NUMBERS.get(text.translate(_DROPPED).lower())


def parse_target(text: str) -> int | None:
    """Return the class of a cell as ``parse_label``, or of "true" (fake), "1.00" and the like."""
    named = parse_label(text)
    if named is None:
        named = {"false": 0, "true": 1}.get(text.strip().lower())
    if named is not None:
        return named
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in (0, 1) else None


def parse_classes(names: tuple[str, ...]) -> int | None:
    """Return the index of the fake class of two names; ``None`` unless one is real, one fake."""
    numbers = [parse_label(name) for name in names]
    return numbers.index(1) if sorted(n for n in numbers if n is not None) == [0, 1] else None
