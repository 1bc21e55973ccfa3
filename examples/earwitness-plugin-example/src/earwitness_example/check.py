"""An audit check: files too short for a detector that takes whole clips."""

from __future__ import annotations

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_result

SHORTEST_S = 1.0
SPEC = CheckSpec("short_files", f"files under {SHORTEST_S:g} s", "rows", "drop these rows")


def check_short_files(context: AuditContext) -> list[Outcome]:
    """Return a finding for each row whose file is shorter than a second."""
    findings = [
        context.make_finding(SPEC.name, row, "shortcut", f"under {SHORTEST_S:g} s")
        for row in context.audited_rows.iter_rows(named=True)
        if (context.features[row["file"]].duration_s or 0) < SHORTEST_S
    ]
    return [make_result(SPEC, findings, n_checked=context.audited_rows.height)]
