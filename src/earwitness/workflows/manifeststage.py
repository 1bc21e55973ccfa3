"""The benchmark's first stage: the manifests of the run folder.

Conventions: drawing costs a look at folders and tables, no audio, so what would be drawn is drawn
every time, and the stage has something to do only where that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from earwitness.core.files import sha256_of
from earwitness.manifests.files import (
    SPLITS_JSON,
    list_manifests,
    read_manifest,
    recorded_roots,
)
from earwitness.manifests.splitfolder import OMITTED_CSV, write_splits
from earwitness.manifests.splits import (
    SplitOptions,
    SplitSet,
    build_folder_splits,
    build_splits,
)
from earwitness.workflows.benchconfig import DataSection, ManifestsSection
from earwitness.workflows.runfolder import copy_manifests, refuse_twins
from earwitness.workflows.stages import Inputs, Ledger, Stage

MANIFESTS = "manifests"
"""Name of the stage, and of its folder."""


def manifest_stage(data: DataSection, out: Path) -> Stage:
    """Return the stage that leaves ``manifests/`` in a run folder."""
    folder = out / MANIFESTS
    if data.manifests is not None:
        return _given(data.manifests, folder)
    return _drawn(data, folder, absolute_paths=_wants_absolute(data))


def judged(ledger: Ledger) -> list[Path]:
    """Return the manifests that the stage left."""
    return [
        ledger.out / name
        for name in ledger.files(MANIFESTS)
        if Path(name).name not in (SPLITS_JSON, OMITTED_CSV)
    ]


def judged_inputs(ledger: Ledger) -> dict[str, str]:
    """Return what identifies the manifests and where their files lie."""
    sha256 = ledger.files(MANIFESTS)
    named = {f"manifest {p.stem}": sha256[f"{MANIFESTS}/{p.name}"] for p in judged(ledger)}
    roots = judged_roots(ledger)
    return named | {"root": roots[-1].as_posix() if roots else "none"}


def judged_roots(ledger: Ledger) -> list[Path]:
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

    def inputs(ledger: Ledger) -> dict[str, Inputs]:  # noqa: ARG001 - the first stage
        return {"": {"what is drawn": _digest(draw()), "absolute paths": str(absolute_paths)}}

    def run(ledger: Ledger, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - as above, a single part
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

    def inputs(ledger: Ledger) -> dict[str, Inputs]:  # noqa: ARG001 - the first stage
        beside = dict.fromkeys(path.parent / SPLITS_JSON for path in paths)
        files = [*paths, *(path for path in beside if path.is_file())]
        return {"": {str(p): sha256_of(p) for p in files} | {"root": str(given.root)}}

    def run(ledger: Ledger, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - as above, a single part
        manifests = [read_manifest(path, root=given.root) for path in paths]
        refuse_twins(manifests)
        return {"": copy_manifests(manifests, folder)}

    return Stage(MANIFESTS, inputs, run)
