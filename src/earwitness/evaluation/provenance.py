"""Provenance: detectors, manifests, versions and files.

Convention: what is not known is ``None``; a run folder tells digests, roots, weights and cards.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import polars as pl

from earwitness import __version__
from earwitness.core.io import sha256_of
from earwitness.core.manifest import PUBLISHED_COLUMNS, Manifest
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Opened, find_manifest, find_run
from earwitness.evaluation.schema import (
    DetectorInfo,
    ManifestInfo,
    Mistake,
    Provenance,
    Settings,
    Source,
)

LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy")
N_WORST = 10


def describe(rows: pl.DataFrame, origins: Origins) -> DetectorInfo:
    """Tell of one detector, with its worst mistakes.

    Args:
        rows: Its rows, as ``load_rows`` returns them.
        origins: What run folders tell.
    """
    items = deduplicate(rows).filter(pl.col("state") == "scored")
    score = pl.coalesce("logit", "pred_prob")
    alarms = items.filter(target=0, pred_label=1).sort(score, descending=True).head(N_WORST)
    misses = items.filter(target=1, pred_label=0).sort(score).head(N_WORST)
    name = rows["detector"][0]
    card = origins.cards.get(name)
    return DetectorInfo(
        name=name,
        preprocessing=_only(rows["preprocessing"]),
        windows=_only(rows["windows"]),
        weights_sha256=(card or {}).get("weights_sha256"),
        card=card,
        worst_false_alarms=[_mistake(row) for row in alarms.iter_rows(named=True)],
        worst_misses=[_mistake(row) for row in misses.iter_rows(named=True)],
    )


def manifest_infos(frame: pl.DataFrame, origins: Origins) -> list[ManifestInfo]:
    """Return the manifests, with digests and roots where they are known."""
    return list(_manifests(frame, origins))


def provenance(
    opened: Sequence[Opened], fitted_on: Sequence[Opened], settings: Settings
) -> Provenance:
    """Return versions, and the files that were evaluated and fitted on."""
    sources = [
        *_sources(opened, "evaluation"),
        *_sources(fitted_on, "calibration"),
    ]
    return Provenance(
        earwitness=__version__,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        sources=sources,
        settings=settings,
    )


def _sources(
    opened: Sequence[Opened], role: Literal["evaluation", "calibration"]
) -> Iterator[Source]:
    paths = {path for one in opened for path in (one.path, one.key) if path is not None}
    hashes = {path: sha256_of(path) for path in paths}
    for one in opened:
        yield Source(
            path=one.source,
            sha256=hashes[one.path] if one.path is not None else None,
            detector=one.predictions.detector,
            dataset=one.predictions.dataset,
            n_rows=one.predictions.frame.height,
            role=role,
            key_sha256=hashes[one.key] if one.key is not None else None,
        )


def _manifests(frame: pl.DataFrame, origins: Origins) -> Iterator[ManifestInfo]:
    for rows in frame.unique(["dataset", "item"], maintain_order=True).partition_by(
        "dataset", maintain_order=True
    ):
        name, n_fake = rows["dataset"][0], int(rows["target"].sum())
        yield ManifestInfo(
            name=name,
            digest=origins.digests.get(name),
            n_items=rows.height,
            n_real=rows.height - n_fake,
            n_fake=n_fake,
            roots=origins.roots.get(name, []),
        )


def _mistake(row: dict[str, Any]) -> Mistake:
    told = {name: row[name] for name in ("dataset", "target", "pred_prob", "logit", "corpus")}
    generator = row["generator"] if row["target"] == 1 else None
    return Mistake(filepath=row["filepath"] or "", generator=generator, **told)


def _only(values: pl.Series) -> str | None:
    """Return what all rows say that say anything; ``None`` where they differ."""
    found = values.drop_nulls().unique()
    return str(found[0]) if len(found) == 1 else None


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
        run = find_run(one, known)
        judged = find_manifest(run, dataset) if run else None
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


def digest_of(predictions: Predictions) -> str | None:
    """Return the digest of the manifest whose columns predictions hold; ``None`` if they do not."""
    frame = predictions.frame
    if not set(PUBLISHED_COLUMNS) <= set(frame.columns):
        return None
    added = {*PREDICTION_COLUMNS, *encoder_columns(frame.columns)}
    own = [name for name in frame.columns if name not in added]
    return Manifest(predictions.dataset, frame.select(own)).digest


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
