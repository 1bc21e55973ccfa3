"""Checks of other packages, from their entry point to audit.json, the terminal and the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from builders import write_tone
from earwitness.audit.schema import read_audit
from frames import predictions

Run = Callable[..., tuple[int, str, str]]

CODE = """
from earwitness.audit.checks import CheckSpec, make_result

SPEC = CheckSpec("short_files", "files under a second", "rows", "drop these rows")


def short(context):
    findings = [
        context.make_finding(SPEC.name, row, "shortcut", "under a second")
        for row in context.audited_rows.iter_rows(named=True)
        if (context.features[row["file"]].duration_s or 0) < 1
    ]
    return [make_result(SPEC, findings, n_checked=context.audited_rows.height)]


def raises(context):
    raise KeyError("no such column")


def no_list(context):
    return ["nothing"]
"""
ENTRIES = ("short", "raises", "no_list", "missing")


@pytest.fixture
def package(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of one good check and three that cannot be used."""
    entries = [f"{name} = toy_checks:{name}" for name in ENTRIES]
    folder = install("toys", *entries, "path = toy_checks:short", group="earwitness.checks")
    (folder / "toy_checks.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "toy_checks", raising=False)


def test_a_check_of_another_package_is_in_every_output(
    run: Run, tmp_path: Path, package: None
) -> None:
    for n, seconds in enumerate((0.5, 1.5)):
        write_tone(tmp_path / f"{n}.wav", hz=300 + n, seconds=seconds)
    (tmp_path / "set.csv").write_text("filepath,target\n0.wav,0\n1.wav,1\n")
    out = tmp_path / "audit"
    options = ("--out", out, "--num-workers", 0)
    code, printed, err = run("audit", "--manifest", tmp_path / "set.csv", *options)
    assert code == 0, err
    audit = read_audit(out / "audit.json")
    check = audit.check("short_files")
    assert (check.verdict, check.detail) == ("finding", "1 of 2 rows affected")
    assert pl.read_csv(out / "findings.csv").filter(check="short_files")["filepath"].to_list() == [
        "0.wav"
    ]
    assert "files under a second" in printed
    reasons = {check.name: check.detail for check in audit.checks if check.name in ENTRIES}
    assert reasons["raises"] == "check 'raises': KeyError: 'no such column'"
    assert reasons["no_list"] == "check 'no_list': expected a list of Outcome"
    assert reasons["missing"].startswith("check 'missing' of package toys: AttributeError")
    assert {audit.check(name).verdict for name in reasons} == {"not checked"}
    taken = "check 'path' of package toys: earwitness has a check of that name; left out"
    assert err.replace("\n", " ").count(taken) == 1

    predictions(detector="one", n_tracks=12).frame.write_csv(tmp_path / "one.csv")
    metrics, page = tmp_path / "metrics.json", tmp_path / "page.html"
    code, _, err = run(
        *("evaluate", tmp_path / "one.csv", "--audit", out / "audit.json"),
        *("--out", metrics, "--resamples", 100),
    )
    assert code == 0, err
    code, _, err = run("report", metrics, "--out", page)
    assert code == 0, err
    assert "files under a second" in page.read_text()
