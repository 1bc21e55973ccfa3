"""Terminal view of an audit, and its CSV tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from rich import box
from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from earwitness.audit.schema import (
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


class ResultGroup(NamedTuple):
    """Checks of one scope with the same result, under a joined title; see ``CheckResult``."""

    title: str
    scope: Scope
    detail: str
    advice: str
    n_rows: int
    n_checked: int


def group_results(checks: Iterable[CheckResult], verdict: Verdict) -> list[ResultGroup]:
    """Return the results with a verdict, equal ones merged and sorted by equal advice."""
    by_advice: dict[tuple[Scope, str], dict[tuple[str, int, int], list[str]]] = {}
    for check in checks:
        if check.verdict == verdict:
            groups = by_advice.setdefault((check.scope, check.advice), {})
            result = (check.detail, check.n_rows, check.n_checked)
            groups.setdefault(result, []).append(check.title)
    return [
        ResultGroup(join_titles(titles), scope, detail, advice, n_rows, n_checked)
        for (scope, advice), groups in by_advice.items()
        for (detail, n_rows, n_checked), titles in groups.items()
    ]


def audit_table(report: AuditReport) -> Group:
    """Return findings with advice, then passed checks, then those not made."""
    scopes: dict[Scope, str] = {
        "rows": "files",
        "across": "overlap with other sets",
        "inside": "inside a set",
        "exposure": "training and selection of detectors",
        "shortcuts": "shortcuts without the music",
    }
    parts: list[Text | Table] = [
        Text(f"{one.role} {one.name}: {one.n_real} real, {one.n_fake} fake")
        for one in report.manifests
    ]
    found = group_results(report.checks, "finding")
    for scope, words in scopes.items():
        in_scope = [group for group in found if group.scope == scope]
        parts += _section(f"FINDINGS: {words}", "bold red", in_scope)
    parts += _section("passed", "bold green", group_results(report.checks, "pass"))
    left_out = group_results(report.checks, "not checked")
    parts += _section("not checked, and why", "bold yellow", left_out)
    return Group(*parts)


def _section(heading: str, style: str, groups: Sequence[ResultGroup]) -> list[Table]:
    """Return a table of results, advice once after the last result that has it."""
    if not groups:
        return []
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
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        table.add_row(Text(group.title), Text(group.detail))
        if group.advice and (following is None or following.advice != group.advice):
            table.add_row("", Text(f"→ {group.advice}", style="italic"))
    return [table]


def join_titles(titles: Sequence[str]) -> str:
    """Return titles as one text, with the words that several begin or end with once.

    "codec alone", "bit rate alone", "balance" → "codec · bit rate alone; balance".
    """
    groups: list[list[list[str]]] = []
    for words in map(str.split, titles):
        if groups and any(_count_shared([*groups[-1], words])):
            groups[-1].append(words)
        else:
            groups.append([words])
    return "; ".join(map(_join_group, groups))


def _join_group(titles: list[list[str]]) -> str:
    n_first, n_last = _count_shared(titles)
    distinct = [" ".join(words[n_first : len(words) - n_last]).rstrip(",") for words in titles]
    first, last = titles[0][:n_first], titles[0][len(titles[0]) - n_last :]
    return " ".join([*first, " · ".join(distinct), *last])


def _count_shared(titles: list[list[str]]) -> tuple[int, int]:
    """Return the number of words that titles share at start and end, all but one at most."""
    if len(titles) < 2:
        return 0, 0
    most = min(map(len, titles)) - 1
    n_first = min(_count_equal(titles), most)
    return n_first, min(_count_equal([words[::-1] for words in titles]), most - n_first)


def _count_equal(titles: Iterable[Sequence[str]]) -> int:
    return len(list(takewhile(lambda words: len(set(words)) == 1, zip(*titles, strict=False))))


def write_tables(report: AuditReport, folder: Path) -> None:
    """Write the tables of an audit; remove those of an earlier one that would be empty."""
    tables: list[tuple[str, type[Any], Sequence[tuple[Any, ...]]]] = [
        ("findings.csv", Finding, report.findings),
        ("links.csv", Link, report.links),
        ("exposure.csv", Exposure, report.exposures),
        ("nuisances.csv", Nuisances, report.nuisances),
    ]
    for name, kind, rows in tables:
        path = folder / name
        if not rows and kind is not Finding:
            path.unlink(missing_ok=True)
            continue
        frame = pl.DataFrame(
            list(rows), schema=list(kind._fields), orient="row", infer_schema_length=None
        )
        if kind is Nuisances:
            frame = frame.unnest("measures")
        with atomic_write(path) as temporary:
            frame.write_csv(temporary)
