import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import COMPARISON_COLUMNS, ComparisonRow, Counts
from earwitness.report.comparison import (
    comparison_table,
    read_comparison,
    write_comparison,
    write_latex,
)

PUBLISHED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "published" / "final_ood_comparison.csv"
)
HEAD = ",".join(COMPARISON_COLUMNS)
BOTH = ComparisonRow("org/a", "both", Counts(tp=10, tn=20, fp=3, fn=4))
FAKES = ComparisonRow("b", "fakes", Counts(tp=748, tn=0, fp=0, fn=1252))
REALS = ComparisonRow("b", "reals", Counts(tp=0, tn=1243, fp=0, fn=0))

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
numbers = st.integers(0, 10**9)
counts = st.builds(Counts, numbers, numbers, numbers, numbers)
many_rows = st.lists(
    st.builds(ComparisonRow, names, names, counts),
    min_size=1,
    max_size=5,
    unique_by=lambda row: (row.model, row.dataset),
)


def put(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def printed(rows, width=100, **options):
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(comparison_table(rows))
    return stream.getvalue()


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published table is not beside the project")
def test_the_published_table_comes_out_as_it_went_in(tmp_path):
    rows = read_comparison(PUBLISHED)
    write_comparison(rows, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().split() == PUBLISHED.read_text().split()


def test_undefined_cells_are_empty(tmp_path):
    write_comparison([FAKES, REALS], tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines() == [
        HEAD,
        "b,fakes,2000,748,0,0,1252,0.374,1.0,0.374,,0.544395924308588,",
        "b,reals,1243,0,1243,0,0,1.0,,,1.0,,",
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=many_rows)
def test_what_is_written_reads_back(tmp_path, rows):
    write_comparison(rows, tmp_path / "table.csv")
    ordered = sorted(rows, key=lambda row: (row.dataset, row.model))
    assert read_comparison(tmp_path / "table.csv") == ordered


def test_append_replaces_and_adds_sorted_by_dataset_then_model(tmp_path):
    path = tmp_path / "table.csv"
    write_comparison([BOTH], path, append=True)
    write_comparison([FAKES, REALS], path, append=True)
    newer = ComparisonRow("b", "fakes", Counts(1, 0, 0, 0))
    last = ComparisonRow("c", "fakes", Counts(2, 0, 0, 0))
    write_comparison([last, newer], path, append=True)
    assert read_comparison(path) == sorted(
        [BOTH, newer, REALS, last], key=lambda row: (row.dataset, row.model)
    )
    write_comparison([last], path)
    assert read_comparison(path) == [last]


def test_append_loses_nothing_of_another_table(tmp_path):
    path = put(tmp_path, "model,dataset,n,TP,TN,FP,FN,remark\nm,d,1,1,0,0,0,mine\n")
    with pytest.raises(PredictionsError, match="column 'remark' would be lost"):
        write_comparison([BOTH], path, append=True)
    assert "mine" in path.read_text()
    path = put(tmp_path, "not,a,table\n1,2,3\n")
    with pytest.raises(PredictionsError, match="no column 'model'"):
        write_comparison([BOTH], path, append=True)


def test_two_new_rows_of_one_name_are_refused(tmp_path):
    with pytest.raises(PredictionsError, match="two new rows have the same model and dataset"):
        write_comparison([BOTH, BOTH], tmp_path / "table.csv")


def test_headings_of_the_published_script(tmp_path):
    text = "\ufeffmodel_name,dataset_name,n_samples,TP,TN,FP,FN,accuracy\r\n"
    path = put(tmp_path, text + "org/a,both,37,10,20,3,4,0.81\r\n\r\n")
    assert read_comparison(path) == [BOTH]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m,d,3,1,1,1,1", ":2: TP, TN, FP and FN sum to 4, expected n, 3"),
        ("m,d,4,1,1,1,-1", ":2: FN '-1', expected a whole number from 0 up"),
        ("m,d,1,1,0,0,0\nm,e,1,1.5,0,0,0", ":3: TP '1.5', expected a whole number from 0 up"),
        ("m,d,,1,1,1,1", ":2: n '', expected a whole number from 0 up"),
        (",d,1,1,0,0,0", ":2: no model, expected its name"),
        ("m,,1,1,0,0,0\nm,d,²,1,1,1,1", ":2: no dataset, expected its name (and 1 more rows)"),
    ],
)
def test_wrong_rows_are_reported_with_their_line(tmp_path, text, message):
    path = put(tmp_path, f"model,dataset,n,TP,TN,FP,FN\n{text}\n")
    with pytest.raises(PredictionsError, match=re.escape(f"{path}{message}")):
        read_comparison(path)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(PredictionsError, match="empty, expected a header line and rows"):
        read_comparison(put(tmp_path, ""))
    with pytest.raises(PredictionsError, match="cannot be read"):
        read_comparison(tmp_path / "none.csv")


def test_the_terminal_shows_dashes_and_daggers():
    text = printed([BOTH, FAKES, REALS])
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert re.split(r"\s+", lines["org/a"].strip())[1:] == (
        ["37", "10", "20", "3", "4", "0.811", "0.769", "0.714", "0.870", "0.741", "0.792"]
    )
    assert "0.374 1.000† 0.374     – 0.544†     –" in text
    assert text.rstrip().endswith("† by construction: this set holds one class only")


def test_two_class_rows_and_undefined_rates_have_no_dagger():
    assert "†" not in printed([BOTH, REALS, ComparisonRow("m", "none", Counts(0, 0, 0, 0))])


@pytest.mark.parametrize("soft_wrap", [False, True])
def test_the_terminal_table_fits_into_100_columns(soft_wrap):
    long = ComparisonRow("awsaf49/sonics-spectttra-alpha-120s", "d" * 120, Counts(9999, 0, 0, 0))
    text = printed([long, BOTH, FAKES], soft_wrap=soft_wrap)
    assert max(map(len, text.splitlines())) <= 100
    assert long.model in text
    assert text.count("d") >= 120


def test_names_are_no_markup():
    assert "a[bold]c" in printed([ComparisonRow("a[bold]c", "[red]", Counts(1, 1, 1, 1))])


def test_an_empty_table_prints():
    assert "data set / detector" in printed([])


def test_headings_are_known_in_any_case(tmp_path):
    path = put(tmp_path, "Model_Name,DATASET,N_samples,tp,Tn,FP,fn\na,d,4,1,1,1,1\n")
    (row,) = read_comparison(path)
    assert (row.model, row.dataset, row.counts) == ("a", "d", Counts(1, 1, 1, 1))


COMB = ComparisonRow("comb", "mixed", Counts(tp=3, tn=5, fp=1, fn=1), 3, 2, one_sided=True)


def test_lost_items_and_one_sided_detectors_add_columns_after_the_published_ones(tmp_path):
    path = tmp_path / "table.csv"
    write_comparison([BOTH, COMB], path)
    head, *lines = path.read_text().splitlines()
    assert head == f"{HEAD},n_lost,n_abstained,one_sided"
    assert [line.split(",")[-3:] for line in lines] == [["0", "0", "false"], ["3", "2", "true"]]
    read = {row.model: row for row in read_comparison(path)}
    for row in (BOTH, COMB):
        again = read[row.model]
        assert (again.n_lost, again.n_abstained) == (row.n_lost, row.n_abstained)
        assert again.one_sided == row.one_sided


def test_a_row_without_lost_items_has_the_published_columns_alone(tmp_path):
    write_comparison([BOTH], tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[0] == HEAD


def test_more_abstentions_than_lost_items_are_refused(tmp_path):
    path = put(tmp_path, f"{HEAD},n_lost,n_abstained\na,b,1,1,0,0,0,,,,,,,1,2\n")
    with pytest.raises(PredictionsError, match="n_abstained 2, expected at most n_lost, 1"):
        read_comparison(path)


def test_the_terminal_counts_abstentions_and_says_that_no_trace_is_not_real():
    text = printed([COMB], width=140)
    assert "lost" in text
    assert "abst" in text
    assert "not called real" in " ".join(text.split())


def test_latex_has_a_column_for_lost_items_and_one_for_abstentions(tmp_path):
    write_latex([COMB], tmp_path / "table.tex")
    text = (tmp_path / "table.tex").read_text()
    assert "lost & abstained" in text
    assert re.search(r"& 3 & 2 *\\\\", text)
