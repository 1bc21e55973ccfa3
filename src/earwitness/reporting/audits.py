"""An audit: on the terminal, and as tables beside ``audit.json``.

Conventions: a row of ``findings.csv`` is a row of an audited manifest and one reason why it
offends; ``links.csv`` holds pairs that sound alike, those by design as well; ``exposure.csv`` what
each detector met of each row; ``nuisances.csv`` what the file of each row gives away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from earwitness.core.audits import (
    AuditReport,
    CheckResult,
    Exposure,
    Finding,
    Link,
    Nuisances,
)
from earwitness.core.files import replacing

FINDINGS_CSV = "findings.csv"
LINKS_CSV = "links.csv"
EXPOSURE_CSV = "exposure.csv"
NUISANCES_CSV = "nuisances.csv"

_VERDICTS = {
    "pass": Text("pass", style="green"),
    "finding": Text("FINDING", style="bold red"),
    "not checked": Text("not checked", style="yellow"),
}
_NUISANCE_TEXTS = {"manifest", "filepath", "error", "codec", "container", "encoder"}
_WHOLE = {"row", "target", "sample_rate_hz", "n_channels", "bit_rate_kbps"}
_NUMBERS: dict[str, Any] = {
    "row": pl.Int64,
    "target": pl.Int64,
    "other_target": pl.Int64,
    "other_row": pl.Int64,
    "n_others": pl.Int64,
    "similarity": pl.Float64,
    "offset_s": pl.Float64,
    "drop": pl.Boolean,
} | {
    name: pl.Int64 if name in _WHOLE else pl.Float64
    for name in Nuisances._fields
    if name not in _NUISANCE_TEXTS
}


def audit_table(report: AuditReport) -> Table:
    """Return the table for the terminal: checks, what to do about findings, what was left out."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("check", "verdict", "what was found"):
        table.add_column(heading, overflow="fold")
    for check in report.checks:
        if check.verdict != "not checked":
            table.add_row(Text(check.title), _VERDICTS[check.verdict], _told(check))
    for why, titles in _left_out(report).items():
        table.add_row(Text("; ".join(titles)), _VERDICTS["not checked"], Text(why))
    return table


def _told(check: CheckResult) -> Text:
    text = Text(check.detail)
    if check.advice:
        text.append(f"\n→ {check.advice}", style="italic")
    return text


def _left_out(report: AuditReport) -> dict[str, list[str]]:
    """Return why checks were not made, and which."""
    left_out: dict[str, list[str]] = {}
    for check in report.checks:
        if check.verdict == "not checked":
            left_out.setdefault(check.detail, []).append(check.title)
    return left_out


def write_tables(report: AuditReport, folder: Path) -> list[Path]:
    """Write the tables of an audit that hold anything, and remove those of an earlier one."""
    tables: dict[str, tuple[type[Any], Sequence[tuple[Any, ...]]]] = {
        FINDINGS_CSV: (Finding, report.findings),
        LINKS_CSV: (Link, report.links),
        EXPOSURE_CSV: (Exposure, report.exposures),
        NUISANCES_CSV: (Nuisances, report.nuisances),
    }
    written = []
    for name, (kind, rows) in tables.items():
        path = folder / name
        if not rows and name != FINDINGS_CSV:
            path.unlink(missing_ok=True)
            continue
        with replacing(path) as temporary:
            _frame(kind, rows).write_csv(temporary)
        written.append(path)
    return written


def _frame(kind: type[Any], rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {name: _NUMBERS.get(name, pl.String) for name in kind._fields}
    return pl.DataFrame(rows, schema=schema, orient="row")
