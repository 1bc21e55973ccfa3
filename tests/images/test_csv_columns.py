from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import DatasetError
from earwitness.images.csv_columns import read_image_csv

ODD = (
    '\ufeffid,"img_path",note\r\n'
    '1,"a,b.png","say ""hi"""\r\n'
    "\r\n"
    '2,c.png,"two\r\nlines"\r\n'
    '"3",d.png\r\n'
    "4, e.png ,ü"
)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_what_is_not_changed_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.csv", ODD)
    table = read_image_csv(path)
    assert table.values("img_path") == ["a,b.png", "", "c.png", "d.png", " e.png "]
    assert table.values("note")[0] == 'say "hi"'
    assert [row.line for row in table.rows] == [2, 3, 4, 6, 7]
    table.write()
    assert path.read_bytes() == ODD.encode()
    assert (tmp_path / "odd.csv.bak").read_bytes() == ODD.encode()


def test_columns_are_added_and_replaced_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.csv", ODD)
    for values in (["v", "v", "w,x", "", "v"], ["1", "1", "2", "3", "4"]):
        table = read_image_csv(path)
        table.set_column("new", values)
        table.write()
    assert path.read_bytes().decode() == (
        '\ufeffid,"img_path",note,new\r\n'
        '1,"a,b.png","say ""hi""",1\r\n'
        "\r\n"
        '2,c.png,"two\r\nlines",2\r\n'
        '"3",d.png,,3\r\n'
        "4, e.png ,ü,4"
    )
    assert (tmp_path / "odd.csv.bak").read_bytes() == ODD.encode()  # the first one stays


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_delimiters_are_kept(delimiter: str, encoding: str, tmp_path: Path) -> None:
    text = f"img_path{delimiter}x\nä.png{delimiter}é\n"
    path = write(tmp_path / "a.csv", text, encoding)
    table = read_image_csv(path)
    assert table.values("img_path") == ["ä.png"]
    table.set_column("y", ["ö"])
    table.write()
    expected = f"img_path{delimiter}x{delimiter}y\nä.png{delimiter}é{delimiter}ö\n"
    assert path.read_bytes() == expected.encode(encoding)


def test_where_all_is_quoted_new_fields_are_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '"img_path","n"\n"a.png","1"\n')
    table = read_image_csv(path)
    table.set_column("prob_fake", ["0.5"])
    table.write()
    assert path.read_text() == '"img_path","n","prob_fake"\n"a.png","1","0.5"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected a header line"),
        ("a,b\n1,2\n", "columns a, b; expected img_path among them"),
        ("img_path\na\nb,c\n", r":3: 2 fields, expected 1"),
        ('img_path,x\n"a\nb\n', r":2: a quote that is not closed"),
        ("img_path,img_path\na,b\n", "columns 'img_path' and 'img_path', expected one"),
        ("Img_path,IMG_PATH\na,b\n", "columns 'Img_path' and 'IMG_PATH', expected one"),
    ],
)
def test_ambiguous_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        read_image_csv(write(tmp_path / "a.csv", text))


def test_columns_are_found_in_any_case_and_keep_theirs(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "IMG_Path;Actual_Output\na.png;real\n")
    table = read_image_csv(path)
    assert table.values("img_path") + table.values("actual_output") == ["a.png", "real"]
    table.set_column("prob_fake", ["0.5"])
    table.write()
    assert path.read_text() == "IMG_Path;Actual_Output;prob_fake\na.png;real;0.5\n"


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "img_path\na.png\n")
    table = read_image_csv(path)
    path.write_text("img_path\nother.png\n")
    with pytest.raises(DatasetError, match="changed since it was read"):
        table.write()
    assert path.read_text() == "img_path\nother.png\n"
    with pytest.raises(DatasetError, match="no such file"):
        read_image_csv(tmp_path / "none.csv")


FIELD = st.text(st.sampled_from('ab ,"\n\r;é'), max_size=6)


@given(st.lists(st.lists(FIELD, min_size=2, max_size=2), min_size=1, max_size=5), st.booleans())
def test_values_are_those_of_the_csv_module(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], all_quoted: bool
) -> None:
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    csv.writer(buffer, quoting=quoting).writerows([["img_path", "x"], *rows])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", buffer.getvalue())
    table = read_image_csv(path)
    assert list(zip(table.values("img_path"), table.values("x"), strict=True)) == [
        tuple(row) for row in rows
    ]
    table.write()
    assert path.read_bytes() == buffer.getvalue().encode()
