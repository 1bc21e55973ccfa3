"""A manifest without the rows that an audit takes offence at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from earwitness.core.audits import Finding
from earwitness.core.errors import AuditError
from earwitness.core.manifest import Manifest


def drop_offenders(
    manifest: Manifest, findings: Iterable[Finding]
) -> tuple[Manifest, pl.DataFrame]:
    """Return the rows that no finding says to drop, and those that were dropped, with reasons.

    Findings that dropping does not mend (groups that should be joined, pairs that may be chance)
    leave their rows.

    Args:
        manifest: What was audited.
        findings: What was found in it.

    Returns:
        The rest, and ``row, filepath, target, checks, reasons`` of what was dropped.

    Raises:
        AuditError: Nothing would be left.
    """
    reasons: dict[int, list[Finding]] = {}
    for finding in findings:
        if finding.drop and finding.manifest == manifest.name:
            reasons.setdefault(finding.row, []).append(finding)
    if len(reasons) == len(manifest):
        raise AuditError(
            f"{manifest.name}: all {len(manifest)} rows offend and none would be left; "
            "expected one without a finding"
        )
    numbered = manifest.frame.with_row_index("_row", offset=1)
    rest = numbered.filter(~pl.col("_row").is_in(list(reasons))).drop("_row")
    dropped = [
        (
            row,
            told[0].filepath,
            told[0].target,
            ", ".join(finding.check for finding in told),
            "; ".join(_reason(finding) for finding in told),
        )
        for row, told in sorted(reasons.items())
    ]
    columns = {"row": pl.Int64, "filepath": pl.String, "target": pl.Int64}
    columns |= {"checks": pl.String, "reasons": pl.String}
    return (
        replace(manifest, frame=rest),
        pl.DataFrame(dropped, schema=columns, orient="row"),
    )


def _reason(finding: Finding) -> str:
    if finding.other_filepath is None:
        return finding.detail
    return f"{finding.detail}: {finding.other_manifest} {finding.other_filepath}"
