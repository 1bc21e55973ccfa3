"""Checks of the predictions before metrics are trusted.

Conventions: each check gives a verdict and a sentence, the good ones as well, so that a page can
show that they were made; ``warning`` means that metrics may mislead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from earwitness.audit.schema import AuditReport
from earwitness.core.estimate import Estimate
from earwitness.evaluation.rows import items_of
from earwitness.evaluation.schema import Baseline, BaselineName, Check, ManifestInfo
from earwitness.evaluation.slice_schema import Slice
from earwitness.metrics.sample import Items
from earwitness.splits.grouping import ALL

Finding = tuple[str, Literal["ok", "note", "warning"], str]
"""Name, verdict and detail of a check."""

FEW_SCORES = 10
"""Fewer distinct scores than this make ROC curves of a few corners."""

LOST_SHARE = 0.05
"""A stratum that lost more of its rows than this is warned of."""


REVERSED = "are the classes the other way round?"
"""What to ask where ``looks_reversed``."""

_FAR_BELOW, _FAR_BELOW_ALONE = 0.35, 0.2


def looks_reversed(auroc: Estimate) -> bool:
    """Return whether an AUROC is so far below 0.5 that classes may be mixed up.

    Its interval lies below 0.5, or without an interval it is lower still.
    """
    if auroc.value is None:
        return False
    if auroc.high is None:
        return auroc.value <= _FAR_BELOW_ALONE
    return auroc.value <= _FAR_BELOW and auroc.high < 0.5


def check(detector: str, rows: pl.DataFrame, auroc: Estimate) -> list[Check]:
    """Look into one detector's rows, every item once.

    Args:
        detector: The detector.
        rows: As ``load_rows`` returns them, of this detector, each item once.
        auroc: AUROC of these rows.
    """
    items = items_of(rows)
    found = [_distinct_scores(items), _one_decision(items), _below_chance(auroc), _rows_lost(rows)]
    return [
        Check(detector=detector, name=one[0], verdict=one[1], detail=one[2])
        for one in found
        if one is not None
    ]


def _distinct_scores(items: Items) -> Finding | None:
    if items.score is None:
        return None
    n_distinct, n = len(np.unique(items.score)), len(items)
    if n_distinct == 1 and n > 1:
        return "constant_scores", "warning", f"all {n} scores are the same: {items.score[0]:g}"
    if n_distinct < min(FEW_SCORES, n):
        detail = f"{n_distinct} distinct scores on {n} items: most items are tied"
        return "few_distinct_scores", "note", detail
    return "constant_scores", "ok", f"{n_distinct} distinct scores on {n} items"


def _one_decision(items: Items) -> Finding | None:
    if items.decision is None or not items.has_both:
        return None
    called = int(items.decision.sum())
    if called in (0, len(items)):
        word = "fake" if called else "real"
        return "one_decision", "warning", f"every one of {len(items)} items is called {word}"
    return "one_decision", "ok", f"{called} of {len(items)} items are called fake"


def _below_chance(auroc: Estimate) -> Finding | None:
    if auroc.value is None:
        return None
    asks = f"; {REVERSED}" if looks_reversed(auroc) else ""
    if auroc.high is None or auroc.low is None:
        detail = f"AUROC {auroc.value:.3f}, without an interval{asks}"
        return "below_chance", "note" if auroc.value < 0.5 else "ok", detail
    told = f"AUROC {auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]"
    if auroc.high < 0.5:
        detail = f"{told}: worse than chance, as if scores ran the other way{asks}"
        return "below_chance", "warning", detail
    if auroc.low <= 0.5:
        return "below_chance", "note", f"{told}: not told apart from chance"
    return "below_chance", "ok", f"{told}: above chance"


def _rows_lost(rows: pl.DataFrame) -> Finding:
    """Find the class and corpus, or generator, that lost the greatest share of its rows."""
    n_lost = int((rows["state"] != "scored").sum())
    if n_lost == 0:
        return "rows_lost", "ok", f"all {rows.height} items are scored"
    made = pl.when(pl.col("target") == 1).then(pl.col("generator")).otherwise(pl.lit("real"))
    strata = rows.group_by(pl.col("corpus"), made.alias("made")).agg(
        pl.len().alias("n"), (pl.col("state") != "scored").sum().alias("lost")
    )
    worst = strata.sort(pl.col("lost") / pl.col("n"), "corpus", "made", descending=True).row(
        0, named=True
    )
    detail = (
        f"{n_lost} of {rows.height} items are not scored; most of {worst['corpus']} "
        f"{worst['made']}: {worst['lost']} of {worst['n']}"
    )
    return "rows_lost", "warning" if worst["lost"] > LOST_SHARE * worst["n"] else "note", detail


NAME = "audit_bound"
_BASELINES: Final[tuple[BaselineName, ...]] = ("container", "channel")
_LEFT_OUT = "what it says of the file alone is left out"


def check_audit(audit: AuditReport, manifests: Sequence[ManifestInfo]) -> Check:
    """Tell whether an audit is of the manifests that were evaluated, by their digests."""
    audited = _audited(audit)
    unknown = [one.name for one in manifests if one.digest is None]
    other = [one.name for one in manifests if one.digest and one.digest not in audited]
    if other:
        return _found(
            "warning",
            f"the audit is not of {', '.join(other)}: no manifest of their digest is in it "
            f"(it is of {', '.join(audited.values())}); {_LEFT_OUT}",
        )
    if unknown:
        return _found(
            "note",
            f"whether the audit is of {', '.join(unknown)} cannot be told: no digest is known; "
            f"{_LEFT_OUT}",
        )
    if not is_of(audit, manifests):
        judged = {one.digest for one in manifests}
        more = ", ".join(name for digest, name in audited.items() if digest not in judged)
        return _found("note", f"the audit is of {more} as well, not judged here; {_LEFT_OUT}")
    n = len(manifests)
    return _found("ok", f"the audit is of {'the manifest' if n == 1 else f'all {n} manifests'}")


def is_of(audit: AuditReport, manifests: Sequence[ManifestInfo]) -> bool:
    """Whether the very manifests were audited that were evaluated, and no others."""
    return {one.digest for one in manifests} == set(_audited(audit))


def list_baselines(audit: AuditReport, slices: Sequence[Slice]) -> list[Baseline]:
    """Return what the nuisance-only baselines of an audit do, over all items and cell by cell.

    Args:
        audit: An audit of the manifests that the slices were cut from.
        slices: The slices, whose names the cells get.
    """
    names = {_key(part.keys): part.name for part in slices if part.kind == "grid"}
    return [one for name in _BASELINES for one in _baselines(audit, name, names)]


def _baselines(
    audit: AuditReport, baseline: BaselineName, names: Mapping[tuple[str, ...], str]
) -> Iterator[Baseline]:
    check = next((c for c in audit.checks if c.name == f"baseline_{baseline}"), None)
    if check is None:
        return
    cells = {_key(one.model_dump()): one.estimate for one in check.slices}
    overall = cells.get((ALL, ALL, ALL)) or (
        next(iter(cells.values())) if len(cells) == 1 else None
    )
    yield _baseline(baseline, "overall", "overall", overall or Estimate(reason=check.detail))
    for key, name in names.items():
        if key in cells:
            yield _baseline(baseline, "grid", name, cells[key], key)


def _baseline(
    baseline: BaselineName,
    kind: Literal["overall", "grid"],
    name: str,
    auroc: Estimate,
    key: Sequence[str] = (),
) -> Baseline:
    keys = dict(zip(_KEYS, key, strict=False))
    return Baseline(baseline=baseline, kind=kind, name=name, keys=keys, auroc=auroc)


_KEYS: Final = ("real_corpus", "generator", "fake_corpus")


def _key(keys: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(keys.get(name)) for name in _KEYS)


def _found(verdict: Literal["ok", "note", "warning"], detail: str) -> Check:
    return Check(detector=None, name=NAME, verdict=verdict, detail=detail)


def _audited(audit: AuditReport) -> dict[str, str]:
    """Return digest → name of the manifests that were audited, not merely compared with."""
    return {one.digest: one.name for one in audit.manifests if one.role == "audited"}
