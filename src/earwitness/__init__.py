"""How far can a detector of AI-made music be trusted?

Conventions: 0 is real, 1 is fake; scores rise with fakeness. The public names below are loaded
when they are first used: importing the package loads neither torch nor polars.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "earwitness.datasets.catalog",
    "Manifest": "earwitness.core.manifest",
    "Predictions": "earwitness.core.predictions",
    "DetectorCard": "earwitness.core.cards",
    "Estimate": "earwitness.core.estimate",
    "Metrics": "earwitness.evaluation.schema",
    "read_metrics": "earwitness.evaluation.schema",
    "write_metrics": "earwitness.evaluation.schema",
    "AuditReport": "earwitness.audit.schema",
    "read_audit": "earwitness.audit.schema",
    "write_audit": "earwitness.audit.schema",
    "EarwitnessError": "earwitness.core.errors",
    "AudioError": "earwitness.core.errors",
    "catalog_fma": "earwitness.datasets.fma",
    "catalog_fakemusiccaps": "earwitness.datasets.fakemusiccaps",
    "catalog_sonics": "earwitness.datasets.sonics",
    "catalog_folder": "earwitness.datasets.folder",
    "probe_audio": "earwitness.audio.decode",
    "read_audio": "earwitness.audio.decode",
    "read_slice": "earwitness.audio.decode",
    "read_manifest": "earwitness.splits.manifests",
    "write_manifest": "earwitness.splits.manifests",
    "read_predictions": "earwitness.scoring.prediction_files",
    "write_predictions": "earwitness.scoring.prediction_files",
    "SplitOptions": "earwitness.splits.build",
    "build_splits": "earwitness.splits.build",
    "build_folder_splits": "earwitness.splits.build",
    "write_splits": "earwitness.splits.build",
    "open_detector": "earwitness.detectors.loading",
    "list_detectors": "earwitness.detectors.loading",
    "audit": "earwitness.audit.audit",
    "predict": "earwitness.scoring.predict",
    "summarize": "earwitness.evaluation.summarize",
    "evaluate": "earwitness.evaluation.evaluate",
    "compare": "earwitness.evaluation.compare",
    "read_comparison": "earwitness.report.comparison",
    "write_comparison": "earwitness.report.comparison",
    "plot_confusions": "earwitness.report.comparison",
    "report": "earwitness.report.page:write_report",
    "listen": "earwitness.listen.listen",
    "plot_hearing": "earwitness.listen.timeline",
    "train_fakeprint": "earwitness.training.fakeprint",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - the names above


class _Package(types.ModuleType):
    """The package. Its public functions win over rooms of the same name (audit, report, listen)."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES:  # importing earwitness.audit would set it as an attribute
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earwitness' has no attribute {name!r}")
    module, _, own_name = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), own_name or name)


def __dir__() -> list[str]:
    return __all__
