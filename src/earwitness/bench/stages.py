"""The benchmark's stage that scores: a part a detector, all of them in one pass.

Conventions: a detector is known by the bytes of its weights, so whether it has to be asked is told
without loading PyTorch. Rows of a detector that changed are dropped before it is asked; those of
the others, and its own where the run was only stopped, are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.bench.config import (
    BenchConfig,
    DataSection,
    DetectorSection,
    ManifestsSection,
)
from earwitness.bench.steps import Inputs, PipelineState, Stage
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import UsageError
from earwitness.core.io import sha256_of
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import Detector
from earwitness.detectors.loading import hash_weights, open_detector
from earwitness.scoring.options import ScoringOptions, ScoringSection, deciding
from earwitness.scoring.run import (
    OnStart,
    predictions_path,
    score_into_own,
    windows_beside,
)
from earwitness.scoring.run_folder import (
    RUN_JSON,
    begin_run,
    check_unique_names,
    copy_manifests,
    drop_changed,
    read_run,
)
from earwitness.splits.build import (
    OMITTED_CSV,
    SplitOptions,
    SplitSet,
    build_folder_splits,
    build_splits,
    write_splits,
)
from earwitness.splits.manifests import (
    SPLITS_JSON,
    list_manifests,
    read_manifest,
    recorded_roots,
)

SCORE = "score"
"""Name of the stage."""


def score_stage(
    config: BenchConfig, starting: OnStart | None = None, *, retry_errors: bool = False
) -> Stage:
    """Return the stage that leaves ``preds/`` in a run folder.

    Args:
        config: What there is to do.
        starting: Called with the number of files to score and of those already scored.
        retry_errors: Try rows again that could not be scored, where a part is done at all.
    """
    options = ScoringOptions(**dict(config.scoring), retry_errors=retry_errors)
    sections = _by_name(config.detectors)

    def inputs(ledger: PipelineState) -> dict[str, Inputs]:
        shared = judged_inputs(ledger) | _options(config.scoring)
        return {name: shared | _identity(section) for name, section in sections.items()}

    def run(ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        manifests = [read_manifest(path) for path in judged(ledger)]
        detectors = [_open(sections[part], config.scoring) for part in parts]
        drop_changed(config.out, manifests, detectors, options)
        begin_run(config.out, manifests, detectors, options)
        score_into_own(manifests, detectors, config.out, options=options, starting=starting)
        return {part: _left(config.out, manifests, part) for part in parts}

    return Stage(SCORE, inputs, run)


def scored(ledger: PipelineState) -> list[Path]:
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
    return {name: str(value) for name, value in scoring if name in deciding("scores", "files")}


def _identity(section: DetectorSection) -> dict[str, str]:
    hashes = hash_weights(section.name, _weights(section))
    return {
        "preprocessing": section.preprocessing,
        "n_encoders": str(section.n_encoders),
        **{f"weights {name}": sha256 for name, sha256 in hashes.items()},
    }


def _weights(section: DetectorSection) -> Mapping[str, Path]:
    return {section.name: section.weights} if section.weights else {}


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


MANIFESTS = "manifests"
"""Name of the stage, and of its folder."""


def manifest_stage(data: DataSection, out: Path) -> Stage:
    """Return the stage that leaves ``manifests/`` in a run folder."""
    folder = out / MANIFESTS
    if data.manifests is not None:
        return _given(data.manifests, folder)
    return _drawn(data, folder, absolute_paths=_wants_absolute(data))


def judged(ledger: PipelineState) -> list[Path]:
    """Return the manifests that the stage left."""
    return [
        ledger.out / name
        for name in ledger.files(MANIFESTS)
        if Path(name).name not in (SPLITS_JSON, OMITTED_CSV)
    ]


def judged_inputs(ledger: PipelineState) -> dict[str, str]:
    """Return what identifies the manifests and where their files lie."""
    sha256 = ledger.files(MANIFESTS)
    named = {f"manifest {p.stem}": sha256[f"{MANIFESTS}/{p.name}"] for p in judged(ledger)}
    roots = judged_roots(ledger)
    return named | {"root": roots[-1].as_posix() if roots else "none"}


def judged_roots(ledger: PipelineState) -> list[Path]:
    """Return the folders that relative paths in the manifests start from."""
    recorded = ledger.out / MANIFESTS / SPLITS_JSON
    return recorded_roots(recorded) if recorded.is_file() else []


def _draw(data: DataSection) -> SplitSet:
    if data.folder is not None:
        own = data.folder
        return build_folder_splits(
            own.path,
            seed=own.seed,
            one_per_group=own.one_per_group,
            absolute_paths=own.absolute_paths,
        )
    return build_splits(SplitOptions(**dict(data.splits or ())))


def _wants_absolute(data: DataSection) -> bool:
    drawn = data.splits or data.folder
    return drawn is not None and drawn.absolute_paths


def _drawn(data: DataSection, folder: Path, *, absolute_paths: bool) -> Stage:
    draw = cache(lambda: _draw(data))

    def inputs(ledger: PipelineState) -> dict[str, Inputs]:  # noqa: ARG001 - the first stage
        return {"": {"what is drawn": _digest(draw()), "absolute paths": str(absolute_paths)}}

    def run(ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - as above, a single part
        written = write_splits(draw(), folder, absolute_paths=absolute_paths)
        beside = [folder / name for name in (SPLITS_JSON, OMITTED_CSV)]
        return {"": [*written, *(path for path in beside if path.is_file())]}

    return Stage(MANIFESTS, inputs, run)


def _digest(splits: SplitSet) -> str:
    """Return the SHA-256 of all that would be written."""
    digest = hashlib.sha256(repr((splits.root, splits.options, splits.warnings)).encode())
    for name, frame in splits.frames.items():
        digest.update(f"{name}\n{frame.write_csv()}".encode())
    for source in splits.sources:
        said = (source.name, source.asked, source.found, source.omitted, source.stratified)
        digest.update(repr(said).encode())
    return digest.hexdigest()


def _given(given: ManifestsSection, folder: Path) -> Stage:
    paths = [path for at in given.files for path in (list_manifests(at) if at.is_dir() else [at])]

    def inputs(ledger: PipelineState) -> dict[str, Inputs]:  # noqa: ARG001 - the first stage
        beside = dict.fromkeys(path.parent / SPLITS_JSON for path in paths)
        files = [*paths, *(path for path in beside if path.is_file())]
        return {"": {str(p): sha256_of(p) for p in files} | {"root": str(given.root)}}

    def run(ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - as above, a single part
        manifests = [read_manifest(path, root=given.root) for path in paths]
        check_unique_names(manifests)
        return {"": copy_manifests(manifests, folder)}

    return Stage(MANIFESTS, inputs, run)


AUDIT = "audit"
"""Name of the stage, and of its folder."""


def audit_stage(config: BenchConfig, starting: OnStart | None = None) -> Stage:
    """Return the stage that leaves ``audit/`` in a run folder.

    Args:
        config: What there is to do.
        starting: Called with the number of files to decode.
    """
    paths = [
        path
        for given in config.audit.against
        for path in (list_manifests(given) if given.is_dir() else [given])
    ]

    def inputs(ledger: PipelineState) -> dict[str, Inputs]:
        cards = hashlib.sha256(json.dumps(_cards(ledger)).encode()).hexdigest()
        others = {f"against {path}": sha256_of(path) for path in paths}
        return {"": judged_inputs(ledger) | others | {"cards": cards, "earwitness": __version__}}

    def run(ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - a single part
        from earwitness.audit.audit import audit_into

        folder = ledger.out / AUDIT
        cards = [DetectorCard.model_validate(card) for card in _cards(ledger)]
        audit_into(
            [read_manifest(path) for path in judged(ledger)],
            folder,
            against=[read_manifest(path) for path in paths],
            detectors=cards,
            n_workers=config.scoring.num_workers,
            on_start=None if starting is None else lambda n_files: starting(n_files, 0),
        )
        return {"": sorted(path for path in folder.iterdir() if path.suffix in (".json", ".csv"))}

    return Stage(AUDIT, inputs, run)


def _cards(ledger: PipelineState) -> list[dict[str, Any]]:
    """Return the cards of the detectors that scored."""
    described = read_run(ledger.out / RUN_JSON) or {}
    return list(described.get("detectors", []))
