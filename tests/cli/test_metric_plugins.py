"""Metrics of other packages, from their entry point to metrics.json, the terminal and the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from earwitness.evaluation.schema import read_metrics
from earwitness.metrics.measures import _registry
from frames import predictions

Run = Callable[..., tuple[int, str, str]]

CODE = """
from earwitness.metrics.compute import Metric

YOUDEN = Metric(
    label="Youden's J (informedness)",
    needs="decision",
    of_sums=lambda s, _: s["tp"] / s["n_fake"] + s["tn"] / s["n_real"] - 1,
    bounds=(-1, 1),
)
TOP = Metric(
    label="fakes above all reals",
    needs="score",
    of_steps=lambda steps, _: steps.tpr[..., 0] * 0 + (steps.tpr * (steps.fp == 0)).max(axis=-1),
)
ONE_VALUE = Metric(label="constant", needs="decision", of_sums=lambda s, _: s["tp"].mean())
RAISES = Metric(label="raises", needs="prob", of_sums=lambda s, _: s["no such column"])
"""
ENTRIES = ("youden", "top", "one_value", "raises", "missing", "auroc")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two good metrics and four that cannot be used."""
    info = tmp_path / "toys" / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    lines = [f"{name} = toy_metrics:{name.upper()}" for name in ENTRIES]
    (info / "entry_points.txt").write_text("\n".join(("[earwitness.metrics]", *lines)))
    (tmp_path / "toys" / "toy_metrics.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path / "toys")
    monkeypatch.delitem(sys.modules, "toy_metrics", raising=False)
    _registry.cache_clear()  # what was reported once is reported again
    return "toys"


def test_a_metric_of_another_package_is_in_every_output(
    run: Run, tmp_path: Path, package: str
) -> None:
    found = predictions(detector="one", seed=0)
    found.frame.write_csv(tmp_path / "one.csv")
    out, page = tmp_path / "metrics.json", tmp_path / "page"
    code, printed, err = run("evaluate", tmp_path / "one.csv", "--out", out, "--resamples", 100)
    assert code == 0, err
    metrics = read_metrics(out)
    assert list(metrics.metrics)[-2:] == ["top", "youden"]
    estimates = metrics.where(kind="overall")[0].estimates
    recall, specificity = estimates["recall"].number, estimates["specificity"].number
    assert estimates["youden"].value == pytest.approx(recall + specificity - 1)
    assert estimates["youden"].low < estimates["youden"].value < estimates["youden"].high
    only_fakes = metrics.where(kind="generator")[0].estimates["youden"]
    assert only_fakes.reason == "only fakes in this slice"
    assert "Youden's J" in printed
    assert f"{estimates['youden'].value:.3f}" in printed
    rows = pl.read_csv(tmp_path / "metrics.csv").filter(slice="overall", metric="top")
    assert rows["value"].to_list() == [estimates["top"].value]
    code, _, err = run("report", out, "--out", page)
    assert code == 0, err
    text = (page / "index.html").read_text() if page.is_dir() else page.read_text()
    assert "Youden&#39;s J (informedness)" in text
    assert "fakes above all reals" in text


def test_broken_metrics_are_each_reported_in_one_line(
    run: Run, tmp_path: Path, package: str
) -> None:
    predictions(detector="one", seed=0).frame.write_csv(tmp_path / "one.csv")
    out = tmp_path / "metrics.json"
    code, _, err = run("evaluate", tmp_path / "one.csv", "--out", out, "--resamples", 100)
    assert code == 0, err
    told = err.replace("\n", " ")
    for problem in (
        "metric 'one_value': expected a formula that returns one value a sample; left out",
        "metric 'raises': KeyError: 'no such column'; left out",
        "metric 'missing' of package toys: AttributeError: module 'toy_metrics' has no attribute",
        "metric 'auroc' of package toys: earwitness has a metric of that name; left out",
    ):
        assert told.count(problem) == 1, err
