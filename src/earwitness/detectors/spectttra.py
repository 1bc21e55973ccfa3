"""Config files and cards of the SpecTTTra detectors, without importing torch.

Field names are those of ``config.json``; fields for training only are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import sha256_of
from earwitness.detectors.base import (
    CARD_JSON,
    CONFIG_JSON,
    Detector,
    DetectorKind,
    OpenOptions,
    read_card,
)

SAFETENSORS = "model.safetensors"
PYTORCH_BIN = "pytorch_model.bin"
STATE_FILES = (SAFETENSORS, PYTORCH_BIN)
"""File names of weights, in order of preference."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class AudioSettings(_Part):
    """Audio settings: ``max_len`` samples a clip, ``normalize`` to unit standard deviation."""

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
        """Return the lowest and the highest frequency of the filters."""
        return self.f_min, sample_rate_hz / 2 if self.f_max is None else self.f_max


_Side = Annotated[int, Field(gt=0, le=1 << 14)]
_MAX_PARAMETERS = 1 << 28


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
        if self.n_parameters > _MAX_PARAMETERS:
            raise ValueError(
                f"{self.n_parameters:.1e} parameters, expected at most {_MAX_PARAMETERS:.1e}"
            )
        return self

    @property
    def n_parameters(self) -> int:
        """Number of parameters, without biases and norms."""
        n_bands, n_frames = self.input_shape
        block = self.embed_dim**2 * 4 + 2 * self.embed_dim * int(self.embed_dim * self.mlp_ratio)
        tokenizers = n_bands * self.t_clip + n_frames * self.f_clip + self.n_tokens
        return block * self.num_layers + tokenizers * self.embed_dim

    @property
    def n_tokens(self) -> int:
        """Number of tokens of an image."""
        return self.input_shape[0] // self.f_clip + self.input_shape[1] // self.t_clip


class SpectttraConfig(_Part):
    """Settings of ``config.json`` used for scoring."""

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
    """Return the file of weights at a path or in a folder, else raise ``WeightsError``."""
    if path.is_file():
        return path
    for name in STATE_FILES:
        if (path / name).is_file():
            return path / name
    raise WeightsError(f"{path}: expected {' or '.join(STATE_FILES)} there, found neither")


def read_config(folder: Path) -> SpectttraConfig:
    """Read the ``config.json`` of a folder; raise ``WeightsError`` if missing or invalid."""
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


_FINE_TUNED_FIELDS = (
    *("kind", "trained_on", "selected_on", "training_items"),
    *("licence", "weights_from", "limits", "details"),
)
"""Fields taken from the card of a network fine-tuned here."""
_RATE_HZ = 16_000


def describe_spectttra(weights: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with these weights, or of the published name.

    Raises:
        WeightsError: Files are missing or damaged, or do not fit the name.
    """
    if weights is None:
        seconds = int((options.published or options.name).rpartition("-")[2].removesuffix("s"))
        audio = AudioSettings(sample_rate=_RATE_HZ, max_len=seconds * _RATE_HZ, normalize=True)
        return _card(audio, (20.0, _RATE_HZ / 2), options, None)
    path = find_state(weights)
    config = read_config(path.parent)
    if options.published:
        check_name(options.published, config, path.parent / CONFIG_JSON)
    sha256 = sha256_of(path)
    band_hz = config.melspec.band_hz(config.audio.sample_rate)
    card = _card(config.audio, band_hz, options, sha256)
    tuned = _card_beside(path.parent, sha256)
    return card.model_copy(
        update={name: getattr(tuned, name) for name in _FINE_TUNED_FIELDS if tuned}
    )


def _card_beside(folder: Path, weights_sha256: str) -> DetectorCard | None:
    """Return the card of a network fine-tuned here, if it is for these weights."""
    if not (folder / CARD_JSON).is_file():
        return None
    card = read_card(folder)
    return card if card.weights_sha256 == weights_sha256 else None


def check_name(name: str, config: SpectttraConfig, path: Path) -> None:
    """Raise ``WeightsError`` unless the config is that of a published name."""
    size, duration = name.split("-")[-2:]
    model, audio = config.model, config.audio
    found = (model.f_clip, model.t_clip, audio.max_len / audio.sample_rate)
    token_sizes = {"alpha": (1, 3), "beta": (3, 5), "gamma": (5, 7)}
    expected = (*token_sizes[size], float(duration.removesuffix("s")))
    if found != expected:
        shown = "f_clip {:g}, t_clip {:g}, {:g} s".format
        raise WeightsError(f"{path}: {shown(*found)}; expected {shown(*expected)} of {name}")


def _card(
    audio: AudioSettings,
    band_hz: tuple[float, float],
    options: OpenOptions,
    weights_sha256: str | None,
) -> DetectorCard:
    """Return the card; training data is known only for published names."""
    published = options.published is not None
    return DetectorCard(
        name=options.name,
        kind=options.published or "spectttra",
        summary="transformer over spectral and temporal stretches of a mel spectrogram",
        contract=ClipContract(
            sample_rate_hz=audio.sample_rate,
            native_rate=options.preprocessing == "published",
            clip_samples=audio.max_len,
            crop="three_quarters",
            skip_time=audio.skip_time,
            mono=True,
        ),
        preprocessing=options.preprocessing,
        precision=options.precision,
        band_hz=band_hz,
        trained_on=("SONICS train",) if published else None,
        selected_on=("SONICS valid",) if published else None,
        licence="MIT" if published else "the weights are their trainer's; the method is MIT",
        source=(
            "Rahman et al., ICLR 2025, SONICS: Synthetic Or Not, Identifying Counterfeit Songs; "
            "github.com/awsaf49/sonics"
        ),
        weights_from=(
            "fetched from the Hugging Face hub (awsaf49) when it is named"
            if published
            else "a folder laid out as on the Hugging Face hub"
        ),
        limits=(
            "Knows the song generators it was trained on (published weights: Suno and Udio), up to "
            f"{band_hz[1]:g} Hz. Noise makes it say fake."
        ),
        weights_sha256=weights_sha256,
    )


def _open(weights: Path, options: OpenOptions) -> Detector:
    from earwitness.detectors.nets.spectttra import open_spectttra

    return open_spectttra(weights, options)


SPECTTTRA = DetectorKind(describe_spectttra, _open)
