from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.compare import COMPARED, compare
from earwitness.manifests.scores import write_predictions
from earwitness.metrics import ranking
from earwitness.metrics.comparisons import holm
from frames import fail, keep, predictions


def test_on_the_rows_that_both_scored() -> None:
    one = fail(predictions(detector="one"), pl.col("group_id") == "FMA:0")
    two = keep(predictions(detector="two", seed=1, shift=4), pl.col("group_id") != "SONICS:1")
    found = compare(one, two, n_swaps=50)
    assert (found.first, found.second) == ("one", "two")
    assert (found.n_common, found.n_left_out) == (174, 6)
    assert [line.metric for line in found.lines] == list(COMPARED)
    common = pl.col("group_id").is_in(["FMA:0", "SONICS:1"]).not_()
    auroc = found.lines[0]
    for value, side in ((auroc.first, one), (auroc.second, two)):
        frame = side.frame.filter(common)
        assert value == ranking.auroc(frame["target"], frame["logit"])
    assert auroc.difference.value == pytest.approx(auroc.first - auroc.second)
    assert (auroc.n_items, auroc.n_groups) == (174, 58)
    assert auroc.difference.p < 0.001
    for line in found.lines:
        assert line.difference.value == pytest.approx(line.first - line.second), line.metric


def test_the_order_of_rows_does_not_matter() -> None:
    one, two = predictions(), predictions(detector="two", seed=1)
    shuffled = Predictions("mixed", "two", two.frame.sample(fraction=1, shuffle=True, seed=0))
    assert compare(one, shuffled, n_swaps=50) == compare(one, two, n_swaps=50)


def test_by_dataset_where_there_are_several_and_corrected_over_all(tmp_path: Path) -> None:
    for detector, seed in (("one", 0), ("two", 1)):
        whole = predictions(detector=detector, seed=seed)
        for corpus in ("FMA", "SONICS"):
            part = keep(whole, pl.col("source_dataset") == corpus)
            write_predictions(
                part.frame, tmp_path / detector / "preds" / corpus / f"{detector}.csv"
            )
    found = compare(tmp_path / "one", tmp_path / "two", n_swaps=50)
    assert [line.dataset for line in found.lines[:: len(COMPARED)]] == ["overall", "FMA", "SONICS"]
    raw = [line.difference.p for line in found.lines]
    assert [line.p_holm for line in found.lines] == holm(raw)
    assert found.lines[-1].n_items == 90


def test_two_runs_of_one_detector_go_by_their_files(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for seed, path in enumerate(paths):
        frame = predictions(seed=seed).frame.with_columns(detector=pl.lit("cnn"))
        write_predictions(frame, path)
    found = compare(*paths, n_swaps=20)
    assert (found.first, found.second) == tuple(map(str, paths))


def test_files_without_paths_are_matched_by_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("y_true,y_pred\n" + "1,0.7\n0,0.2\n1,0.4\n" * 20)
    found = compare(tmp_path / "a.csv", tmp_path / "b.csv", n_swaps=20)
    assert (found.n_common, found.n_left_out) == (60, 0)
    assert found.lines[0].difference.value == 0


def test_one_class_is_undefined_with_a_reason() -> None:
    fakes = pl.col("target") == 1
    found = compare(
        keep(predictions(detector="a"), fakes), keep(predictions(detector="b", seed=1), fakes)
    )
    by_metric = {line.metric: line for line in found.lines}
    assert math.isnan(by_metric["f1"].first)
    assert by_metric["f1"].difference.reason == "undefined on these items"
    assert math.isfinite(by_metric["recall"].difference.p)


def test_what_is_refused(tmp_path: Path) -> None:
    one = predictions()
    other = predictions(corpora=["elsewhere"])
    with pytest.raises(UsageError, match="no item that both scored"):
        compare(one, other)
    both = pl.concat(
        [p.frame.with_columns(detector=pl.lit(n)) for n, p in (("a", one), ("b", other))]
    )
    write_predictions(both, tmp_path / "both.csv")
    with pytest.raises(UsageError, match=r"both.csv: detectors a, b; expected one"):
        compare(tmp_path / "both.csv", one)
