"""The benchmark's stage that audits what is judged: ``audit/`` in a run folder.

Conventions: it comes after scoring, whose cards tell what each detector was made with. What was
heard of files is kept in ``audit/store``, whatever ends a run; the stage is done again where
manifests, cards or the sets that these must not touch differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.core.cards import DetectorCard
from earwitness.core.files import sha256_of
from earwitness.manifests.files import list_manifests, read_manifest
from earwitness.passes.resume import RUN_JSON, read_run
from earwitness.workflows.benchconfig import BenchConfig
from earwitness.workflows.manifeststage import judged, judged_inputs
from earwitness.workflows.scoring import Starting
from earwitness.workflows.stages import Inputs, Ledger, Stage

AUDIT = "audit"
"""Name of the stage, and of its folder."""


def audit_stage(config: BenchConfig, starting: Starting | None = None) -> Stage:
    """Return the stage that leaves ``audit/`` in a run folder.

    Args:
        config: What there is to do.
        starting: Told how many files there are to hear.
    """
    paths = [
        path
        for given in config.audit.against
        for path in (list_manifests(given) if given.is_dir() else [given])
    ]

    def inputs(ledger: Ledger) -> dict[str, Inputs]:
        told = hashlib.sha256(json.dumps(_cards(ledger)).encode()).hexdigest()
        others = {f"against {path}": sha256_of(path) for path in paths}
        return {"": judged_inputs(ledger) | others | {"cards": told, "earwitness": __version__}}

    def run(ledger: Ledger, parts: Sequence[str]) -> dict[str, Sequence[Path]]:  # noqa: ARG001 - a single part
        from earwitness.workflows.audit import AuditOptions, audit_into

        folder = ledger.out / AUDIT
        cards = [DetectorCard.model_validate(card) for card in _cards(ledger)]
        audit_into(
            [read_manifest(path) for path in judged(ledger)],
            folder,
            against=[read_manifest(path) for path in paths],
            options=AuditOptions(detectors=cards, n_workers=config.scoring.num_workers),
            starting=None if starting is None else lambda n_files: starting(n_files, 0),
        )
        return {"": sorted(path for path in folder.iterdir() if path.suffix in (".json", ".csv"))}

    return Stage(AUDIT, inputs, run)


def _cards(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the cards of the detectors that scored."""
    described = read_run(ledger.out / RUN_JSON) or {}
    return list(described.get("detectors", []))
