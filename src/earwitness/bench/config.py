"""The sections of ``bench.yaml``.

Conventions: a key that is not known is an error; a relative path starts from the folder that the
file lies in (the working folder for a configuration made in Python) and is absolute afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from earwitness.core.errors import UsageError
from earwitness.core.registry import nearest
from earwitness.datasets.catalog import LAYOUTS
from earwitness.datasets.fma import ENCODERS
from earwitness.detectors.hub import is_hub_id
from earwitness.detectors.loading import DETECTORS, published_name
from earwitness.scoring.options import DetectorOptions, ScoringSection, Section

FOLDER = "folder"
"""Key of the validation context that says where relative paths start."""


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get(FOLDER, Path())
    return Path(os.path.abspath(base / path.expanduser()))  # noqa: PTH100 - links stay as they are


def _rule(value: Any) -> float | str | None:
    if value is None:
        return None
    from earwitness.evaluation.thresholds import EXPECTED, parse_rule

    try:
        parse_rule(value)
    except UsageError:
        raise ValueError(f"expected {EXPECTED}") from None
    return value if isinstance(value, str) else float(value)


FilePath = Annotated[Path, AfterValidator(_from_folder)]
Count = Annotated[int, Field(ge=0, strict=True)]


class SplitsSection(Section):
    """Data sets in the published tree; see ``SplitOptions``, whose names these are."""

    root: FilePath = Field(default=Path(), validate_default=True)
    deezer_split_npy: FilePath | None = None
    deezer_split_name: Literal["train", "valid", "validation", "test"] = "valid"
    fma_real_root: FilePath | None = None
    fma_fake_root: FilePath | None = None
    fma_encoders: tuple[str, ...] = ENCODERS
    fakemusiccaps_root: FilePath | None = None
    sonics_root: FilePath | None = None
    sonics_eval_csv: FilePath | None = None
    sonics_train_csv: FilePath | None = None
    n_fma_real: Count = 2000
    n_fma_fake: Count = 2000
    n_sonics_real: Count = 2000
    n_sonics_fake: Count = 2000
    n_fakemusiccaps_fake: Count = 2000
    seed: Count = 42
    train_check: bool | tuple[Literal["path", "name", "song"], ...] = True
    one_per_group: bool = False
    stratify_fakemusiccaps: bool = True
    absolute_paths: bool = False
    datasets: dict[str, FilePath | None] | None = None
    n_dataset: Count = 2000

    @field_validator("datasets")
    @classmethod
    def _are_known(cls, datasets: dict[str, Path | None] | None) -> dict[str, Path | None] | None:
        for name in datasets or ():
            if name not in LAYOUTS:
                hint = nearest(name, list(LAYOUTS)) or f"; known: {', '.join(sorted(LAYOUTS))}"
                raise ValueError(f"no dataset named {name!r}{hint}")
        return datasets


class FolderSection(Section):
    """A folder of anyone's own, ``real/**`` and ``fake/<generator>/**``."""

    path: FilePath
    seed: Count = 42
    one_per_group: bool = False
    absolute_paths: bool = False


class ManifestsSection(Section):
    """Manifests that are there already.

    Attributes:
        files: Manifests, or folders of them.
        root: What their relative paths start from; see ``read_manifest``.
    """

    files: tuple[FilePath, ...] = Field(min_length=1)
    root: FilePath | None = None


class DataSection(Section):
    """What is judged: exactly one of the three."""

    splits: SplitsSection | None = None
    folder: FolderSection | None = None
    manifests: ManifestsSection | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"found {found}, expected one of splits, folder, manifests")
        return self


class _NamedWeights(Section):
    name: str = Field(min_length=1)
    weights: FilePath | None = None


class DetectorSection(DetectorOptions, _NamedWeights):
    """A detector and its options; a name alone may stand for the section.

    Attributes:
        name: Registered name, hub id, or folder of weights.
        weights: Path of its weights; see ``open_detector``.
    """

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _may_be_a_folder(cls, name: str, info: ValidationInfo) -> str:
        folder = _from_folder(Path(name), info)
        if name in DETECTORS or published_name(name):
            return name
        if folder.is_dir():
            return str(folder)
        if is_hub_id(name):
            return name
        hint = nearest(name, list(DETECTORS)) or f"; known: {', '.join(DETECTORS)}"
        raise ValueError(f"expected a detector's name, a hub id or a folder of weights{hint}")


class AuditSection(Section):
    """What is asked of the manifests themselves; see ``audit``.

    Attributes:
        enabled: Whether they are audited.
        against: Sets that they must not touch: manifests, or folders of them.
    """

    enabled: bool = True
    against: tuple[FilePath, ...] = ()


class EvaluateSection(Section):
    """What is said of the scores; see ``evaluate``."""

    seed: Count = 0
    resamples: int = Field(default=2000, ge=100, strict=True)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    by: tuple[str, ...] = ()
    aggregate: Literal["mean", "max"] | None = None
    threshold: Annotated[float | str | None, PlainValidator(_rule)] = None
    calibrate: Literal["temperature", "platt"] | None = None
    p_fake: float = Field(default=0.05, gt=0, lt=1)
    c_miss: float = Field(default=10.0, gt=0)
    c_false_alarm: float = Field(default=1.0, gt=0)


class OutputsSection(Section):
    """What is written beside predictions, comparison table and metrics."""

    confusion: bool = True
    normalized: bool = True
    latex: bool = True
    report: bool = True
    asvspoof: bool = False


class BenchConfig(Section):
    """A whole benchmark.

    Attributes:
        out: The run folder.
        data: What is judged.
        detectors: Who judges.
        scoring: How it is scored.
        audit: What is asked of the manifests themselves.
        evaluate: What is said of the scores.
        outputs: What else is written.
    """

    out: FilePath = Field(default=Path("run"), validate_default=True)
    data: DataSection
    detectors: tuple[DetectorSection, ...] = Field(min_length=1)
    scoring: ScoringSection = ScoringSection()
    audit: AuditSection = AuditSection()
    evaluate: EvaluateSection = EvaluateSection()
    outputs: OutputsSection = OutputsSection()
