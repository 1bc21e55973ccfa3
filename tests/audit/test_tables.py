"""An audit on the terminal: findings first, nothing said twice, whatever the width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from earwitness.audit.schema import AuditReport, CheckResult, Scope
from earwitness.audit.tables import audit_table, join_titles


def check(name: str, title: str, scope: Scope, detail: str, advice: str = "") -> CheckResult:
    return CheckResult(
        name=name,
        title=title,
        scope=scope,
        verdict="finding" if advice else "pass",
        detail=detail,
        advice=advice,
        n_checked=9,
    )


REPORT = AuditReport(
    earwitness="0",
    manifests=[],
    checks=[
        check("readable", "files that cannot be decoded", "rows", "none of 9 rows"),
        check("path", "the same path in another set", "across", "2 of 9 rows", "drop these rows"),
        check("bytes", "the same bytes in another set", "across", "2 of 9 rows", "drop these rows"),
        check("codec", "codec alone", "shortcuts", "AUROC 1.00", "transcode both alike"),
        check("rate", "bit rate alone", "shortcuts", "AUROC 0.90", "transcode both alike"),
        CheckResult(
            name="video",
            title="the same YouTube video in another set",
            scope="across",
            verdict="not checked",
            detail="no row has a YouTube id [id]",
        ),
    ],
)


def shown(width: int) -> list[str]:
    stream = io.StringIO()
    Console(width=width, file=stream).print(audit_table(REPORT))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 110])
def test_findings_come_first_and_equal_results_share_a_line(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    places = [
        text.index(heading)
        for heading in (
            "FINDINGS: overlap",
            "FINDINGS: shortcuts",
            "passed",
            "not checked, and why",
        )
    ]
    assert places == sorted(places)
    assert text.count("→ drop these rows") == text.count("→ transcode both alike") == 1
    assert text.index("AUROC 0.90") < text.index("→ transcode both alike")
    assert "no row has a YouTube id [id]" in text


def test_titles_say_once_what_they_begin_and_end_with() -> None:
    assert join_titles(["the same path twice"]) == "the same path twice"
    assert join_titles(["the same path twice", "the same bytes twice"]) == (
        "the same path · bytes twice"
    )
    assert join_titles(["codec alone", "bit rate alone", "balance"]) == (
        "codec · bit rate alone; balance"
    )
    assert join_titles(["alone", "alone"]) == "alone; alone"
