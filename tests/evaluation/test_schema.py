"""``metrics.json`` with invalid values: refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import earwitness as ew
from earwitness.core.errors import PredictionsError
from earwitness.core.io import MOST_BYTES
from earwitness.evaluation.schema import read_metrics
from frames import predictions


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("metrics") / "metrics.json"
    ew.write_metrics(ew.evaluate([predictions(n_tracks=20)], n_resamples=100), path)
    return path.read_text()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda one: one["coverage"].update(n_items=-1), "coverage.n_items"),
        (lambda one: one["coverage"].update(n_items=1 << 60), "coverage.n_items"),
        (lambda one: one["counts"].update(tp=-3), "counts"),
        (lambda one: one["counts"].update(tp=10**400), "counts"),
        (lambda one: one["curves"]["roc"]["fpr"].append(1.0), "expected the same"),
        (lambda one: one["curves"]["det"]["fnr"].pop(), "expected the same"),
        (lambda one: one["histograms"][0]["edges"].pop(), "expected the same"),
        (lambda one: one["histograms"][0]["real"].__setitem__(0, -1), "histograms.0.real.0"),
        (lambda one: one["estimates"]["auroc"].update(value=float("inf")), "auroc.value"),
    ],
)
def test_invalid_values_are_refused_in_one_line(
    tmp_path: Path, content: str, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    whole = json.loads(content)
    edit(whole["slices"][0])
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(PredictionsError, match=message) as caught:
        read_metrics(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(PredictionsError, match=f"over {MOST_BYTES} bytes"):
        read_metrics(path)


def test_a_metric_that_a_file_lacks_is_undefined(tmp_path: Path, content: str) -> None:
    whole = json.loads(content)
    for part in whole["slices"]:
        del part["estimates"]["auroc"], part["estimates"]["eer"]
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(whole))
    metrics = read_metrics(path)
    assert {part.estimates["auroc"].reason for part in metrics.slices} == {"not in the file"}
    ew.report(metrics, tmp_path / "report.html")
    assert "not in the file" in (tmp_path / "report.html").read_text()
