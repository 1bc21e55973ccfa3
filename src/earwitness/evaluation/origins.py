"""What a run folder tells of predictions: what was judged, where it lay, and by whom.

Conventions: ``<run>/preds/<manifest>/<detector>.csv`` belongs to ``<run>/run.json``. Where two runs
tell different things of one name, neither is believed, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.core.files import file_stem
from earwitness.core.manifest import PUBLISHED_COLUMNS, Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.evaluation.opened import Opened
from earwitness.passes.resume import RUN_JSON, read_run


@dataclass(frozen=True)
class Origins:
    """What is known of where predictions come from.

    Attributes:
        digests: Dataset → digest of its manifest.
        roots: Dataset → folders that its relative paths start from.
        cards: Detector → its card.
        notes: What runs contradict each other in.
    """

    digests: dict[str, str] = field(default_factory=dict)
    roots: dict[str, list[str]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def trace(opened: Sequence[Opened]) -> Origins:
    """Return what run folders, or the predictions themselves, tell.

    Raises:
        RunError: A ``run.json`` cannot be read as one.
    """
    digests: dict[str, list[str]] = {}
    cards: dict[str, list[dict[str, Any]]] = {}
    origins = Origins()
    known: dict[Path, dict[str, Any] | None] = {}
    for one in opened:
        dataset, detector = one.predictions.dataset, one.predictions.detector
        run = _run_of(one, known)
        judged = _manifest_of(run, dataset) if run else None
        digest = judged.get("digest") if judged else digest_of(one.predictions)
        digests.setdefault(dataset, []).extend([digest] if digest else [])
        if judged:
            seen = origins.roots.setdefault(dataset, [])
            seen += [root for root in judged.get("roots", []) if root not in seen]
        told = (card for card in (run or {}).get("detectors", []) if card.get("name") == detector)
        cards.setdefault(detector, []).extend(told)
    _keep_agreed("manifest", digests, origins.digests, origins.notes)
    _keep_agreed("card", cards, origins.cards, origins.notes)
    return origins


def find_roots(opened: Sequence[Opened]) -> list[list[str]]:
    """Return the folders that relative paths of each start from, as run folders say it.

    Raises:
        RunError: A ``run.json`` cannot be read as one.
    """
    known: dict[Path, dict[str, Any] | None] = {}
    found = []
    for one in opened:
        run = _run_of(one, known)
        judged = _manifest_of(run, one.predictions.dataset) if run else None
        found.append([str(root) for root in (judged or {}).get("roots", [])])
    return found


def digest_of(predictions: Predictions) -> str | None:
    """Return the digest of the manifest whose columns predictions hold; ``None`` if they do not."""
    frame = predictions.frame
    if not set(PUBLISHED_COLUMNS) <= set(frame.columns):
        return None
    added = {*PREDICTION_COLUMNS, *encoder_columns(frame.columns)}
    own = [name for name in frame.columns if name not in added]
    return Manifest(predictions.dataset, frame.select(own)).digest


def _run_of(one: Opened, known: dict[Path, dict[str, Any] | None]) -> dict[str, Any] | None:
    if one.path is None:
        return None
    folder = one.path.absolute().parent.parent
    if folder.name != "preds":
        return None
    path = folder.parent / RUN_JSON
    if path not in known:
        known[path] = read_run(path)
    return known[path]


def _manifest_of(run: dict[str, Any], dataset: str) -> dict[str, Any] | None:
    for name, told in run["manifests"].items():
        if dataset in (name, file_stem(name)) and isinstance(told, dict):
            return dict(told)
    return None


def _keep_agreed(
    what: str, told: dict[str, list[Any]], agreed: dict[str, Any], notes: list[str]
) -> None:
    for name, values in told.items():
        if _all_alike(values):
            agreed[name] = values[0]
        elif values:
            notes.append(f"{name}: the sources tell of different {what}s by this name.")


def _all_alike(values: Iterable[Any]) -> bool:
    values = list(values)
    return bool(values) and all(value == values[0] for value in values)
