"""What run folders tell, and audits that are bound to what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest
from earwitness.core.metrics import Metrics
from earwitness.core.predictions import Predictions
from earwitness.evaluation.audits import read_audit
from frames import predictions

CARD = {"name": "cnn", "weights_sha256": "ab" * 32, "kind": "probability"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of one detector on one set, whose name is not a file's."""
    told = {
        "options": {},
        "manifests": {"a/mixed": {"n": 60, "digest": "d1", "roots": ["/music"]}},
        "detectors": [CARD],
    }
    (tmp_path / "run.json").write_text(json.dumps(told))
    ew.write_predictions(
        predictions(n_tracks=20).frame, tmp_path / "preds" / "a__mixed" / "cnn.csv"
    )
    return tmp_path


def evaluate(*sources: Path | Predictions, **options: Any) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60, **options)


def audit(*digests: str, role: str = "audited") -> dict[str, Any]:
    manifests = [{"name": f"m{d}", "digest": d, "role": role} for d in digests]
    return {"schema_version": 1, "manifests": manifests, "checks": [{"name": "x"}]}


def test_a_run_folder_tells_digests_roots_weights_and_cards(run: Path) -> None:
    metrics = evaluate(run)
    assert (metrics.manifests[0].digest, metrics.manifests[0].roots) == ("d1", ["/music"])
    (detector,) = metrics.detectors
    assert detector.weights_sha256 == CARD["weights_sha256"]
    assert detector.card == CARD


def test_without_a_run_folder_the_rows_tell_the_digest() -> None:
    frame = predictions(n_tracks=20).frame
    manifest = Manifest(
        "mixed",
        frame.select("filepath", "target", "source_dataset", "generator").with_columns(
            skip_time=pl.lit(0.0), split_tag=pl.lit("t")
        ),
    )
    scored = manifest.frame.hstack(frame.select("logit", "pred_prob", "pred_label", "error"))
    metrics = evaluate(Predictions("mixed", "cnn", scored))
    assert metrics.manifests[0].digest == manifest.digest
    assert evaluate(predictions(n_tracks=20)).manifests[0].digest is None


def test_runs_that_contradict_each_other_are_not_believed(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    told = json.loads((run / "run.json").read_text())
    told["manifests"]["a/mixed"]["digest"] = "d2"
    told["detectors"] = [CARD | {"name": "two"}]
    other.mkdir()
    (other / "run.json").write_text(json.dumps(told))
    path = other / "preds" / "a__mixed" / "two.csv"
    ew.write_predictions(predictions(n_tracks=20, seed=1).frame, path)
    metrics = evaluate(run / "preds" / "a__mixed" / "cnn.csv", path)
    assert metrics.manifests[0].digest is None
    assert "a__mixed: the sources tell of different manifests by this name." in metrics.notes


@pytest.mark.parametrize(
    ("given", "verdict", "detail"),
    [
        (audit("d1", "d9"), "ok", "the audit is of the manifest"),
        (audit("d9"), "warning", "the audit is not of a__mixed: no manifest of their digest"),
        (audit("d1", role="against"), "warning", "the audit names no manifest"),
        ({"findings": []}, "warning", "the audit names no manifest"),
    ],
)
def test_an_audit_is_carried_and_bound(
    run: Path, given: dict[str, Any], verdict: str, detail: str
) -> None:
    metrics = evaluate(run, audit=given)
    assert metrics.audit == given
    (check,) = [check for check in metrics.checks if check.name == "audit_bound"]
    assert check.verdict == verdict
    assert check.detail.startswith(detail)


def test_without_a_digest_nothing_can_be_told() -> None:
    metrics = evaluate(predictions(n_tracks=20), audit=audit("d1"))
    assert metrics.checks[0].verdict == "note"
    assert "whether the audit is of mixed cannot be told" in metrics.checks[0].detail
    assert evaluate(predictions(n_tracks=20)).checks[0].name != "audit_bound"


def test_reading_an_audit(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(audit("d1")))
    assert read_audit(path) == audit("d1")
    path.write_text("[]")
    with pytest.raises(UsageError, match=r"audit.json: not an audit, expected manifests"):
        read_audit(path)
    path.write_text("{")
    with pytest.raises(UsageError, match=r"audit.json: cannot be read as JSON"):
        read_audit(path)
    with pytest.raises(UsageError, match=r"none.json: cannot be read \("):
        read_audit(tmp_path / "none.json")
