"""Rows whose file cannot be read or heard."""

from __future__ import annotations

from collections import Counter

from earwitness.auditing.outcomes import Subject, conclude
from earwitness.auditing.scene import Outcome, Scene
from earwitness.core.audits import Finding

_SUBJECT = Subject(
    "readable",
    "files that cannot be heard",
    "rows",
    "bring the files back, or drop these rows: whoever judges the rest judges fewer items",
)
_SHOWN = 3


def check_readable(scene: Scene) -> list[Outcome]:
    """List every audited row whose file is missing, broken or empty."""
    rows = scene.audited_rows
    findings = [
        Finding(
            check=_SUBJECT.name,
            manifest=scene.manifests[row["set"]].name,
            row=row["row"],
            filepath=row["filepath"],
            target=row["target"],
            relation="unreadable",
            detail=error,
        )
        for row in rows.iter_rows(named=True)
        if (error := scene.sounds[row["file"]].error) is not None
    ]
    errors = Counter(finding.detail for finding in findings)
    commonest = errors.most_common(_SHOWN)
    detail = ", ".join(f"{error} ({n})" for error, n in commonest)
    if n_more := errors.total() - sum(n for _, n in commonest):
        detail += f", other reasons ({n_more})"
    lost = [error for sound in _others(scene) if (error := sound)]
    if lost:
        detail = "; ".join(filter(None, (detail, f"{len(lost)} rows of other sets, too")))
    return [conclude(_SUBJECT, findings, n_checked=rows.height, detail=detail)]


def _others(scene: Scene) -> list[str | None]:
    files = scene.rows["file"].to_list()[scene.audited_rows.height :]
    return [scene.sounds[path].error for path in files]
