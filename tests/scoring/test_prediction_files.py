import re

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earwitness.core.errors import PredictionsError
from earwitness.core.predictions import PREDICTION_COLUMNS
from earwitness.scoring.prediction_files import (
    UNSCORED,
    find_predictions,
    read_predictions,
    write_predictions,
)

OURS = """\
filepath,target,skip_time,generator,\
detector,preprocessing,precision,windows,native_rate_hz,below_band,logit,pred_prob,pred_label,\
error,encoder_real,encoder_dac
a.mp3,0,0.0,,cnn,correct,fp32,1,44100,false,-2.0,0.12,0,,0.9,0.1
b.mp3,1,0.0,dac,cnn,correct,fp32,1,16000,true,2.0,0.88,1,,0.2,0.8
c.mp3,1,0.0,dac,cnn,correct,fp32,1,,,,,,not audio,,
"""
DEEZER = "filepath,target,encoder,pred_prob_real,pred_prob,pred_label\na,0,real,0.9,0.1,0\n"
SONICS = "target,y_pred\n0,0.49\n1,0.5\n"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def put(folder, text, name="file.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read_one(path, **names):
    (predictions,) = read_predictions(path, **names)
    return predictions


def test_our_file_is_typed_and_in_order(tmp_path):
    predictions = read_one(put(tmp_path, OURS))
    frame = predictions.frame
    others = ("filepath", "target", "skip_time", "generator")
    encoders = ("encoder_real", "encoder_dac")
    assert tuple(frame.columns) == (*others, *PREDICTION_COLUMNS, *encoders)
    assert predictions.detector == "cnn"
    assert (predictions.n_scored, predictions.n_failed) == (2, 1)
    assert frame["native_rate_hz"].to_list() == [44_100, 16_000, None]
    assert frame["below_band"].to_list() == [False, True, None]
    assert frame["target"].to_list() == [0, 1, 1]
    assert frame["pred_prob"].to_list() == [0.12, 0.88, None]
    assert frame["pred_label"].to_list() == [0, 1, None]
    assert frame["error"].to_list() == [None, None, "not audio"]
    assert frame["encoder_dac"].to_list() == [0.1, 0.8, None]
    assert frame.schema["logit"] == frame.schema["skip_time"] == pl.Float64


def test_published_deezer_form(tmp_path):
    frame = read_one(put(tmp_path, DEEZER)).frame
    row = frame.row(0, named=True)
    assert (row["target"], row["pred_prob"], row["pred_label"]) == (0, 0.1, 0)
    assert (row["encoder"], row["pred_prob_real"], row["error"]) == ("real", 0.9, None)


@pytest.mark.parametrize("truth", ["target", "y_true"])
def test_published_sonics_form_is_labelled_at_one_half(tmp_path, truth):
    frame = read_one(put(tmp_path, SONICS.replace("target", truth))).frame
    assert frame["target"].to_list() == [0, 1]
    assert frame["pred_prob"].to_list() == [0.49, 0.5]
    assert frame["pred_label"].to_list() == [0, 1]


def test_labels_of_the_file_stand_whatever_the_score(tmp_path):
    path = put(tmp_path, "target,pred_prob,pred_label\n1,0.6,0\n0,0.2,1.0\n")
    assert read_one(path).frame["pred_label"].to_list() == [0, 1]


def test_labels_alone_are_enough(tmp_path):
    frame = read_one(put(tmp_path, "y_true,pred_label\n1,1\n0,0\n")).frame
    assert frame["pred_label"].to_list() == [1, 0]
    assert frame["pred_prob"].to_list() == [None, None]


def test_rows_without_a_score_say_so(tmp_path):
    frame = read_one(put(tmp_path, "target,y_pred\n1,\n0,0.2\n")).frame
    assert frame["error"].to_list() == [UNSCORED, None]
    assert frame["pred_label"].to_list() == [None, 0]


def test_an_error_beside_a_score_counts_as_an_error(tmp_path):
    path = put(tmp_path, "target,pred_prob,pred_label,error\n1,0.9,1,cut short\n0,0.2,0,\n")
    predictions = read_one(path)
    assert predictions.n_failed == 1
    assert predictions.frame["pred_label"].to_list() == [None, 0]
    assert predictions.frame["pred_prob"].to_list() == [None, 0.2]


def test_byte_order_mark_line_ends_and_blank_lines(tmp_path):
    text = "\ufeff" + SONICS.replace("\n", "\r\n").replace("0.49\r\n", "0.49\r\n\r\n") + "\r\n"
    assert read_one(put(tmp_path, text)).frame["pred_prob"].to_list() == [0.49, 0.5]


def test_several_detectors_in_one_file(tmp_path):
    path = put(tmp_path, "target,pred_prob,detector\n1,0.9,b\n1,0.1,a\n0,0.2,b\n")
    first, second = read_predictions(path)
    assert (first.detector, first.frame["pred_prob"].to_list()) == ("b", [0.9, 0.2])
    assert (second.detector, second.frame["pred_prob"].to_list()) == ("a", [0.1])
    with pytest.raises(PredictionsError, match=r"detectors b, a; expected one"):
        read_predictions(path, detector="mine")


@pytest.mark.parametrize(
    ("name", "dataset", "detector"),
    [
        ("run/preds/fma_real/a__b.csv", "fma_real", "a/b"),
        ("deezer__fma__real.csv", "fma__real", "deezer"),
        ("sonics/fma_real/me__net-5s/test_predictions.csv", "fma_real", "me/net-5s"),
        ("mine.csv", "mine", "mine"),
    ],
)
def test_names_are_taken_from_the_path(tmp_path, name, dataset, detector):
    path = put(tmp_path, SONICS, name)
    predictions = read_one(path)
    assert (predictions.dataset, predictions.detector) == (dataset, detector)
    assert predictions.frame["detector"].unique().to_list() == [detector]
    named = read_one(path, dataset="d", detector="m")
    assert (named.dataset, named.detector) == ("d", "m")


def test_the_column_names_the_detector_before_the_path(tmp_path):
    predictions = read_one(put(tmp_path, OURS, "deezer__fma.csv"))
    assert (predictions.dataset, predictions.detector) == ("fma", "cnn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target,y_pred\n0,0.1\nmaybe,0.2\n", ":3: target 'maybe', expected 0 (real) or 1 (fake)"),
        ("y_true,y_pred\n,0.1\n", ":2: y_true '', expected 0 (real) or 1 (fake)"),
        ("target,y_pred\n\n0,1.5\n", ":3: y_pred '1.5', expected a number from 0 to 1"),
        ("target,y_pred\n0,inf\n", ":2: y_pred 'inf', expected a number from 0 to 1"),
        ("target,pred_prob\n0,-0.1\n", ":2: pred_prob '-0.1', expected a number from 0 to 1"),
        ("target,pred_prob\n0,x\n", ":2: pred_prob 'x', expected a number from 0 to 1"),
        ("target,pred_label\n0,2\n", ":2: pred_label '2', expected 0 (real) or 1 (fake)"),
        ("target,y_pred,logit\n0,0.2,inf\n", ":2: logit 'inf', expected a number"),
        ("target,y_pred,detector\n0,0.2,\n", ":2: detector '', expected a name"),
        (
            "target,pred_prob,pred_label\n0,0.2,\n",
            ":2: pred_label '', expected one beside the score",
        ),
        (
            "target,y_pred,pred_label\n0,,1\n",
            ":2: y_pred '', expected one beside the label",
        ),
        (
            "target,y_pred\n2,0.1\n0,0.2\n3,7\n",
            ":2: target '2', expected 0 (real) or 1 (fake) (and 2 more problems)",
        ),
        ("", ": empty, expected a header line and rows"),
        ("target,y_pred\n", ": no rows, expected at least one item"),
        (
            "filepath,target,score\na,0,1\n",
            ": columns filepath, target, score; expected target or y_true, and pred_label, "
            "pred_prob or y_pred, among them",
        ),
        ("a,b\n1,2,3\n", ":2: 3 fields, expected 2 as in the header"),
        (b"target,y_pred\n0,\xff\n", ":2: y_pred 'ÿ', expected a number from 0 to 1"),
        ('{"target": [0, 1]}\n', ': columns {"target": [0, 1]}; expected'),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    path = put(tmp_path, text)
    with pytest.raises(PredictionsError, match=re.escape(f"{path}{message}")) as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PredictionsError, match=r"none.csv: cannot be read \("):
        read_predictions(tmp_path / "none.csv")


