"""Manifests and detectors of a benchmark, as several stages need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from earwitness.bench.config import DetectorSection
from earwitness.bench.steps import PipelineState
from earwitness.core.errors import UsageError
from earwitness.detectors.base import AnyDetector
from earwitness.detectors.loading import detector_name, hash_weights, open_detector
from earwitness.scoring.options import ScoringSection
from earwitness.splits import build
from earwitness.splits.manifests import SPLITS_JSON, recorded_roots

MANIFESTS = "manifests"


def list_manifests(state: PipelineState) -> list[Path]:
    """Return the paths of the manifests."""
    paths = [state.out / name for name in state.files(MANIFESTS)]
    return [path for path in paths if path.name not in (SPLITS_JSON, build.OMITTED_CSV)]


def manifest_inputs(state: PipelineState) -> dict[str, str]:
    """Return the digests of the manifests, and the root of their relative paths."""
    sha256 = state.files(MANIFESTS)
    root = {"root": roots[-1].as_posix() if (roots := audio_roots(state)) else "none"}
    names = [path.name for path in list_manifests(state)]
    return {f"manifest {Path(n).stem}": sha256[f"{MANIFESTS}/{n}"] for n in names} | root


def audio_roots(state: PipelineState) -> list[Path]:
    """Return the roots of the manifests' relative paths."""
    recorded = state.out / MANIFESTS / SPLITS_JSON
    return recorded_roots(recorded) if recorded.is_file() else []


def name_sections(sections: Sequence[DetectorSection]) -> dict[str, DetectorSection]:
    """Return sections by the names of their detectors; ``UsageError`` if two are the same."""
    named: dict[str, DetectorSection] = {}
    for section in sections:
        name = detector_name(section.name, _weights(section))
        if name in named:
            raise UsageError(f"detectors: two are named {name!r}; rename one of the folders")
        named[name] = section
    return named


def detector_inputs(section: DetectorSection) -> dict[str, str]:
    """Return the options of a detector, and the digests of its weights."""
    # Weights are known by their bytes, so an unchanged detector is never opened.
    hashes = hash_weights(section.name, _weights(section))
    options = {"preprocessing": section.preprocessing, "n_encoders": str(section.n_encoders)}
    if section.fake_label is not None:
        options["fake_label"] = section.fake_label
    return options | {f"weights {name}": sha256 for name, sha256 in hashes.items()}


def _weights(section: DetectorSection) -> dict[str, Path]:
    return {section.name: section.weights} if section.weights else {}


def open_sections(
    sections: Sequence[DetectorSection], scoring: ScoringSection
) -> list[AnyDetector]:
    """Open detectors with their own options and those of the run."""
    shared = scoring.model_dump(include={"device", "precision", "backend", "max_requests"})
    return [
        open_detector(
            section.name,
            weights=_weights(section),
            n_encoders=section.n_encoders,
            preprocessing=section.preprocessing,
            fake_label=section.fake_label,
            **shared,
        )
        for section in sections
    ]
