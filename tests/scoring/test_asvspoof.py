"""ASVspoof score and key files: polarity turned once, and back."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import earwitness as ew
from earwitness.core.errors import PredictionsError, UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.rows import open_sources
from earwitness.metrics.measures import measure
from earwitness.scoring.asvspoof import is_score_file, read_scores, write_scores
from frames import fail, predictions

names = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\r\n"), min_size=1, max_size=8
).filter(lambda name: bool(name.strip()) and name == name.strip())
scores = st.floats(allow_nan=False, allow_infinity=False)


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_bona_fide_is_high_there_and_fake_is_high_here(tmp_path: Path) -> None:
    scores = put(tmp_path, "lcnn.tsv", "filename\tcm-score\na\t2.5\nb\t-1.5\nd\t0\n")
    key = put(
        tmp_path, "eval.tsv", "filename\tcm-label\na\tbonafide\nb\tspoof\nc\tspoof\nd\tspoof\n"
    )
    found = read_scores(scores, key)
    assert (found.detector, found.dataset) == ("lcnn", "eval")
    frame = found.frame
    assert frame["filepath"].to_list() == ["a", "b", "c", "d"]
    assert frame["target"].to_list() == [0, 1, 1, 1]
    assert frame["logit"].to_list() == [-2.5, 1.5, None, 0.0]
    assert frame["pred_label"].to_list() == [0, 1, None, 1]
    assert frame["error"].to_list() == [None, None, "no score in lcnn.tsv", None]
    assert frame["pred_prob"].null_count() == 4


@pytest.mark.parametrize(
    "line",
    [
        "D_0062 a M - - - AC1 A11 spoof -\nD_0062 b M - - - - bonafide bonafide -\n",
        "LA_0039 a - A11 spoof\nLA_0014 b - - bonafide\n",
        "LA_0009 a alaw ita_tx A11 spoof notrim eval\nLA_0009 b alaw x - bonafide notrim eval\n",
    ],
)
def test_protocols_serve_as_keys_and_name_the_attack(tmp_path: Path, line: str) -> None:
    scores = put(tmp_path, "x__eval.tsv", "filename\tcm-score\na\t-1\nb\t1\n")
    found = read_scores(scores, put(tmp_path, "protocol.txt", line))
    assert (found.detector, found.dataset) == ("x", "eval")
    columns = ["filepath", "target", "generator"]
    assert found.frame.select(columns).rows() == [("a", 1, "A11"), ("b", 0, None)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(names, st.tuples(st.integers(0, 1), scores), min_size=1, max_size=6))
def test_what_is_written_reads_back(tmp_path: Path, rows: dict[str, tuple[int, float]]) -> None:
    frame = pl.DataFrame(
        [(name, target, logit, None) for name, (target, logit) in rows.items()],
        schema={"filepath": pl.String, "target": pl.Int8, "logit": pl.Float64, "error": pl.String},
        orient="row",
    )
    paths = tmp_path / "d__m.tsv", tmp_path / "m.key.tsv"
    assert write_scores(Predictions("m", "d", frame), *paths) == 0
    back = read_scores(*paths)
    assert (back.detector, back.dataset) == ("d", "m")
    same = ["filepath", "target", "logit"]
    assert back.frame.select(same).rows() == frame.select(same).rows()
    again = tmp_path / "again.tsv"
    write_scores(back, again, tmp_path / "again.key.tsv")
    assert again.read_bytes() == paths[0].read_bytes()


def test_rows_without_a_score_stand_in_the_key_alone(tmp_path: Path) -> None:
    whole = fail(predictions(n_tracks=20), pl.col("group_id") == "FMA:0")
    paths = tmp_path / "cnn__mixed.tsv", tmp_path / "mixed.key.tsv"
    assert write_scores(whole, *paths) == 3
    metrics = ew.evaluate([paths[0]], key=paths[1], n_resamples=60, threshold="eer")
    direct = ew.evaluate([paths[0]], key=paths[1], n_resamples=60).where(kind="overall")[0]
    kept = whole.frame.drop_nulls("logit")
    assert direct.coverage.n_failed == 3
    assert direct.estimates["auroc"].value == measure("auroc", kept["target"], kept["logit"])
    assert direct.estimates["brier"].reason == "no pred_prob"
    assert metrics.operating_points[0].threshold in kept["logit"]
    (source,) = metrics.provenance.sources
    assert len(source.key_sha256) == 64


def test_scores_follow_from_probabilities_where_there_are_no_logits(tmp_path: Path) -> None:
    whole = predictions(n_tracks=5)
    bare = Predictions("mixed", "cnn", whole.frame.with_columns(logit=pl.lit(None)))
    paths = tmp_path / "cnn__mixed.tsv", tmp_path / "mixed.key.tsv"
    write_scores(bare, *paths)
    found = read_scores(*paths).frame["logit"].to_list()
    assert found == pytest.approx(whole.frame["logit"].to_list())


@pytest.mark.parametrize(
    ("scores", "key", "message"),
    [
        ("a\tx\n", "a\tspoof\n", "s.tsv:2: cm-score 'x', expected a number"),
        ("a\tnan\n", "a\tspoof\n", "s.tsv:2: cm-score 'nan', expected a number"),
        ("a\n", "a\tspoof\n", "s.tsv:2: cm-score '', expected a number"),
        ("a\t1\na\t2\n", "a\tspoof\n", "s.tsv:3: 'a' again, expected each file once"),
        ("a\t1\n", "a\tspoof\na\tspoof\n", "k.tsv:3: 'a' again, expected each file once"),
        ("a\t1\n", "a\tfake\n", "k.tsv:2: no label, expected bonafide or spoof in a line"),
        ("a\t1\nb\t1\n", "a\tspoof\n", "s.tsv: 1 files are not in "),
        ("a\t1\n", "", "k.tsv: no files, expected lines of filename and cm-label"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, scores: str, key: str, message: str) -> None:
    paths = (
        put(tmp_path, "s.tsv", "filename\tcm-score\n" + scores),
        put(tmp_path, "k.tsv", "filename\tcm-label\n" + key),
    )
    with pytest.raises(PredictionsError, match=re.escape(message)):
        read_scores(*paths)


def test_paths_that_a_line_cannot_hold(tmp_path: Path) -> None:
    for name, message in (("a\tb", "expected no tab"), (None, "without a filepath")):
        frame = pl.DataFrame({"filepath": [name], "target": [1], "logit": [0.0], "error": [None]})
        with pytest.raises(PredictionsError, match=message):
            write_scores(Predictions("m", "d", frame), tmp_path / "s", tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_score_files_are_known_by_their_first_line(tmp_path: Path) -> None:
    scores = put(tmp_path, "s.csv", "\ufefffilename\tcm-score\na\t1\n")
    assert is_score_file(scores)
    assert not is_score_file(put(tmp_path, "p.csv", "filename,target\n"))
    with pytest.raises(UsageError, match="an ASVspoof score file, expected a key file with it"):
        open_sources([scores])


def test_score_files_without_a_header(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("s1 u1 - - bonafide\ns2 u2 - A07 spoof\ns3 u3 - A08 spoof\n")
    forms = {
        "two.txt": "u1 2.5\nu2 -1.5\nu3 -0.5\n",
        "four.txt": "u1 - bonafide 2.5\nu2 A07 spoof -1.5\nu3 A08 spoof -0.5\n",
        "tabs.txt": "u1\t2.5\r\nu2\t-1.5\r\nu3\t-0.5\r\n",
    }
    for name, text in forms.items():
        (tmp_path / name).write_bytes(text.encode("utf-16" if name == "tabs.txt" else "utf-8"))
        assert is_score_file(tmp_path / name)
        frame = read_scores(tmp_path / name, key).frame
        assert frame["logit"].to_list() == [-2.5, 1.5, 0.5]
        assert frame["pred_label"].to_list() == [0, 1, 1]
        assert frame["generator"].to_list() == [None, "A07", "A08"]
    own = read_scores(tmp_path / "four.txt").frame
    assert own["target"].to_list() == [0, 1, 1]
    assert own["generator"].to_list() == [None, "A07", "A08"]


def test_labels_in_a_score_file_must_agree_with_the_key(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("u1 spoof\n")
    (tmp_path / "s.txt").write_text("u1 - bonafide 2.5\n")
    with pytest.raises(PredictionsError, match=r"s.txt:1: bonafide, expected spoof as in the key"):
        read_scores(tmp_path / "s.txt", tmp_path / "key.txt")


@pytest.mark.parametrize("text", ["", "target,pred_prob\n0,0.5\n", "a b c\n", "0 1\n", "x y z 1\n"])
def test_other_files_are_no_score_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    assert not is_score_file(tmp_path / "x.txt")


def test_headers_are_known_in_any_case(tmp_path: Path) -> None:
    scores = put(tmp_path, "lcnn.tsv", "Filename\tCM-score\na\t2.5\nb\t-1.5\n")
    key = put(tmp_path, "eval.tsv", "FILENAME\tcm-Label\na\tbonafide\nb\tspoof\n")
    assert is_score_file(scores)
    assert read_scores(scores, key).frame["target"].to_list() == [0, 1]
