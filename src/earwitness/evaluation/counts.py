"""Metrics from a comparison table alone: what four counts a row can say.

Conventions: no scores, so no curves and nothing over all thresholds; no groups, so no intervals,
since an interval that takes files for independent is too narrow by an unknown amount. Sets of
reals alone are crossed with sets of fakes alone, which gives the figures that take both.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path

from earwitness import __version__
from earwitness.core.estimate import ComparisonRow, Counts, Estimate
from earwitness.core.io import sha256_of
from earwitness.evaluation.estimates import labels
from earwitness.evaluation.evaluate import table_row
from earwitness.evaluation.schema import (
    Coverage,
    DetectorInfo,
    ManifestInfo,
    Metrics,
    Provenance,
    Settings,
    Slice,
    SliceKind,
    Source,
)
from earwitness.metrics.measures import METRICS, measure_counts

NO_GROUPS = "no interval: counts do not tell which files share a track"
NO_SCORES = "takes scores, and a comparison table has counts alone"
NO_CURVES = "curves take scores, and a comparison table has counts alone"
_NOTES = (
    "These figures are made from the counts of a comparison table. Without scores there are no "
    "curves, no AUROC and no calibration; without the rows no file can be named.",
    "There are no intervals: they are over tracks, and counts do not tell which files share one. "
    "Intervals that take every file for independent would be too narrow, so none are given.",
    "Figures that take reals and fakes are crossed: a set of reals alone against a set of fakes "
    "alone. Precision, F1 and accuracy there depend on how large the two sets happen to be.",
)


def evaluate_counts(rows: Sequence[ComparisonRow], *, source: str | Path) -> Metrics:
    """Say what the counts of a comparison table are worth.

    Args:
        rows: Rows of the table, no two of the same model and data set.
        source: The file they come from.

    Returns:
        Figures of each detector by data set, and of each set of reals against each set of fakes.
    """
    models = list(dict.fromkeys(row.model for row in rows))
    slices = [part for model in models for part in _slices([r for r in rows if r.model == model])]
    datasets = {row.dataset: row.counts for row in reversed(rows)}
    return Metrics(
        basis="counts",
        metrics=labels(),
        detectors=[DetectorInfo(name=model) for model in models],
        manifests=[
            ManifestInfo(name=name, n_items=c.n, n_real=c.n_real, n_fake=c.n_fake)
            for name, c in sorted(datasets.items())
        ],
        slices=slices,
        table=[table_row(row, n_lost=0) for row in rows],
        notes=list(_NOTES),
        provenance=_provenance(rows, Path(source)),
    )


def _slices(rows: Sequence[ComparisonRow]) -> list[Slice]:
    """Return the data sets of one detector, then its sets of reals against its sets of fakes."""
    by_set = [_slice(row, "dataset", {"dataset": row.dataset}) for row in rows]
    reals = [row for row in rows if row.counts.n_real and not row.counts.n_fake]
    fakes = [row for row in rows if row.counts.n_fake and not row.counts.n_real]
    crossed = [_crossed(real, fake) for real in reals for fake in fakes]
    return by_set + crossed


def _crossed(real: ComparisonRow, fake: ComparisonRow) -> Slice:
    counts = Counts(tp=fake.counts.tp, tn=real.counts.tn, fp=real.counts.fp, fn=fake.counts.fn)
    name = f"{real.dataset} × {fake.dataset}"
    keys = {
        "real_corpus": real.dataset,
        "generator": fake.dataset,
        "fake_corpus": fake.dataset,
    }
    return _slice(ComparisonRow(real.model, name, counts), "grid", keys)


def _slice(row: ComparisonRow, kind: SliceKind, keys: dict[str, str]) -> Slice:
    counts = row.counts
    return Slice(
        detector=row.model,
        kind=kind,
        name=row.dataset,
        keys=keys,
        coverage=Coverage(
            n_items=counts.n,
            n_scored=counts.n,
            n_failed=0,
            n_missing=0,
            n_real=counts.n_real,
            n_fake=counts.n_fake,
            n_real_lost=0,
            n_fake_lost=0,
            n_groups=0,
            n_groups_real=0,
            n_groups_fake=0,
        ),
        counts=counts,
        estimates={name: _estimate(name, counts) for name in labels()},
        no_curves=NO_CURVES,
    )


def _estimate(name: str, counts: Counts) -> Estimate:
    if name not in METRICS or METRICS[name].needs != "decision":
        return Estimate(n_items=counts.n, reason=NO_SCORES)
    parts = {
        "recall": counts.n_fake,
        "specificity": counts.n_real,
        "precision": counts.tp + counts.fp,
    }
    n_items = parts.get(name, counts.n)
    reason = _why_undefined(name, counts)
    if reason is not None:
        return Estimate(n_items=n_items, reason=reason)
    return Estimate(value=measure_counts(name, counts), n_items=n_items, reason=NO_GROUPS)


def _why_undefined(name: str, counts: Counts) -> str | None:
    if counts.n == 0:
        return "no items"
    one_class = not counts.n_real or not counts.n_fake
    needed = {"accuracy": counts.n, "recall": counts.n_fake, "specificity": counts.n_real}
    if one_class and not needed.get(name, 0):
        return f"only {'fakes' if counts.n_fake else 'reals'} in this set"
    return METRICS[name].undefined if math.isnan(measure_counts(name, counts)) else None


def _provenance(rows: Sequence[ComparisonRow], path: Path) -> Provenance:
    digest = sha256_of(path) if path.is_file() else None
    return Provenance(
        earwitness=__version__,
        python=platform.python_version(),
        libraries={},
        sources=[
            Source(
                path=str(path),
                sha256=digest,
                detector=row.model,
                dataset=row.dataset,
                n_rows=row.counts.n,
            )
            for row in rows
        ],
        settings=Settings(n_resamples=0),
    )
