from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.report.comparison import write_latex
from earwitness.report.tables import escape_latex


def test_the_table_as_latex_reads_it(tmp_path: Path) -> None:
    rows = [
        ComparisonRow("a_b", "a mix & match", Counts(3, 2, 1, 0)),
        ComparisonRow("a_b", "fakes_100%", Counts(3, 0, 0, 1)),
        ComparisonRow("a_b", "reals", Counts(0, 4, 0, 0)),
    ]
    write_latex(rows, tmp_path / "t.tex")
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert lines[1:3] == ["\\begin{tabular}{lrrrrrrrrrrr}", "\\toprule"]
    assert lines[4:7] == [
        "\\midrule",
        "\\multicolumn{12}{l}{\\textbf{a mix \\& match}} \\\\",
        "\\quad a\\_b & 6 & 3 & 2 & 1 & 0 & 0.833 & 0.750 & 1.000 & 0.667 & 0.857 & 0.833 \\\\",
    ]
    assert "\\textbf{fakes\\_100\\%}" in lines[8]
    dagger = "\\textsuperscript{\\dag}"
    assert f"0.750 & 1.000{dagger} & 0.750 & -- & 0.857{dagger} & --" in lines[9]
    assert "& 1.000 & -- & -- & 1.000 & -- & --" in lines[12]
    assert "by construction: this set holds one class only" in lines[-2]
    assert lines[-1] == "\\end{tabular}"


def test_no_note_without_a_dagger(tmp_path: Path) -> None:
    write_latex([ComparisonRow("a", "b", Counts(1, 1, 0, 0))], tmp_path / "t.tex")
    assert "by construction" not in (tmp_path / "t.tex").read_text()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("\\input{/etc/passwd}", "\\textbackslash{}input\\{/etc/passwd\\}"),
        ("a~b^c", "a\\textasciitilde{}b\\textasciicircum{}c"),
        ("50 % of $1 #2", "50 \\% of \\$1 \\#2"),
        ("one\ntwo", "one?two"),
        ("größe", "größe"),
    ],
)
def test_names_are_data(name: str, written: str) -> None:
    assert escape_latex(name) == written


@settings(max_examples=40)
@given(st.text())
def test_nothing_of_a_name_is_left_to_latex(name: str) -> None:
    left = escape_latex(name)
    for word in ("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"):
        left = left.replace(f"\\{word}{{}}", "")
    for word in ("textbar", "textquotedbl"):
        left = left.replace(f"\\{word}{{}}", "")
    for character in "&%$#_{}":
        left = left.replace(f"\\{character}", "")
    assert not set(left) & set("\\{}&%$#_~^\n\r")
