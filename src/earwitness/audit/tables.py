"""An audit: on the terminal, and as tables beside ``audit.json``.

Conventions: on the terminal findings come first, each with what to do; checks of which the same is
to be said share a line. A row of ``findings.csv`` is a row of an audited manifest and one reason
why it offends; ``links.csv`` holds pairs that sound alike, those by design as well;
``exposure.csv`` what each detector met of each row; ``nuisances.csv`` what the file of each row
gives away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from earwitness.audit.schema import (
    AuditedManifest,
    AuditReport,
    CheckResult,
    Exposure,
    Finding,
    Link,
    Nuisances,
    Scope,
    Verdict,
)
from earwitness.core.io import atomic_write

FINDINGS_CSV = "findings.csv"
LINKS_CSV = "links.csv"
EXPOSURE_CSV = "exposure.csv"
NUISANCES_CSV = "nuisances.csv"

_SCOPES: dict[Scope, str] = {
    "rows": "files",
    "across": "contact with other sets",
    "inside": "inside a set",
    "exposure": "what detectors were made with",
    "shortcuts": "what gives fakes away unheard",
}
_NUISANCE_TEXTS = {
    *("manifest", "filepath", "error", "codec", "container"),
    *("encoder", "tag_fields", "cover_art"),
}
_WHOLE = {"row", "target", "sample_rate_hz", "n_channels", "bit_rate_kbps", "bit_depth"}
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


def audit_table(report: AuditReport) -> Group:
    """Return what the terminal shows: findings and what to do, what passed, what was left out."""
    by_verdict: dict[Verdict, list[CheckResult]] = {"finding": [], "pass": [], "not checked": []}
    for check in report.checks:
        by_verdict[check.verdict].append(check)
    parts: list[Text | Table] = [Text(_describe(one)) for one in report.manifests]
    for scope, words in _SCOPES.items():
        if found := [check for check in by_verdict["finding"] if check.scope == scope]:
            parts.append(_section(f"FINDINGS: {words}", "bold red", found))
    if by_verdict["pass"]:
        parts.append(_section("passed", "bold green", by_verdict["pass"]))
    if by_verdict["not checked"]:
        parts.append(_section("not checked, and why", "bold yellow", by_verdict["not checked"]))
    return Group(*parts)


def _describe(manifest: AuditedManifest) -> str:
    return f"{manifest.role} {manifest.name}: {manifest.n_real} real, {manifest.n_fake} fake"


def _section(heading: str, style: str, checks: Sequence[CheckResult]) -> Table:
    """Return checks under a heading: advice by advice, one line for all of which the same is said.

    Advice stands once, under the last of the lines that it goes with.
    """
    table = Table(
        Column(ratio=2, overflow="fold"),
        Column(ratio=3, overflow="fold"),
        title=Text(f"\n{heading}", style=style),
        title_justify="left",
        box=box.HORIZONTALS,
        show_header=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        expand=True,
    )
    said: dict[tuple[str, Scope], dict[str, list[str]]] = {}
    for check in checks:
        lines = said.setdefault((check.advice, check.scope), {})
        lines.setdefault(check.detail, []).append(check.title)
    for (advice, _), lines in said.items():
        for detail, titles in lines.items():
            table.add_row(Text(join_titles(titles)), Text(detail))
        if advice:
            table.add_row("", Text(f"→ {advice}", style="italic"))
    return table


def join_titles(titles: Sequence[str]) -> str:
    """Return titles as one text, words that several begin and end with said once.

    "codec alone", "bit rate alone", "balance" → "codec · bit rate alone; balance".
    """
    groups: list[list[list[str]]] = []
    for words in map(str.split, titles):
        if groups and any(_n_shared([*groups[-1], words])):
            groups[-1].append(words)
        else:
            groups.append([words])
    return "; ".join(map(_joined, groups))


def _joined(titles: list[list[str]]) -> str:
    n_first, n_last = _n_shared(titles)
    apart = [" ".join(words[n_first : len(words) - n_last]).rstrip(",") for words in titles]
    first, last = titles[0][:n_first], titles[0][len(titles[0]) - n_last :]
    return " ".join([*first, " · ".join(apart), *last])


def _n_shared(titles: list[list[str]]) -> tuple[int, int]:
    """Return how many words titles have in common at their start and end; one is left between."""
    most = min(map(len, titles)) - 1
    n_first = min(_n_alike(titles), most) if len(titles) > 1 else 0
    n_last = min(_n_alike([words[::-1] for words in titles]), most - n_first)
    return n_first, n_last if len(titles) > 1 else 0


def _n_alike(words: Iterable[Sequence[str]]) -> int:
    return len(list(takewhile(lambda few: len(set(few)) == 1, zip(*words, strict=False))))


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
        with atomic_write(path) as temporary:
            _frame(kind, rows).write_csv(temporary)
        written.append(path)
    return written


def _frame(kind: type[Any], rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {name: _NUMBERS.get(name, pl.String) for name in kind._fields}
    return pl.DataFrame(rows, schema=schema, orient="row")
