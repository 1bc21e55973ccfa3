"""Checks of predictions, and the audit's metadata-only baselines.

Conventions: every check gives a verdict and a sentence, also if it passes; ``warning`` means that
metrics may mislead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
import polars as pl

from earwitness.audit.schema import AuditReport
from earwitness.core.estimate import Estimate
from earwitness.evaluation.rows import items_of
from earwitness.evaluation.schema import Baseline, BaselineName, Check, ManifestInfo
from earwitness.evaluation.slices import Slice
from earwitness.metrics.sample import Items
from earwitness.splits.grouping import ALL

Finding = tuple[str, Literal["ok", "note", "warning"], str]
"""Name, verdict and detail of a check."""

REVERSED = "are the classes the other way round?"
"""Question to ask if ``looks_reversed``."""


def looks_reversed(auroc: Estimate) -> bool:
    """Return whether an AUROC is so far below 0.5 that the classes may be swapped."""
    if auroc.value is None:
        return False
    if auroc.high is None:
        return auroc.value <= 0.2
    return auroc.value <= 0.35 and auroc.high < 0.5


def check_rows(detector: str, rows: pl.DataFrame, auroc: Estimate) -> list[Check]:
    """Check one detector's rows, each item once."""
    items = items_of(rows)
    found = [_distinct_scores(items), _one_decision(items), _below_chance(auroc)]
    found += [_rows_lost(rows), _abstentions(rows)]
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
    if n_distinct < min(10, n):
        detail = f"{n_distinct} distinct scores on {n} items: most items are tied"
        return "few_distinct_scores", "note", detail
    return "constant_scores", "ok", f"{n_distinct} distinct scores on {n} items"


def _one_decision(items: Items) -> Finding | None:
    if items.decision is None or not items.has_both:
        return None
    called = int(items.decision.sum())
    if called in (0, len(items)):
        which = "every one" if called else "none"
        return "one_decision", "warning", f"{which} of {len(items)} items is called fake"
    return "one_decision", "ok", f"{called} of {len(items)} items are called fake"


def _below_chance(auroc: Estimate) -> Finding | None:
    if auroc.value is None:
        return None
    asks = f"; {REVERSED}" if looks_reversed(auroc) else ""
    if auroc.high is None or auroc.low is None:
        detail = f"AUROC {auroc.value:.3f}, without an interval{asks}"
        return "below_chance", "note" if auroc.value < 0.5 else "ok", detail
    text = f"AUROC {auroc.value:.3f} [{auroc.low:.3f}, {auroc.high:.3f}]"
    if auroc.high < 0.5:
        return "below_chance", "warning", f"scores look inverted: {text}{asks}"
    if auroc.low <= 0.5:
        return "below_chance", "note", f"{text}: not significantly different from chance"
    return "below_chance", "ok", f"{text}: above chance"


def _rows_lost(rows: pl.DataFrame) -> Finding:
    """Check the rows lost, and name the corpus and class or generator with the largest share."""
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
    return "rows_lost", "warning" if worst["lost"] > 0.05 * worst["n"] else "note", detail


MANY_ABSTENTIONS = 0.15
"""Share of a class above which abstentions are a warning."""


def _abstentions(rows: pl.DataFrame) -> Finding | None:
    """Check the share of each class that the detector abstains from; ``None`` if it never does."""
    asked = rows.filter(pl.col("state").is_in(["scored", "abstained"]))
    if not (asked["state"] == "abstained").any():
        return None
    parts, shares = [], []
    for target, word in ((0, "reals"), (1, "fakes")):
        states = asked.filter(pl.col("target") == target)["state"]
        if len(states):
            n_abstained = int((states == "abstained").sum())
            shares.append(n_abstained / len(states))
            parts.append(f"{n_abstained} of {len(states)} {word} ({shares[-1]:.1%})")
    detail = f"the detector abstains from {' and '.join(parts)}"
    if max(shares) > MANY_ABSTENTIONS:
        return "abstentions", "warning", f"{detail}; most metrics are of decided items alone"
    return "abstentions", "note", detail


_KEYS: Final = ("real_corpus", "generator", "fake_corpus")


def check_audit(audit: AuditReport, manifests: Sequence[ManifestInfo]) -> Check:
    """Check by digest whether an audit is of exactly the evaluated manifests."""
    audited = _audited(audit)
    digests = {one.digest for one in manifests}
    unknown = [one.name for one in manifests if one.digest is None]
    other = [one.name for one in manifests if one.digest and one.digest not in audited]
    more = ", ".join(name for digest, name in audited.items() if digest not in digests)
    left_out = "; its metadata-only baselines are left out"
    verdict: Literal["ok", "note", "warning"] = "note"
    if other:
        verdict = "warning"
        detail = (
            f"the audit is not of {', '.join(other)}: no audited manifest has its digest (audited: "
            f"{', '.join(audited.values())}){left_out}"
        )
    elif unknown:
        detail = f"it is unknown whether the audit is of {', '.join(unknown)}: no digest{left_out}"
    elif more:
        detail = f"the audit is also of {more}, not evaluated here{left_out}"
    else:
        n, verdict = len(manifests), "ok"
        detail = f"the audit is of {'the manifest' if n == 1 else f'all {n} manifests'}"
    return Check(detector=None, name="audit_bound", verdict=verdict, detail=detail)


def is_of(audit: AuditReport, manifests: Sequence[ManifestInfo]) -> bool:
    """Return whether exactly the evaluated manifests were audited."""
    return {one.digest for one in manifests} == set(_audited(audit))


def _audited(audit: AuditReport) -> dict[str, str]:
    """Return the names of the audited manifests by digest, without those compared with."""
    return {one.digest: one.name for one in audit.manifests if one.role == "audited"}


def list_baselines(audit: AuditReport, slices: Sequence[Slice]) -> list[Baseline]:
    """Return the audit's metadata-only baselines, overall and for each cell of the grid."""
    cells = {_key(part.keys): part.name for part in slices if part.kind == "grid"}
    names: tuple[BaselineName, ...] = get_args(BaselineName)
    return [one for name in names for one in _baselines(audit, name, cells)]


def _baselines(
    audit: AuditReport, baseline: BaselineName, names: Mapping[tuple[str, ...], str]
) -> Iterator[Baseline]:
    check = next((c for c in audit.checks if c.name == f"baseline_{baseline}"), None)
    if check is None:
        return
    cells = {_key(one.model_dump()): one.estimate for one in check.slices}
    only = next(iter(cells.values())) if len(cells) == 1 else None
    auroc = cells.get((ALL, ALL, ALL)) or only or Estimate(reason=check.detail)
    yield Baseline(baseline=baseline, kind="overall", name="overall", auroc=auroc)
    for key, name in names.items():
        if key in cells:
            keys = dict(zip(_KEYS, key, strict=True))
            yield Baseline(baseline=baseline, kind="grid", name=name, keys=keys, auroc=cells[key])


def _key(keys: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(keys.get(name)) for name in _KEYS)
