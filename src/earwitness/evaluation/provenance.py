"""Who judged what, with which versions and files.

Convention: what is not known is ``None``; a run folder tells digests, roots, weights and cards.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Literal

import polars as pl

from earwitness import __version__
from earwitness.core.io import sha256_of
from earwitness.evaluation.schema import (
    DetectorInfo,
    ManifestInfo,
    Mistake,
    Provenance,
    Settings,
    Source,
)
from earwitness.evaluation.sources import Opened, Origins, deduplicate

LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy")
N_WORST = 10


def describe(rows: pl.DataFrame, origins: Origins) -> DetectorInfo:
    """Tell of one detector, with its worst mistakes.

    Args:
        rows: Its rows, as ``gather`` gives them.
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
    """Tell of what was judged, with digests and roots where they are known."""
    return list(_manifests(frame, origins))


def provenance(
    opened: Sequence[Opened], fitted_on: Sequence[Opened], settings: Settings
) -> Provenance:
    """Tell versions, and the files that figures were made from and fitted on."""
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
