from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.evaluation.schema import Metrics, read_metrics, write_metrics
from earwitness.evaluation.summarize import NO_GROUPS, NO_SCORES, evaluate_counts
from earwitness.metrics.measures import METRICS
from earwitness.report.comparison import read_comparison

FAKES = ComparisonRow("m", "fakes", Counts(tp=30, tn=0, fp=0, fn=10))
REALS = ComparisonRow("m", "reals", Counts(tp=0, tn=38, fp=2, fn=0))


def of(*rows: ComparisonRow) -> Metrics:
    return evaluate_counts(rows, source="table.csv")


def test_rates_are_said_without_intervals_and_the_rest_is_not_made_up() -> None:
    fakes = of(FAKES, REALS).where(kind="dataset")[0]
    assert tuple(fakes.estimates) == tuple(METRICS)
    recall = fakes.estimates["recall"]
    assert (recall.value, recall.n_items, recall.n_groups) == (0.75, 40, 0)
    assert (recall.low, recall.reason) == (None, NO_GROUPS)
    for name in ("specificity", "precision", "f1", "balanced_accuracy", "mcc"):
        assert fakes.estimates[name].value is None
        assert fakes.estimates[name].reason == "only fakes in this set"
    for name in ("auroc", "eer", "cllr", "ece"):
        assert fakes.estimates[name].reason == NO_SCORES
    assert fakes.curves is None
    assert "a comparison table lacks" in (fakes.no_curves or "")


def test_sets_of_one_class_are_crossed() -> None:
    mixed = ComparisonRow("m", "mixed", Counts(1, 1, 1, 1))
    (cell,) = of(FAKES, REALS, mixed).where(kind="grid")
    assert cell.name == "reals × fakes"
    assert cell.counts == Counts(tp=30, tn=38, fp=2, fn=10)
    assert cell.estimates["balanced_accuracy"].value == pytest.approx((0.75 + 0.95) / 2)


def test_detectors_are_crossed_with_themselves_alone() -> None:
    other = ComparisonRow("n", "reals", Counts(tp=0, tn=1, fp=1, fn=0))
    assert [part.detector for part in of(FAKES, REALS, other).where(kind="grid")] == ["m"]


def test_empty_and_one_sided_counts_say_why() -> None:
    empty, silent = of(
        ComparisonRow("m", "none", Counts(0, 0, 0, 0)),
        ComparisonRow("m", "silent", Counts(tp=0, tn=5, fp=0, fn=5)),
    ).where(kind="dataset")
    assert empty.estimates["accuracy"].reason == "no items"
    assert silent.estimates["precision"].reason == "nothing was called fake"
    for name in ("f1", "mcc"):
        assert (silent.estimates[name].value, silent.estimates[name].reason) == (0, NO_GROUPS)


def test_the_published_table_survives_the_file(shared: Path, tmp_path: Path) -> None:
    source = shared / "published" / "final_ood_comparison.csv"
    metrics = evaluate_counts(read_comparison(source), source=source)
    assert len(metrics.detectors) == 7
    assert len(metrics.where(kind="dataset")) == len(metrics.table) == 35
    assert len(metrics.where(kind="grid")) == 7 * 2 * 3
    deezer = [row for row in metrics.table if row.model == "Deezer-specnn_amplitude"]
    marked = {row.dataset: row.by_construction for row in deezer}
    assert marked["fma_fake_valid_2000"] == ["precision_fake", "f1_fake"]
    assert marked["sonics_real_valid_1243"] == []
    write_metrics(metrics, tmp_path / "metrics.json")
    assert read_metrics(tmp_path / "metrics.json") == metrics
