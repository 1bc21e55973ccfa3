"""The benchmark's stage that scores: a part a detector, all of them in one pass.

Conventions: a detector is known by the bytes of its weights, so whether it has to be asked is told
without loading PyTorch. Rows of a detector that changed are dropped before it is asked; those of
the others, and its own where the run was only stopped, are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import Detector
from earwitness.detectors.opening import open_detector
from earwitness.detectors.weightfiles import hash_weights
from earwitness.manifests.files import read_manifest
from earwitness.workflows.benchconfig import BenchConfig, DetectorSection, ScoringSection
from earwitness.workflows.manifeststage import judged, judged_inputs
from earwitness.workflows.runfolder import begin_run, drop_changed
from earwitness.workflows.scoring import (
    ScoringOptions,
    Starting,
    predictions_path,
    score_into_own,
    windows_beside,
)
from earwitness.workflows.stages import Inputs, Ledger, Stage

SCORE = "score"
"""Name of the stage."""

_DECIDING = ("windows", "keep_windows", "use_skip_time", "threshold", "precision")


def score_stage(
    config: BenchConfig, starting: Starting | None = None, *, retry_errors: bool = False
) -> Stage:
    """Return the stage that leaves ``preds/`` in a run folder.

    Args:
        config: What there is to do.
        starting: Told how many files there are to score, and how many are scored already.
        retry_errors: Try rows again that could not be scored, where a part is done at all.
    """
    options = _scoring_options(config.scoring, retry_errors=retry_errors)
    sections = _by_name(config.detectors)

    def inputs(ledger: Ledger) -> dict[str, Inputs]:
        shared = judged_inputs(ledger) | _options(config.scoring)
        return {name: shared | _identity(section) for name, section in sections.items()}

    def run(ledger: Ledger, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        manifests = [read_manifest(path) for path in judged(ledger)]
        detectors = [_open(sections[part], config.scoring) for part in parts]
        drop_changed(config.out, manifests, detectors, vars(options))
        begin_run(config.out, manifests, detectors, vars(options), resume="missing")
        score_into_own(manifests, detectors, config.out, options=options, starting=starting)
        return {part: _left(config.out, manifests, part) for part in parts}

    return Stage(SCORE, inputs, run)


def scored(ledger: Ledger) -> list[Path]:
    """Return the prediction files that the stage left, manifests outermost."""
    detectors = ledger.stages.get(SCORE, {})
    return [
        predictions_path(ledger.out, manifest.stem, detector)
        for manifest in judged(ledger)
        for detector in detectors
    ]


def _by_name(sections: Sequence[DetectorSection]) -> dict[str, DetectorSection]:
    named: dict[str, DetectorSection] = {}
    for section in sections:
        folder = Path(section.name)
        name = folder.resolve().name if folder.is_absolute() else section.name
        if name in named:
            raise UsageError(f"detectors: two go by the name {name!r}; rename one of the folders")
        named[name] = section
    return named


def _options(scoring: ScoringSection) -> dict[str, str]:
    return {name: str(getattr(scoring, name)) for name in _DECIDING}


def _identity(section: DetectorSection) -> dict[str, str]:
    hashes = hash_weights(section.name, _weights(section))
    return {
        "preprocessing": section.preprocessing,
        "n_encoders": str(section.n_encoders),
        **{f"weights {name}": sha256 for name, sha256 in hashes.items()},
    }


def _weights(section: DetectorSection) -> Mapping[str, Path]:
    return {section.name: section.weights} if section.weights else {}


def _scoring_options(scoring: ScoringSection, *, retry_errors: bool) -> ScoringOptions:
    return ScoringOptions(
        windows=scoring.windows,
        use_skip_time=scoring.use_skip_time,
        keep_windows=scoring.keep_windows,
        threshold=scoring.threshold,
        batch_size=scoring.batch_size,
        n_workers=scoring.num_workers,
        retry_errors=retry_errors,
    )


def _open(section: DetectorSection, scoring: ScoringSection) -> Detector:
    return open_detector(
        section.name,
        weights=_weights(section),
        device=scoring.device,
        n_encoders=section.n_encoders,
        preprocessing=section.preprocessing,
        precision=scoring.precision,
        backend=scoring.backend,
    )


def _left(out: Path, manifests: Sequence[Manifest], detector: str) -> list[Path]:
    paths = [predictions_path(out, manifest.name, detector) for manifest in manifests]
    return paths + [beside for path in paths if (beside := windows_beside(path)).is_file()]
