"""A SpecTTTra folder: names of its files, and the parts of its config that scoring depends on.

Conventions: names are those of the file; what only training needs is passed over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from earwitness.core.errors import WeightsError

CONFIG_JSON = "config.json"
SAFETENSORS = "model.safetensors"
PYTORCH_BIN = "pytorch_model.bin"
STATE_FILES = (SAFETENSORS, PYTORCH_BIN)
"""Names of files of weights beside it; the first that is there is taken."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AudioSettings(_Part):
    """The audio of a clip.

    Attributes:
        sample_rate: In hertz.
        max_len: Samples of a clip.
        normalize: Whether samples are divided by their standard deviation.
        skip_time: Whether the manifest's ``skip_time`` is left out at the start of a file.
    """

    sample_rate: int = Field(gt=0, le=768_000)
    max_len: int = Field(gt=0, le=1 << 28)
    normalize: bool | Literal["std"]
    skip_time: bool = False


class MelSettings(_Part):
    """The mel spectrogram; frequencies in hertz, lengths in samples."""

    n_fft: int = Field(gt=0, le=1 << 16)
    hop_length: int = Field(gt=0, le=1 << 16)
    win_length: int = Field(gt=0, le=1 << 16)
    n_mels: int = Field(gt=0, le=1 << 12)
    f_min: float = Field(ge=0, allow_inf_nan=False)
    f_max: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    power: Literal[2]
    top_db: float = Field(gt=0, allow_inf_nan=False)
    norm: Literal["mean_std"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length}, expected at most n_fft {self.n_fft}")
        return self

    def band_hz(self, sample_rate_hz: int) -> tuple[float, float]:
        """Return the lowest and the highest frequency that its filters look at."""
        return self.f_min, sample_rate_hz / 2 if self.f_max is None else self.f_max


_Side = Annotated[int, Field(gt=0, le=1 << 14)]
_MOST_PARAMETERS = 1 << 28
"""Ten times what the largest published network has."""


class ModelSettings(_Part):
    """The transformer; ``input_shape`` is (bands, frames) after resizing."""

    name: Literal["SpecTTTra"]
    embed_dim: int = Field(gt=0, le=1 << 13)
    num_heads: int = Field(gt=0, le=1 << 10)
    num_layers: int = Field(gt=0, le=200)
    mlp_ratio: float = Field(gt=0, le=32)
    f_clip: int = Field(gt=0, le=1 << 14)
    t_clip: int = Field(gt=0, le=1 << 14)
    input_shape: tuple[_Side, _Side]
    pre_norm: bool
    pe_learnable: Literal[True]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim {self.embed_dim}, expected a multiple of num_heads {self.num_heads}"
            )
        n_bands, n_frames = self.input_shape
        if n_bands < self.f_clip or n_frames < self.t_clip:
            raise ValueError(
                f"input_shape {n_bands} × {n_frames}, expected at least f_clip × t_clip, "
                f"{self.f_clip} × {self.t_clip}"
            )
        if int(self.embed_dim * self.mlp_ratio) < 1:
            raise ValueError(f"mlp_ratio {self.mlp_ratio:g}, expected one that leaves a layer")
        if self.n_parameters > _MOST_PARAMETERS:
            raise ValueError(
                f"a network of {self.n_parameters:.1e} parameters, expected at most "
                f"{_MOST_PARAMETERS:.1e}"
            )
        return self

    @property
    def n_parameters(self) -> int:
        """Parameters that the network has, biases and norms left out."""
        n_bands, n_frames = self.input_shape
        block = self.embed_dim**2 * 4 + 2 * self.embed_dim * int(self.embed_dim * self.mlp_ratio)
        tokenizers = n_bands * self.t_clip + n_frames * self.f_clip + self.n_tokens
        return block * self.num_layers + tokenizers * self.embed_dim

    @property
    def n_tokens(self) -> int:
        """Tokens that an image becomes."""
        return self.input_shape[0] // self.f_clip + self.input_shape[1] // self.t_clip


class SpectttraConfig(_Part):
    """What scoring needs to know of a SpecTTTra folder."""

    audio: AudioSettings
    melspec: MelSettings
    model: ModelSettings
    num_classes: Literal[1]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        rate_hz = self.audio.sample_rate
        low, high = self.melspec.band_hz(rate_hz)
        if not low < high <= rate_hz / 2:
            raise ValueError(
                f"melspec f_min {low:g} and f_max {high:g}, expected rising frequencies up to "
                f"{rate_hz / 2:g} Hz (half the sample rate)"
            )
        if self.audio.max_len <= self.melspec.n_fft // 2:
            raise ValueError(
                f"audio.max_len {self.audio.max_len}, expected over {self.melspec.n_fft // 2} "
                "samples (half of n_fft)"
            )
        return self


def find_state(path: Path) -> Path:
    """Return the file of weights that a path stands for.

    Args:
        path: A folder that holds one of ``STATE_FILES``, or a file of weights.

    Raises:
        WeightsError: There is none.
    """
    if path.is_file():
        return path
    for name in STATE_FILES:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path}: expected {' or '.join(STATE_FILES)} there, found neither")


def read_config(folder: Path) -> SpectttraConfig:
    """Read the ``config.json`` of a folder of weights.

    Raises:
        WeightsError: It is not there, no such file, or of another network.
    """
    path = folder / CONFIG_JSON
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: no JSON ({error}), expected a detector's config") from error
    if (name := _network_of(content)) not in (None, "SpecTTTra"):
        raise WeightsError(
            f"{path}: model.name {name!r}, expected 'SpecTTTra' (the ViT is not run)"
        )
    try:
        return SpectttraConfig.model_validate(content)
    except ValidationError as error:
        raise WeightsError(f"{path}: {_first_problem(error)}") from error


def _network_of(content: Any) -> Any:
    model = content.get("model") if isinstance(content, dict) else None
    return model.get("name") if isinstance(model, dict) else None


def _first_problem(error: ValidationError) -> str:
    problems = error.errors()
    where = ".".join(str(part) for part in problems[0]["loc"])
    others = f" (and {len(problems) - 1} more problems)" if problems[1:] else ""
    return f"{where}{': ' if where else ''}{problems[0]['msg']}{others}".replace("\n", " ")
