from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import PredictionsError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.compare import compare
from earwitness.evaluation.evaluate import evaluate
from earwitness.evaluation.identity import Aggregate
from earwitness.evaluation.rows import export_asvspoof, open_sources
from earwitness.evaluation.summarize import summarize
from earwitness.scoring.prediction_files import read_predictions

HEADER = "filepath,target,pred_prob"


def put(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def settle(path: Path, aggregate: Aggregate) -> Predictions:
    return open_sources([path], aggregate=aggregate)[0].predictions


def segments(path: Path, scale: float = 1.0, spellings: tuple[str, ...] = ("{}",) * 4) -> Path:
    """Write 20 files of four segments; the first segment of each says the opposite."""
    rows = []
    for n in range(20):
        target = n % 2
        for segment, spelling in enumerate(spellings):
            right = 0.5 + scale * (0.2 + 0.01 * n) * (1 if target else -1)
            prob = 1 - right if segment == 0 else right
            rows.append(f"{spelling.format(f'a/{n}.wav')},{target},{prob}")
    return put(path, *rows)


def test_several_rows_for_one_file_are_refused_everywhere(tmp_path: Path) -> None:
    path, other = segments(tmp_path / "x__d.csv"), segments(tmp_path / "y__d.csv", 0.5)
    message = r"(x__d.csv|x on d): 80 rows are of 20 files \('a/0.wav' first\).*--aggregate"
    with pytest.raises(PredictionsError, match=message):
        evaluate([path])
    with pytest.raises(PredictionsError, match=message):
        summarize([path])
    with pytest.raises(PredictionsError, match=message):
        compare(path, other)
    with pytest.raises(PredictionsError, match=message):
        evaluate(read_predictions(path))
    with pytest.raises(PredictionsError, match=message):
        export_asvspoof([path], tmp_path / "out")


@pytest.mark.parametrize(
    "spellings", [("{}",) * 4, ("{}", "./{}", "a/../{}", "{}"), ("{}", "{}", "./{}", ".//{}")]
)
def test_aggregated_rows_give_one_count_everywhere(
    tmp_path: Path, spellings: tuple[str, ...]
) -> None:
    path = segments(tmp_path / "x__d.csv", spellings=spellings)
    other = segments(tmp_path / "y__d.csv", 0.5)
    metrics = evaluate([path, other], aggregate="mean", n_resamples=100)
    counts = {s.coverage.n_items for s in metrics.slices if s.kind in ("overall", "dataset")}
    assert counts == {20}
    assert {row.counts.n for row in metrics.table} == {20}
    assert metrics.slices[0].estimates["auroc"].value == 1  # three of four segments are right
    assert any("80 rows of 20 files were aggregated by mean" in note for note in metrics.notes)
    assert metrics.provenance.settings.aggregate == "mean"
    assert [s.row.counts.n for s in summarize([path], aggregate="mean")] == [20]
    pair = compare(path, other, aggregate="mean", n_swaps=20).pairs[0]
    assert (pair.n_common, pair.n_left_out) == (20, 0)


@pytest.mark.parametrize(("how", "prob", "label"), [("mean", 0.45, 0), ("max", 0.8, 1)])
def test_labels_follow_the_threshold_of_the_rows(
    tmp_path: Path, how: Aggregate, prob: float, label: int
) -> None:
    path = put(tmp_path / "d.csv", "a,1,0.1", "a,1,0.8", "b,0,0.2")
    found = settle(path, how).frame
    assert found["filepath"].to_list() == ["a", "b"]
    assert found["pred_prob"].to_list() == pytest.approx([prob, 0.2])
    assert found["pred_label"].to_list() == [label, 0]


def test_logits_are_averaged_and_probabilities_follow(tmp_path: Path) -> None:
    rows = [f"a,1,{1 / (1 + math.exp(-x))},{x}" for x in (-1.0, 5.0)] + ["b,0,0.5,0.0"]
    path = put(tmp_path / "d.csv", *rows, header=f"{HEADER},logit")
    found = settle(path, "mean").frame
    assert found["logit"].to_list() == [2.0, 0.0]
    assert found["pred_prob"].to_list() == pytest.approx([1 / (1 + math.exp(-2)), 0.5])


def test_a_failed_segment_does_not_hide_the_others(tmp_path: Path) -> None:
    rows = ["a,1,0.9,,x", "a,1,,broken,y", "b,0,,broken,z", "b,0,,gone,z"]
    path = put(tmp_path / "d.csv", *rows, header=f"{HEADER},error,note")
    found = settle(path, "mean").frame
    assert found["pred_prob"].to_list() == [0.9, None]
    assert found["error"].to_list() == [None, "broken"]
    assert found["note"].to_list() == ["x", "z"]


@pytest.mark.parametrize(("how", "labels"), [("mean", [1, 0]), ("max", [1, 1])])
def test_labels_alone_are_voted_on(tmp_path: Path, how: Aggregate, labels: list[int]) -> None:
    rows = ["a,1,1", "a,1,1", "a,1,0", "b,0,0", "b,0,0", "b,0,1"]
    path = put(tmp_path / "d.csv", *rows, header="filepath,target,pred_label")
    found = settle(path, how).frame
    assert found["pred_label"].to_list() == labels


def test_rows_without_a_path_are_items_of_their_own() -> None:
    frame = pl.DataFrame({"target": [0, 0], "pred_prob": [0.1, 0.1], "pred_label": [0, 0]})
    frame = frame.with_columns(error=pl.lit(None, dtype=pl.String), abstained=pl.lit(None))
    assert open_sources([Predictions("d", "x", frame)])[0].predictions.frame.height == 2


def test_one_path_with_both_labels_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "d.csv", "a/0.wav,0,0.1", "b,1,0.8", "./a/0.wav,1,0.1")
    expected = f"{path}: a/0.wav is both real and fake; each label counts as an item"
    metrics = evaluate([path], n_resamples=100)
    assert any(note.startswith(expected) for note in metrics.notes)
    assert {s.coverage.n_items for s in metrics.slices if s.kind in ("overall", "dataset")} == {3}
    (summary,) = summarize([path])
    assert summary.row.counts.n == 3
    assert summary.notes[0].startswith(expected)


def test_an_item_that_two_files_label_differently_is_named(tmp_path: Path) -> None:
    one = put(tmp_path / "x__one.csv", "a,0,0.1", "b,1,0.8")
    two = put(tmp_path / "x__two.csv", "a,1,0.1", "c,1,0.8")
    notes = evaluate([one, two], n_resamples=100).notes
    assert any("a is real in one and fake in two" in note for note in notes)


def test_two_names_of_one_file_are_one_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "c.wav"):
        (tmp_path / name).write_text(name)
    (tmp_path / "b.wav").symlink_to("a.wav")
    path = put(tmp_path / "d.csv", "a.wav,0,0.1", "b.wav,0,0.3", "c.wav,1,0.9")
    with pytest.raises(PredictionsError, match="2 rows are of 1 files"):
        evaluate([path])
    metrics = evaluate([path], aggregate="mean", n_resamples=100)
    assert {s.coverage.n_items for s in metrics.slices if s.kind in ("overall", "dataset")} == {2}
    assert [s.row.counts.n for s in summarize([path], aggregate="mean")] == [2]
