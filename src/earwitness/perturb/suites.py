"""Suites: the perturbations of one run, ``quick``, ``sensitivity``, ``full`` or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from earwitness.core.errors import PerturbationError, first_line
from earwitness.core.io import first_problem, missing
from earwitness.perturb.base import AnyPerturbation, stream
from earwitness.perturb.catalog import PERTURBATIONS, draw_for, draw_kind

QUICK = (
    *("mp3_128", "mp3_32", "aac_64", "opus_32", "resample_16000", "gain_db_-12"),
    *("noise_white_snr_20", "pitch_semitones_+2", "tempo_1.05", "rerecording"),
)
"""Names of the quick suite: one of each family that is known to change verdicts."""

SENSITIVITY = (
    *("decoder_ffmpeg", "resample_16000", "resample_sinc_16000", "resample_swresample_16000"),
    *("offset_ms_+10", "offset_ms_-10", "offset_window_+0.5", "offset_window_-0.5"),
    *("mono_mean", "mono_left"),
)
"""Names of the suite of changes that should change no verdict."""

SUITES = ("quick", "sensitivity", "full")
"""Names of the suites built in."""

_EXPECTED = f"{', '.join(SUITES)} or a YAML file"


class Entry(BaseModel):
    """A perturbation of a suite: a name of the registry, or a new name with kind and options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^\w[\w.+-]*$", max_length=100)
    kind: str | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _take_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def draw(self, *, seed: int, item: str) -> AnyPerturbation:
        """Draw the perturbation for an item; ``PerturbationError`` for an invalid option."""
        if self.kind is None:
            return draw_for(self.name, seed=seed, item=item)
        return draw_kind(self.kind, stream(self.name, seed=seed, item=item), **self.options)


class Suite(BaseModel):
    """The perturbations of a run, in order, and the seed of their draws."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    perturbations: tuple[Entry, ...] = Field(min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [entry.name for entry in self.perturbations]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{repeated[0]!r} is listed twice, expected distinct names")
        for entry in self.perturbations:
            if entry.options and entry.kind is None:
                raise ValueError(f"{entry.name!r} has options, expected a kind with them")
            try:
                entry.draw(seed=self.seed, item="")
            except PerturbationError as error:
                raise ValueError(str(error)) from None
        return self


def load_suite(name: str, *, seed: int = 0) -> Suite:
    """Return ``quick``, ``sensitivity`` or ``full`` with a seed, or that of a YAML file.

    Raises:
        PerturbationError: The file is missing or invalid.
    """
    if name == "quick":
        names: tuple[str, ...] = QUICK
    elif name == "sensitivity":
        names = SENSITIVITY
    elif name == "full":
        names = tuple(name for name in PERTURBATIONS if PERTURBATIONS.is_built_in(name))
    else:
        return read_suite(Path(name), seed=seed)
    return Suite(perturbations=tuple(Entry(name=name) for name in names), seed=seed)


def read_suite(path: Path, *, seed: int = 0) -> Suite:
    """Read a suite from a YAML file, with a seed if it has none of its own.

    Raises:
        PerturbationError: The file is missing or invalid.
    """
    if not path.is_file():
        raise PerturbationError(f"{missing(path)}; expected {_EXPECTED}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        seeded = {"seed": seed} | content if isinstance(content, dict) else content
        return Suite.model_validate(seeded)
    except ValidationError as error:
        raise PerturbationError(f"{path}: {first_problem(error)}") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise PerturbationError(f"{path}: {first_line(error)}; expected a YAML file") from None
