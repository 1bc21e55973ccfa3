from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from earwitness.audit.schema import AuditReport, CheckResult, Finding, read_audit, write_audit
from earwitness.core.errors import AuditError

PASSED = CheckResult(
    name="bytes_inside", title="t", scope="inside", verdict="pass", detail="none", n_checked=3
)


def test_a_pass_with_nothing_checked_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="a pass with nothing checked"):
        CheckResult(name="x", title="t", scope="inside", verdict="pass", detail="none")


def test_a_check_that_was_not_made_says_why() -> None:
    with pytest.raises(ValidationError, match="expected what was found or why"):
        CheckResult(name="x", title="t", scope="inside", verdict="not checked", detail="")


@pytest.mark.parametrize(("verdict", "advice"), [("finding", ""), ("pass", "drop them")])
def test_advice_goes_with_findings(verdict: str, advice: str) -> None:
    with pytest.raises(ValidationError, match="advice goes with a finding"):
        CheckResult.model_validate(
            PASSED.model_dump() | {"verdict": verdict, "advice": advice, "n_rows": 1}
        )


def test_what_is_written_is_read_again_without_rows(tmp_path: Path) -> None:
    finding = Finding("bytes_inside", "m", 1, "a.wav", 0, "duplicate", "the same bytes")
    report = AuditReport(earwitness="0", manifests=[], checks=[PASSED], findings=(finding,))
    write_audit(report, tmp_path / "audit.json")
    again = read_audit(tmp_path / "audit.json")
    assert again == report.model_copy(update={"findings": ()})
    assert "a.wav" not in (tmp_path / "audit.json").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"schema_version": 2, "earwitness": "", "manifests": [], "checks": []}', "schema_v"),
        ('{"earwitness": "", "manifests": [], "checks": [], "extra": 1}', "extra: Extra inputs"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "audit.json"
    path.write_text(text)
    with pytest.raises(AuditError, match=message) as caught:
        read_audit(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be read"):
        read_audit(tmp_path / "absent.json")


AUROC = {"auroc": 0.8, "low": 0.7, "high": 0.9, "finding": True, "generator": "g"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rows": -1}, "greater than or equal to 0"),
        ({"n_checked": 1 << 60}, "less than or equal to"),
        ({"relations": {"leak": -2}}, "greater than or equal to 0"),
        ({"figures": {"slices": 7}}, "valid list"),
        ({"figures": {"slices": [7]}}, "valid dictionary"),
        ({"figures": {"slices": [{}]}}, "Field required"),
        ({"figures": {"slices": [AUROC | {"auroc": "x"}]}}, "valid number"),
        ({"figures": {"slices": [AUROC | {"auroc": float("nan")}]}}, "finite number"),
        ({"figures": {"slices": [AUROC | {"low": None}]}}, "one end of an interval"),
        ({"figures": {"slices": [AUROC | {"finding": [1]}]}}, "valid boolean"),
    ],
)
def test_odd_figures_are_refused_in_one_line(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    check = PASSED.model_dump() | changes
    content = {"earwitness": "0", "manifests": [], "checks": [check]}
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AuditError, match=message) as caught:
        read_audit(path)
    assert "\n" not in str(caught.value)
