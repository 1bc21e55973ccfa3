"""An audit beside the figures: whether it is of what was evaluated, and what the file alone does.

Conventions: an audit names the manifests it looked at by digest, so that one of other rows cannot
pass for one of these. Its baselines stand beside figures only where it is of the very same
manifests: more or fewer rows would give other figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from earwitness.core.audits import AuditReport
from earwitness.core.estimates import Estimate
from earwitness.core.metrics import Baseline, BaselineName, Check, ManifestInfo, Slice
from earwitness.manifests.cells import ALL

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
