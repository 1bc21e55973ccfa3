"""The audit: what was found with what to do, then what passed and what was not checked."""

from __future__ import annotations

from collections.abc import Sequence

from earwitness.audit.schema import CheckResult, Verdict
from earwitness.audit.tables import join_titles
from earwitness.evaluation.schema import Metrics
from earwitness.report.headline import why_unbound
from earwitness.report.tables import (
    Block,
    Cell,
    Chapter,
    Folded,
    Remark,
    Remarks,
    Row,
    Table,
    count_cell,
    text_cell,
)

_ASKED = "Is what was judged safe to judge by?"


def audit(metrics: Metrics) -> Chapter | None:
    """Return the audit's checks; ``None`` without an audit."""
    report = metrics.audit
    if report is None:
        return None
    found = _of("finding", report.checks)
    passed, left = _of("pass", report.checks), _of("not checked", report.checks)
    blocks: list[Block] = [
        Remarks([Remark(why, "warning") for why in why_unbound(metrics)]),
        _findings(found),
        Folded(f"Passed: {len(passed)}", [_table("Checks that found nothing", passed)]),
        Folded(f"Not checked: {len(left)}", [_table("Checks that were not made, and why", left)]),
    ]
    n_checks = len(report.checks)
    lead = (
        f"{_ASKED} {len(found)} of {n_checks} checks found something, {len(passed)} passed, "
        f"{len(left)} were not made. The rows concerned stand in findings.csv beside audit.json."
    )
    return Chapter("audit", "Audit", lead, [block for block in blocks if not _is_empty(block)])


def _of(verdict: Verdict, checks: Sequence[CheckResult]) -> list[CheckResult]:
    return [check for check in checks if check.verdict == verdict]


def _findings(found: Sequence[CheckResult]) -> Table:
    rows = [
        Row(
            [
                text_cell(join_titles([check.title for check in alike])),
                Cell(alike[0].detail, alike[0].detail, tone="warning"),
                text_cell(alike[0].advice),
                count_cell(alike[0].n_rows),
            ]
        )
        for alike in _alike(found)
    ]
    return Table("What was found", ["check", "found", "what to do", "rows"], rows, texts=3)


def _alike(checks: Sequence[CheckResult]) -> list[list[CheckResult]]:
    """Return checks in order, those together of which the same is said."""
    said: dict[tuple[str, str, int, int], list[CheckResult]] = {}
    for check in checks:
        about = (check.detail, check.advice, check.n_rows, check.n_checked)
        said.setdefault(about, []).append(check)
    return list(said.values())


def _table(caption: str, checks: Sequence[CheckResult]) -> Table:
    rows = [
        Row(
            [
                text_cell(join_titles([check.title for check in alike])),
                text_cell(alike[0].detail),
                count_cell(alike[0].n_checked),
            ]
        )
        for alike in _alike(checks)
    ]
    return Table(caption, ["check", "what is said of it", "rows looked at"], rows, texts=2)


def _is_empty(block: Block) -> bool:
    if isinstance(block, Folded):
        return all(_is_empty(inner) for inner in block.blocks)
    if isinstance(block, Remarks):
        return not block.remarks
    return isinstance(block, Table) and not block.rows
