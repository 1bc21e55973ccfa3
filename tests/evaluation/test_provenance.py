"""What run folders tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.evaluation.schema import Metrics
from frames import predictions

CARD = {"name": "cnn", "weights_sha256": "ab" * 32, "kind": "probability"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of one detector on one set, whose name is not a file's."""
    recorded = {
        "options": {},
        "manifests": {"a/mixed": {"n": 60, "digest": "d1", "roots": ["/music"]}},
        "detectors": [CARD],
    }
    (tmp_path / "run.json").write_text(json.dumps(recorded))
    ew.write_predictions(
        predictions(n_tracks=20).frame, tmp_path / "preds" / "a__mixed" / "cnn.csv"
    )
    return tmp_path


def evaluate(*sources: Path | Predictions, **options: Any) -> Metrics:
    return ew.evaluate(list(sources), n_resamples=60, **options)


def test_a_run_folder_records_digests_roots_weights_and_cards(run: Path) -> None:
    metrics = evaluate(run)
    assert (metrics.manifests[0].digest, metrics.manifests[0].roots) == ("d1", ["/music"])
    (detector,) = metrics.detectors
    assert detector.weights_sha256 == CARD["weights_sha256"]
    assert detector.card == CARD


def test_without_a_run_folder_the_digest_is_of_the_rows() -> None:
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
    recorded = json.loads((run / "run.json").read_text())
    recorded["manifests"]["a/mixed"]["digest"] = "d2"
    recorded["detectors"] = [CARD | {"name": "two"}]
    other.mkdir()
    (other / "run.json").write_text(json.dumps(recorded))
    path = other / "preds" / "a__mixed" / "two.csv"
    ew.write_predictions(predictions(n_tracks=20, seed=1).frame, path)
    metrics = evaluate(run / "preds" / "a__mixed" / "cnn.csv", path)
    assert metrics.manifests[0].digest is None
    assert "a__mixed: the sources have different manifests of this name." in metrics.notes
