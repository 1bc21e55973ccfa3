from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.compare import COMPARED, compare
from earwitness.metrics.measures import measure
from earwitness.metrics.resampling import holm
from earwitness.scoring.prediction_files import write_predictions
from frames import fail, keep, predictions


def test_on_the_rows_that_both_scored() -> None:
    one = fail(predictions(detector="one"), pl.col("group_id") == "FMA:0")
    two = keep(predictions(detector="two", seed=1, shift=4), pl.col("group_id") != "SONICS:1")
    (found,) = compare(one, two, n_swaps=50).pairs
    assert (found.first, found.second) == ("one", "two")
    assert (found.n_common, found.n_left_out) == (174, 6)
    assert [line.metric for line in found.lines] == list(COMPARED)
    common = pl.col("group_id").is_in(["FMA:0", "SONICS:1"]).not_()
    auroc = found.lines[0]
    for value, side in ((auroc.first, one), (auroc.second, two)):
        frame = side.frame.filter(common)
        assert value == measure("auroc", frame["target"], frame["logit"])
    assert auroc.difference.value == pytest.approx(auroc.first - auroc.second)
    assert (auroc.n_items, auroc.n_groups) == (174, 58)
    assert auroc.difference.p < 1 / 51  # no swap is as great
    assert auroc.difference.low <= auroc.difference.value <= auroc.difference.high < 0
    for line in found.lines:
        assert line.difference.value == pytest.approx(line.first - line.second), line.metric


def test_items_that_one_side_abstained_from_are_left_out() -> None:
    one, two = predictions(detector="one"), predictions(detector="two", seed=1)
    silent = pl.col("group_id") == "FMA:0"
    outputs = ("logit", "pred_prob", "pred_label")
    frame = one.frame.with_columns(
        *(pl.when(~silent).then(pl.col(name)).alias(name) for name in outputs),
        abstained=pl.when(silent).then(pl.lit("too short")),
    )
    (found,) = compare(Predictions(one.dataset, "one", frame), two, n_swaps=20).pairs
    n_silent = frame["abstained"].count()
    assert n_silent
    assert (found.n_common, found.n_left_out) == (frame.height - n_silent, n_silent)
    kept = keep(one, ~silent).frame
    assert found.lines[0].first == measure("auroc", kept["target"], kept["logit"])


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
    (found,) = compare(*paths, n_swaps=20).pairs
    assert (found.first, found.second) == tuple(f"cnn in {path}" for path in paths)


def write_run(folder: Path, **seeds: int) -> Path:
    """Prediction files of several detectors on one dataset."""
    for detector, seed in seeds.items():
        frame = predictions(n_tracks=40, detector=detector, seed=seed).frame
        write_predictions(frame, folder / "preds" / "mixed" / f"{detector}.csv")
    return folder


def test_of_two_runs_each_detector_that_both_have_is_compared_with_itself(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", cnn=0, vit=1, old=2)
    two = write_run(tmp_path / "b", new=3, vit=4, cnn=5)
    found = compare(one, two, n_swaps=20)
    named = [(pair.first, pair.second) for pair in found.pairs]
    assert named == [(f"{name} in {one}", f"{name} in {two}") for name in ("cnn", "vit")]
    assert found.notes == [
        f"old in {one} has no counterpart",
        f"new in {two} has no counterpart",
    ]
    raw = [line.difference.p for line in found.lines]
    assert len(raw) == 2 * len(COMPARED)
    assert [line.p_holm for line in found.lines] == holm(raw)
    alone = compare(
        one / "preds" / "mixed" / "cnn.csv", two / "preds" / "mixed" / "cnn.csv", n_swaps=20
    )
    assert [line.difference for line in alone.lines] == [
        line.difference for line in found.pairs[0].lines
    ]


def test_a_run_against_one_of_its_detectors(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", cnn=0, old=1, vit=2)
    one = run / "preds" / "mixed" / "old.csv"
    found = compare(run, one, n_swaps=20)
    assert [(p.first, p.second) for p in found.pairs] == [("cnn", "old"), ("vit", "old")]
    turned = compare(one, run, n_swaps=20)
    assert [(p.first, p.second) for p in turned.pairs] == [("old", "cnn"), ("old", "vit")]
    assert found.notes == turned.notes == []
    again = write_run(tmp_path / "b", old=3)
    (repeated,) = compare(run, again, n_swaps=20).pairs
    assert (repeated.first, repeated.second) == (f"old in {run}", f"old in {again}")


def test_files_without_paths_are_matched_by_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("y_true,y_pred\n" + "1,0.7\n0,0.2\n1,0.4\n" * 20)
    (found,) = compare(tmp_path / "a.csv", tmp_path / "b.csv", n_swaps=20).pairs
    assert (found.n_common, found.n_left_out) == (60, 0)
    assert found.lines[0].difference.value == 0


def test_one_class_is_undefined_with_a_reason() -> None:
    fakes = pl.col("target") == 1
    found = compare(
        keep(predictions(detector="a"), fakes),
        keep(predictions(detector="b", seed=1), fakes),
        n_swaps=20,
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
    runs = write_run(tmp_path / "x", a=0, b=1), write_run(tmp_path / "y", c=0, d=1)
    message = r"x: detectors a, b; .*y: detectors c, d; expected a common detector"
    with pytest.raises(UsageError, match=message):
        compare(*runs)
    with pytest.raises(UsageError, match="the same files of a, expected two detectors or two runs"):
        compare(runs[0], runs[0])
