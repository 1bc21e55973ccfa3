from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.core.errors import PredictionsError
from earwitness.scoring.prediction_files import find_predictions, read_predictions

PROBS = (0.1, 0.3, 0.2, 0.9, 0.7, 0.8)


def put(path: Path, header: str, rows: list[str], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows, ""]), encoding=encoding)
    return path


def test_a_logit_that_falls_where_the_score_rises_is_refused(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{n // 3},{p},{1 - 2 * p}" for n, p in enumerate(PROBS)]
    path = put(tmp_path / "d.csv", "filepath,target,pred_prob,logit", rows)
    with pytest.raises(PredictionsError, match=r"d.csv: logit and pred_prob contradict.*'3.wav'"):
        read_predictions(path)
    one_row = [*(f"{n}.wav,{n // 3},{p},{p}" for n, p in enumerate(PROBS)), "x.wav,1,0.95,-3"]
    path = put(tmp_path / "e.csv", "filepath,target,pred_prob,logit", one_row)
    with pytest.raises(PredictionsError, match=r"'x.wav' has logit -3 and pred_prob 0.95"):
        read_predictions(path)


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_rounding_is_no_contradiction(tmp_path: Path, digits: int) -> None:
    rows = [f"{n},{n % 2},{n / 999:.{digits}f},{n - 500:.3f}" for n in range(1000)]
    path = put(tmp_path / "d.csv", "filepath,target,pred_prob,logit", rows)
    assert read_predictions(path)[0].notes == ()


def test_labels_that_are_no_threshold_are_noted(tmp_path: Path) -> None:
    rows = [f"{n}.wav,{n // 3},{p},{int(p < 0.5)}" for n, p in enumerate(PROBS)]
    path = put(tmp_path / "d.csv", "filepath,target,pred_prob,pred_label", rows)
    (note,) = read_predictions(path)[0].notes
    assert "pred_label is no threshold of pred_prob: '0.wav' at 0.1 is called fake" in note
    rows = [f"{n}.wav,{n // 3},{p},{int(p > 0.75)}" for n, p in enumerate(PROBS)]
    path = put(tmp_path / "e.csv", "filepath,target,pred_prob,pred_label", rows)
    assert read_predictions(path)[0].notes == ()


@pytest.mark.parametrize(
    ("header", "row", "note"),
    [
        (
            "filepath,target,pred_prob,y_pred",
            "a,0,0.2,0.8",
            "pred_prob and y_pred differ in 1",
        ),
        ("filepath,y_true,target,pred_prob", "a,1,0,0.2", "target and y_true differ in 1 of 1"),
        ("filepath,target,y_true,pred_prob", "a,0,real,0.2", None),
        ("filepath,target,pred_prob,y_pred", "a,0,0.2,0.20", None),
    ],
)
def test_second_columns_that_differ_are_noted(
    tmp_path: Path, header: str, row: str, note: str | None
) -> None:
    notes = read_predictions(put(tmp_path / "d.csv", header, [row]))[0].notes
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("filepath;target;pred_prob\na;bona fide;0,25\nb;spoof;0,75\n", "utf-16"),
        ("filepath\ttarget\tpred_prob\na\tHuman\t0.25\nb\tAI\t0.75\n", "utf-8-sig"),
        ("# mine\nfilepath|y_true|y_pred\na|False|0.25\nb|True|0.75\n", "utf-8"),
        (" filepath, target, pred_prob\n a, 0.0, 2.5e-1\n b, 1.0, .75\n", "utf-8"),
        ('"filepath","target","pred_prob"\r\n"a","0","0.25"\r\n"b","1","0.75"\r\n', "latin-1"),
    ],
)
def test_prediction_files_of_any_common_kind(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "d.CSV"
    path.write_bytes(text.encode(encoding))
    frame = read_predictions(path)[0].frame
    assert frame.select("filepath", "target", "pred_prob", "pred_label").rows() == [
        ("a", 0, 0.25, 0),
        ("b", 1, 0.75, 1),
    ]


def test_missing_as_pandas_writes_it_is_missing(tmp_path: Path) -> None:
    header = "filepath,target,pred_prob,group_id,generator,error,source_dataset"
    rows = ["a,0,0.2,nan,None,NaN,nan", "b,1,nan,NA,x,null,null", "c,1,,g,x,broken,FMA"]
    frame = read_predictions(put(tmp_path / "d.csv", header, rows))[0].frame
    assert frame["group_id"].to_list() == [None, None, "g"]
    assert frame["generator"].to_list() == [None, "x", "x"]
    assert frame["source_dataset"].to_list() == [None, None, "FMA"]
    assert frame["error"].to_list() == [None, "no score in the file", "broken"]


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    header = "filepath,target,pred_prob,group_id,generator"
    rows = ["a,0,0.2,e\u0301,", "b,1,0.8,\u00e9,n\u0303", "c,1,0.8,x,\u00f1"]
    frame = read_predictions(put(tmp_path / "d.csv", header, rows))[0].frame
    assert frame["group_id"].n_unique() == 2
    assert frame["generator"].drop_nulls().n_unique() == 1


def test_links_to_folders_and_suffixes_in_capitals_are_found(tmp_path: Path) -> None:
    there = put(tmp_path / "away" / "d.CSV", "target,pred_prob", ["0,0.2"])
    put(tmp_path / "runs" / "e.TSV", "target\tpred_prob", ["0\t0.2"])
    (tmp_path / "runs" / "linked").symlink_to(there.parent, target_is_directory=True)
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs", target_is_directory=True)
    found = find_predictions(tmp_path / "runs")
    assert [p.relative_to(tmp_path / "runs").as_posix() for p in found] == ["e.TSV", "linked/d.CSV"]
