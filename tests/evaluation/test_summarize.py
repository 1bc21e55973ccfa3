import csv
from pathlib import Path

import polars as pl
import pytest

from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts
from earwitness.core.predictions import Predictions
from earwitness.evaluation.summarize import Summary, comparison_record, summarize

PUBLISHED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "published" / "final_ood_comparison.csv"
)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_memory(labels, *, probs=None, errors=None, detector="cnn"):
    n = len(labels)
    columns = {
        "target": [1] * n,
        "pred_prob": probs or [None] * n,
        "pred_label": labels,
        "error": errors or [None] * n,
    }
    schema = {"pred_prob": pl.Float64, "pred_label": pl.Int8, "error": pl.String}
    return Predictions("d", detector, pl.DataFrame(columns, schema_overrides=schema))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published table is not beside the project")
def test_published_counts_give_the_published_table():
    with PUBLISHED.open(newline="") as file:
        published = list(csv.DictReader(file))
    assert len(published) == 35
    for expected in published:
        counts = Counts(*(int(expected[name]) for name in ("TP", "TN", "FP", "FN")))
        record = comparison_record(ComparisonRow(expected["model"], expected["dataset"], counts))
        assert tuple(record) == tuple(expected) == COMPARISON_COLUMNS
        texts = {name: "" if cell is None else str(cell) for name, cell in record.items()}
        assert texts == expected


def test_rows_of_a_run_folder(tmp_path):
    head = "target,detector,pred_prob,pred_label,error\n"
    rows = "0,{0},0.1,0,\n0,{0},0.7,1,\n1,{0},0.8,1,\n1,{0},,,broken\n"
    a = put(tmp_path / "preds" / "fma" / "a.csv", head + rows.format("a"))
    b = put(tmp_path / "preds" / "fma" / "b.csv", head + rows.format("org/b"))
    put(tmp_path / "manifests" / "fma.csv", "filepath,target\nx,0\n")
    counts = Counts(tp=1, tn=1, fp=1, fn=0)
    expected = [
        Summary(ComparisonRow("a", "fma", counts), 1, str(a)),
        Summary(ComparisonRow("org/b", "fma", counts), 1, str(b)),
    ]
    assert summarize([a, b]) == summarize([tmp_path]) == expected


def test_published_layouts(tmp_path):
    deezer = put(
        tmp_path / "deezer__fma.csv",
        "filepath,target,encoder,pred_prob_real,pred_prob,pred_label\na,1,x,0.3,0.7,1\n",
    )
    sonics = put(tmp_path / "fma" / "me__net" / "test_predictions.csv", "y_true,y_pred\n1,0.4\n")
    rows = [summary.row for summary in summarize([deezer, str(sonics)])]
    assert rows == [
        ComparisonRow("deezer", "fma", Counts(1, 0, 0, 0)),
        ComparisonRow("me/net", "fma", Counts(0, 0, 0, 1)),
    ]
    (named,) = summarize([deezer], model_name="Deezer-specnn", dataset_name="fma_2000")
    assert (named.row.model, named.row.dataset) == ("Deezer-specnn", "fma_2000")


def test_a_threshold_replaces_the_decisions_and_is_inclusive(tmp_path):
    path = put(tmp_path / "x.csv", "target,pred_prob,pred_label\n1,0.3,1\n1,0.7,0\n0,0.69,1\n")
    assert summarize([path])[0].row.counts == Counts(tp=1, tn=0, fp=1, fn=1)
    assert summarize([path], threshold=0.7)[0].row.counts == Counts(tp=1, tn=1, fp=0, fn=1)
    assert summarize([path], threshold=0)[0].row.counts == Counts(tp=2, tn=0, fp=1, fn=0)


def test_predictions_in_memory_are_taken():
    predictions = in_memory([1, 0, None], probs=[0.9, 0.2, None], errors=[None, None, "broken"])
    (summary,) = summarize([predictions])
    assert summary == Summary(ComparisonRow("cnn", "d", Counts(1, 0, 0, 1)), 1, "cnn on d")
    assert summarize([predictions], threshold=0.1)[0].row.counts == Counts(2, 0, 0, 0)
    (named,) = summarize([predictions], model_name="m", dataset_name="e")
    assert named.row == ComparisonRow("m", "e", Counts(1, 0, 0, 1))


def test_a_detector_that_failed_everywhere_has_a_row_without_items():
    (summary,) = summarize([in_memory([None], errors=["broken"])], threshold=0.5)
    assert (summary.row.counts.n, summary.n_failed) == (0, 1)
    cells = list(comparison_record(summary.row).values())
    assert cells == ["cnn", "d", 0, 0, 0, 0, 0, None, None, None, None, None, None]


def test_a_threshold_needs_scores(tmp_path):
    path = put(tmp_path / "x.csv", "target,pred_label\n1,1\n")
    with pytest.raises(PredictionsError, match=r"x.csv: labels alone, expected .* decide at 0.7"):
        summarize([path], threshold=0.7)
    with pytest.raises(UsageError, match=r"threshold nan, expected a number from 0 to 1"):
        summarize([path], threshold=float("nan"))


def test_two_rows_never_go_by_one_name(tmp_path):
    one, other = in_memory([1]), in_memory([0], detector="other")
    assert len(summarize([one, other])) == 2
    with pytest.raises(UsageError, match=r"model 'cnn' on dataset 'd' again, after cnn on d"):
        summarize([one, one])
    with pytest.raises(UsageError, match=r"model 'm' on dataset 'd' again"):
        summarize([one, other], model_name="m")
