"""How far can a detector of AI-made music be trusted?

Conventions: 0 is real, 1 is fake; scores rise with fakeness. The public names below are loaded
when they are first used: importing the package loads neither torch nor polars.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "earwitness.core.catalog",
    "Manifest": "earwitness.core.manifest",
    "Predictions": "earwitness.core.predictions",
    "DetectorCard": "earwitness.core.cards",
    "Estimate": "earwitness.core.estimates",
    "Metrics": "earwitness.core.metrics",
    "read_metrics": "earwitness.core.metrics",
    "write_metrics": "earwitness.core.metrics",
    "AuditReport": "earwitness.core.audits",
    "read_audit": "earwitness.core.audits",
    "write_audit": "earwitness.core.audits",
    "EarwitnessError": "earwitness.core.errors",
    "AudioError": "earwitness.core.errors",
    "catalog_fma": "earwitness.datasets.fma",
    "catalog_fakemusiccaps": "earwitness.datasets.fakemusiccaps",
    "catalog_sonics": "earwitness.datasets.sonics",
    "catalog_folder": "earwitness.datasets.folder",
    "probe_audio": "earwitness.audio.decode",
    "read_audio": "earwitness.audio.decode",
    "read_slice": "earwitness.audio.decode",
    "read_manifest": "earwitness.manifests.files",
    "write_manifest": "earwitness.manifests.files",
    "read_predictions": "earwitness.manifests.scores",
    "write_predictions": "earwitness.manifests.scores",
    "SplitOptions": "earwitness.manifests.splits",
    "build_splits": "earwitness.manifests.splits",
    "build_folder_splits": "earwitness.manifests.splits",
    "write_splits": "earwitness.manifests.splitfolder",
    "open_detector": "earwitness.detectors.opening",
    "list_detectors": "earwitness.detectors.listing",
    "audit": "earwitness.auditing.audit",
    "predict": "earwitness.inference.predict",
    "summarize": "earwitness.evaluation.summarize",
    "evaluate": "earwitness.evaluation.evaluate",
    "compare": "earwitness.evaluation.compare",
    "read_comparison": "earwitness.reporting.tables",
    "write_comparison": "earwitness.reporting.tables",
    "plot_confusions": "earwitness.reporting.figures",
    "report": "earwitness.reporting.page:write_report",
    "listen": "earwitness.workflows.listen",
    "plot_hearing": "earwitness.reporting.timelines",
    "train_fakeprint": "earwitness.training.fit",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - the names above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earwitness' has no attribute {name!r}")
    module, _, own_name = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), own_name or name)


def __dir__() -> list[str]:
    return __all__
