"""Audits in ``metrics.json``: bound to the evaluated manifests, with metadata-only baselines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import earwitness as ew
from earwitness.audit.schema import AuditReport
from earwitness.evaluation.schema import Check, Metrics
from frames import audited, baseline, predictions

CELL = ("FMA", "suno", "FMA")
ALL = ("all", "all", "all")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of one detector on one set."""
    run = {
        "options": {},
        "manifests": {"mixed": {"n": 60, "digest": "d1", "roots": ["/music"]}},
        "detectors": [{"name": "cnn"}],
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    ew.write_predictions(predictions(n_tracks=20).frame, tmp_path / "preds" / "mixed" / "cnn.csv")
    return tmp_path


def evaluate(source: Path | ew.Predictions, audit: AuditReport | None) -> Metrics:
    return ew.evaluate([source], n_resamples=60, audit=audit)


def bound(metrics: Metrics) -> Check:
    (check,) = [check for check in metrics.checks if check.name == "audit_bound"]
    return check


@pytest.mark.parametrize(
    ("given", "verdict", "detail", "n_baselines"),
    [
        (["d1"], "ok", "the audit is of the manifest", 2),
        (["d1", "d9"], "note", "the audit is also of md9, not evaluated here; its metadata", 0),
        (["d9"], "warning", "the audit is not of mixed: no audited manifest has its digest", 0),
    ],
)
def test_an_audit_is_carried_and_bound(
    run: Path, given: list[str], verdict: str, detail: str, n_baselines: int
) -> None:
    audit = audited(*given, checks=[baseline("channel", (*CELL, 0.8), (*ALL, 0.7))])
    metrics = evaluate(run, audit)
    assert metrics.audit == audit
    assert bound(metrics).verdict == verdict
    assert bound(metrics).detail.startswith(detail)
    assert len(metrics.baselines) == n_baselines


def test_a_set_that_was_only_compared_with_was_not_audited(run: Path) -> None:
    assert bound(evaluate(run, audited("d1", role="against"))).verdict == "warning"


def test_without_a_digest_the_audited_manifest_is_unknown() -> None:
    metrics = evaluate(predictions(n_tracks=20), audited("d1"))
    assert bound(metrics).verdict == "note"
    assert "it is unknown whether the audit is of mixed" in bound(metrics).detail
    without = evaluate(predictions(n_tracks=20), None)
    assert not any(check.name == "audit_bound" for check in without.checks)


def test_baselines_have_the_slices_of_detectors(run: Path) -> None:
    checks = [baseline("container", detail="too few groups"), baseline("channel", (*CELL, 0.8))]
    metrics = evaluate(run, audited("d1", checks=checks))
    missing, overall, cell = metrics.baselines
    assert (missing.baseline, missing.kind) == ("container", "overall")
    assert (missing.auroc.value, missing.auroc.reason) == (None, "too few groups")
    assert (overall.kind, overall.auroc.value) == ("overall", 0.8)  # the only cell is all there is
    assert (cell.kind, cell.auroc.value, cell.auroc.low) == ("grid", 0.8, pytest.approx(0.75))
    own = next(part for part in metrics.where(kind="grid") if part.keys == cell.keys)
    assert cell.name == own.name
    several = [baseline("channel", (*CELL, 0.8), (*ALL, 0.7))]
    (overall, cell) = evaluate(run, audited("d1", checks=several)).baselines
    assert (overall.auroc.value, cell.auroc.value) == (0.7, 0.8)