def test_parquet_says_the_same(tmp_path):
    csv = put(tmp_path, OURS)
    frame = read_one(csv).frame
    write_predictions(frame, tmp_path / "file.parquet")
    assert read_one(tmp_path / "file.parquet").frame.equals(frame)
    put(tmp_path, "not parquet", "bad.parquet")
    with pytest.raises(PredictionsError, match="cannot be read as a table"):
        read_predictions(tmp_path / "bad.parquet")


def test_numbers_that_are_not_finite_are_written_as_empty(tmp_path):
    path = tmp_path / "new" / "file.csv"
    frame = pl.DataFrame(
        {"target": [0, 1], "y_pred": [float("nan"), 0.5], "x": [1.0, float("inf")]}
    )
    write_predictions(frame, path)
    assert path.read_text() == "target,y_pred,x\n0,,1.0\n1,0.5,\n"
    assert [p.name for p in path.parent.iterdir()] == ["file.csv"]


@pytest.mark.parametrize("name", ["[1].csv", "a*.csv", "ü {x}.parquet"])
def test_a_path_is_no_pattern(tmp_path, name):
    frame = read_one(put(tmp_path, OURS, "a1.csv")).frame
    write_predictions(frame, tmp_path / "d[1]" / name)
    assert read_one(tmp_path / "d[1]" / name).frame.equals(frame)
    assert find_predictions(tmp_path / "d[1]") == [tmp_path / "d[1]" / name]


