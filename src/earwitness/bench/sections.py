"""Sections of ``bench.yaml`` on what follows the scores, and the types of their values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from earwitness.core.errors import UsageError
from earwitness.scoring.options import Section

FOLDER = "folder"
"""Key of the validation context: where relative paths start."""


def from_folder(path: Path, info: ValidationInfo) -> Path:
    """Return a path as absolute, starting from the folder of the context."""
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


def _suite(name: str, info: ValidationInfo) -> str:
    from earwitness.perturb.suites import SUITES

    return name if name in SUITES else str(from_folder(Path(name), info))


FilePath = Annotated[Path, AfterValidator(from_folder)]
Count = Annotated[int, Field(ge=0, strict=True)]


class AuditSection(Section):
    """Options of the audit; ``against`` lists manifests, or folders, that must not overlap."""

    enabled: bool = True
    against: tuple[FilePath, ...] = ()


class EvaluateSection(Section):
    """Options of ``evaluate``."""

    seed: Count = 0
    resamples: int = Field(default=2000, ge=100, strict=True)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    by: tuple[str, ...] = ()
    aggregate: Literal["mean", "max"] | None = None
    threshold: Annotated[float | str | None, PlainValidator(_rule)] = None
    within: tuple[str, ...] = ()
    calibrate: Literal["temperature", "platt"] | None = None
    p_fake: float = Field(default=0.05, gt=0, lt=1)
    c_miss: float = Field(default=10.0, gt=0)
    c_false_alarm: float = Field(default=1.0, gt=0)


class OutputsSection(Section):
    """Outputs besides predictions, comparison table and metrics."""

    confusion: bool = True
    normalized: bool = True
    latex: bool = True
    report: bool = True
    asvspoof: bool = False


class StressSection(Section):
    """Options of ``stress``, for each manifest; ``detectors`` are some of those that are scored."""

    suite: Annotated[str, AfterValidator(_suite)] = "quick"
    detectors: tuple[str, ...] | None = Field(default=None, min_length=1)
    seed: Count = 0
    keep_audio: bool = False
