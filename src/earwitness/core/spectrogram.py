"""Spectrogram contracts: everything that decides the pixels of an image of audio.

Conventions: time runs to the right and frequency upwards; an image shows one clip, in decibels
below the loudest point of that clip. The contract is in ``spectrogram.json`` beside rendered
images, in the metadata of each of them, and on the card of a network that was trained on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FrequencyScale = Literal["mel", "linear", "log"]
ColourMap = Literal["grey", "viridis", "magma"]

SPECTROGRAM_JSON = "spectrogram.json"
PNG_CONTRACT = "earwitness:spectrogram"
"""Key of the contract in a PNG's metadata."""
PNG_SOURCE = "earwitness:source"
"""Key of what clip an image shows in a PNG's metadata."""


class SpectrogramContract(BaseModel):
    """Everything that decides the pixels of a spectrogram.

    Attributes:
        version: Of this description.
        sample_rate_hz: Rate that all audio is brought to first.
        native_rate: Do not resample: a file is drawn at its own rate as if that were
            ``sample_rate_hz``, so that the image's top is half the file's rate.
        n_fft: Length of window and transform, in samples.
        hop: Samples between the centres of neighbouring frames.
        n_frames: Frames of a clip, which is ``(n_frames - 1) * hop`` samples long; ``None`` is one
            a column. Levels of several frames are averaged to ``width`` columns.
        width: Columns.
        height: Rows, each a band of frequencies.
        scale: How bands are spaced: evenly on the mel scale, in hertz, or in octaves.
        band_hz: Lowest and highest frequency.
        top_db: Levels this far below the clip's loudest, and further, are black.
        colours: What the level becomes; ``grey`` gives images of one channel.
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
        """Samples of the clip that an image shows."""
        return ((self.n_frames or self.width) - 1) * self.hop

    @property
    def clip_s(self) -> float:
        """Seconds of the clip that an image shows, at ``sample_rate_hz``."""
        return self.clip_samples / self.sample_rate_hz

    @property
    def mode(self) -> str:
        """Kind of pixels, as Pillow names it."""
        return "L" if self.colours == "grey" else "RGB"

    def list_differences(self, other: SpectrogramContract) -> Iterator[str]:
        """Yield what differs: what it is here and what it is in the other."""
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
"""How the published pipeline writes the classes, by their number."""

_NUMBERS = dict.fromkeys(REAL_NAMES, 0) | dict.fromkeys(FAKE_NAMES, 1)
_TRUE_FALSE = {"false": 0, "true": 1}
_DROPPED = str.maketrans("", "", " \t-_")


def parse_label(text: str) -> int | None:
    """Return the class that a name stands for, or ``None`` where it stands for none."""
    if text.strip().startswith("-"):  # -1 is no 1
        return None
    return _NUMBERS.get(text.translate(_DROPPED).lower())


def parse_target(text: str) -> int | None:
    """Return the class that a cell of a target column stands for, or ``None``.

    As ``parse_label``; any other spelling of the numbers 0 and 1 counts, and true is fake.
    """
    named = parse_label(text)
    if named is None:
        named = _TRUE_FALSE.get(text.strip().lower())
    if named is not None:
        return named
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in (0, 1) else None


def parse_classes(names: tuple[str, ...]) -> int | None:
    """Return which of two names is that of the fakes, or ``None`` unless each class has one."""
    numbers = [parse_label(name) for name in names]
    return numbers.index(1) if sorted(n for n in numbers if n is not None) == [0, 1] else None