ROWS = st.lists(st.tuples(texts, floats, st.floats(0, 1)), min_size=1, max_size=6)
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


@settings(deadline=None, suppress_health_check=SHARED_FOLDER)
@given(rows=ROWS)
def test_csv_reads_back_as_written(tmp_path, rows):
    check_round_trip(tmp_path / "file.csv", rows)


@settings(deadline=None, suppress_health_check=SHARED_FOLDER, max_examples=5)  # a process each
@given(rows=ROWS)
def test_parquet_reads_back_as_written(tmp_path, rows):
    check_round_trip(tmp_path / "file.parquet", rows)


def check_round_trip(path, rows):
    names, logits, probs = (list(column) for column in zip(*rows, strict=True))
    logits.sort(key=lambda logit: (logit is not None, logit))
    probs.sort()  # they must not contradict each other
    frame = pl.DataFrame(
        {"filepath": names, "target": [1] * len(rows), "logit": logits, "pred_prob": probs},
        schema_overrides={"logit": pl.Float64},
    )
    write_predictions(frame, path)
    back = read_one(path).frame
    assert back.select(frame.columns).rows() == frame.rows()


def test_folders_are_searched_by_columns(tmp_path):
    wanted = [
        put(tmp_path, OURS, "preds/d/cnn.csv"),
        put(tmp_path, "", "sonics/d/m/test_predictions.csv"),
        put(tmp_path, SONICS, "x__d.csv"),
    ]
    write_predictions(read_one(wanted[0]).frame, tmp_path / "z.parquet")
    put(tmp_path, "filepath,target\na,0\n", "manifests/d.csv")
    put(tmp_path, "model,dataset,n\n", "final.csv")
    put(tmp_path, b"\xff\xfe\x00a\n\xff", "binary.csv")
    put(tmp_path, SONICS, ".x.csv.tmp.csv")
    assert find_predictions(tmp_path) == sorted([*wanted, tmp_path / "z.parquet"])
    with pytest.raises(PredictionsError, match="no prediction file, expected CSVs with target"):
        find_predictions(tmp_path / "manifests")


def test_rows_abstained_from_are_a_state_of_their_own(tmp_path):
    path = put(
        tmp_path,
        "filepath,target,logit,pred_prob,pred_label,abstained,error\n"
        "a.wav,0,-1.0,0.27,0,,\n"
        "silent.wav,0,,,,nothing to analyse: digital silence,\n"
        "gone.wav,1,,,,,no such file\n",
    )
    (found,) = read_predictions(path)
    assert (found.n_scored, found.n_abstained, found.n_failed) == (1, 1, 1)
    assert found.frame["error"].to_list() == [None, None, "no such file"]
    again = tmp_path / "again.csv"
    write_predictions(found.frame, again)
    (back,) = read_predictions(again, dataset=found.dataset)
    assert back.frame.equals(found.frame.with_columns(detector=pl.lit(back.detector)))


def test_a_row_cannot_have_a_reason_and_an_error(tmp_path):
    text = "filepath,target,pred_label,abstained,error\na.wav,0,,silence,no such file\n"
    with pytest.raises(PredictionsError, match=r":2: abstained 'silence', expected nothing beside"):
        read_predictions(put(tmp_path, text))


@pytest.mark.parametrize("text", [OURS, DEEZER, SONICS])
def test_names_of_columns_are_known_in_any_case(tmp_path, text):
    head, rest = text.split("\n", 1)
    head = head.replace("encoder_", "head_")  # a prefix is no name
    own = read_one(put(tmp_path, f"{head}\n{rest}", "a/p.csv")).frame
    shouted = put(tmp_path, f"{head.upper()}\n{rest}", "b/p.csv")
    found = read_one(shouted).frame
    known = [name for name in own.columns if name in found.columns]
    assert {"target", "pred_prob", "pred_label", "error"} <= set(known)
    assert set(own.columns) - set(known) <= {"encoder", "head_real", "head_dac"}
    assert found.select(known).equals(own.select(known))
    assert find_predictions(tmp_path / "b") == [shouted]
