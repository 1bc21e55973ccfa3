from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import ManifestError
from earwitness.core.text_table import (
    clean_names,
    labels,
    numbers,
    read_columns,
    read_table,
    read_text_table,
)


def test_values_stay_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n0010,\n1e3,x\n")
    frame = read_text_table(tmp_path / "t.csv", error=ManifestError)
    assert frame.rows() == [("0010", None), ("1e3", "x")]


@pytest.mark.parametrize("name", ["[1].csv", "a*b?.csv", "{x}.csv", "mit Leerzeichen ü.csv"])
def test_a_path_is_no_pattern(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a\n1\n")
    (tmp_path / "1.csv").write_text("a\n2\n")
    assert read_text_table(tmp_path / name, error=ManifestError).rows() == [("1",)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, expected a header line"),
        (b"a,b\n1,2,3\n", "t.csv:2: 3 fields, expected 2"),
        (b'a,b\n"1,2\n', "t.csv:2: a quote that is not closed"),
        (b"a,b,a\n1,2,3\n", "column 'a' appears 2 times, expected once"),
        (b"# nothing\n# else\n", "comments alone, expected a header line"),
        (b"a,b\n1,\x00\n", "contains zero bytes"),
        (b"\x1f\x8b\x08\x00", "is gzip, expected a CSV"),
        (b"x,y\n1,2\n", "columns x, y; expected a among them"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message) as caught:
        read_text_table(tmp_path / "t.csv", error=ManifestError, needed=["a"])
    assert "\n" not in str(caught.value)


TEXT = "filepath,target,note\nä/1.wav,0,x\nb/2.wav,1,\n"
ROWS = [("ä/1.wav", "0", "x"), ("b/2.wav", "1", None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_common_kinds_of_csv_are_one_table(
    tmp_path: Path, encoding: str, delimiter: str, end: str
) -> None:
    text = TEXT.replace(",", delimiter).replace("\n", end)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "t.csv", error=ManifestError, needed=["target"])
    assert table.frame.rows() == ROWS
    assert table.lines == [2, 3]


@pytest.mark.parametrize(
    ("text", "first_line"),
    [
        ("# by hand\n" + TEXT, 3),
        ("# one, two\n\n#three\n" + TEXT, 5),
        ("sep=,\n" + TEXT, 3),
        ("# filepath,target,note\n" + TEXT.partition("\n")[2], 2),
        (" filepath , target ,note\n" + TEXT.partition("\n")[2], 2),
        ("\ufeff\ufefffilepath,target,note\n" + TEXT.partition("\n")[2], 2),
        ("filepath,target,note,,\nä/1.wav,0,x,,\nb/2.wav,1,,,\n", 2),
        ('"filepath", "target", "note"\n"ä/1.wav", "0", "x"\n"b/2.wav", "1", ""\n', 2),
        (TEXT.replace("\nb/", "\n# between\n\n,,\n\ufeffb/"), 2),
        (TEXT.replace("1,\n", "1\n"), 2),
    ],
)
def test_what_surrounds_rows_is_passed_over(tmp_path: Path, text: str, first_line: int) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "t.csv", error=ManifestError)
    assert table.frame.rows() == ROWS
    assert table.frame.columns == ["filepath", "target", "note"]
    assert table.lines[0] == first_line


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_known_names_are_found_in_any_case(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    head = "FILEPATH,Target,Skip_Time,Genre\n"
    path.write_text((head + "a.wav,1,0.5,x\n").replace(",", delimiter))
    known = ["skip_time", "group_id"]
    table = read_table(path, error=ManifestError, needed=["filepath", "target"], known=known)
    assert table.frame.columns == ["filepath", "target", "skip_time", "Genre"]
    assert read_columns(path, known) == ["FILEPATH", "Target", "skip_time", "Genre"]
    pl.DataFrame({"FilePath": ["x"]}).write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", error=ManifestError, needed=["filepath"])
    assert table.frame.rows(named=True) == [{"filepath": "x"}]


def test_the_exact_name_wins_over_other_cases(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Target,target,TARGET\n0,1,2\n")
    table = read_table(tmp_path / "t.csv", error=ManifestError, needed=["target"])
    assert table.frame.rows(named=True) == [{"Target": "0", "target": "1", "TARGET": "2"}]
    (tmp_path / "t.csv").write_text("Target,x,TARGET\n0,1,2\n")
    with pytest.raises(ManifestError) as caught:
        read_table(tmp_path / "t.csv", error=ManifestError, needed=["target"])
    assert str(caught.value) == (
        f"{tmp_path / 't.csv'}: columns 'Target' and 'TARGET', expected one 'target'"
    )
    assert read_table(tmp_path / "t.csv", error=ManifestError).frame.width == 3


def test_a_row_may_begin_with_a_hash_and_a_field_may_hold_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n#1 hit.mp3,0\n"two\nlines, and ""more""",1\nx,2\n')
    table = read_table(tmp_path / "t.csv", error=ManifestError)
    assert table.frame["a"].to_list() == ["#1 hit.mp3", 'two\nlines, and "more"', "x"]
    assert table.lines == [2, 3, 5]


def test_a_name_is_there_once_in_parquet_too(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"filepath": ["x"], "other_id": [1]}).write_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"other_id", b"filepath"))
    with pytest.raises(ManifestError) as caught:
        read_table(path, error=ManifestError, needed=["filepath"])
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_text_that_means_missing_and_numbers_with_commas() -> None:
    words = ["nan", "NaN", " None", "NULL", "<NA>", "n/a", "-", "", None, "Nancy", "0"]
    assert clean_names(pl.Series(words)).to_list() == [None] * 9 + ["Nancy", "0"]
    assert clean_names(pl.Series(["e\u0301", "\u00e9"])).n_unique() == 1
    assert numbers(pl.Series(["0,5", "-1,25e3", "2.5", "1,2,3", "x", None])).to_list() == [
        *(0.5, -1250.0, 2.5),
        *(None, None, None),
    ]
    labels_of = pl.Series(["bona-fide", "AI", "True", "false", "1.00", "0", "-1", "2", "maybe"])
    assert labels(labels_of).to_list() == [0, 1, 1, 0, 1, 0, None, None, None]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_what_a_csv_writer_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    kept = [f"x{text}" for text in texts]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("a", "b"), *((text, "1") for text in kept)])
    table = read_table(path, error=ManifestError)
    assert table.frame["a"].to_list() == kept


def test_a_parquet_file_of_very_many_rows_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {f"c{n}": pl.repeat(0, 1_000_001, dtype=pl.Int8) for n in range(200)}
    pl.select(**columns).write_parquet(path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ManifestError, match="200000200 cells, expected at most 200000000"):
        read_table(path, error=ManifestError)


def test_a_folder_of_parquet_parts_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "t.parquet"
    folder.mkdir()
    with pytest.raises(ManifestError, match=r"a folder without \*.parquet files, expected"):
        read_table(folder, error=ManifestError)
    for n in (2, 1):
        pl.DataFrame({"filepath": [f"{n}.wav"], "target": [1]}).write_parquet(
            folder / f"{n}.parquet"
        )
    table = read_table(folder, error=ManifestError)
    assert table.frame.rows() == [("1.wav", "1"), ("2.wav", "1")]
    assert list(table.lines) == [2, 3]


def test_a_parquet_file_that_ends_its_reader_is_one_line() -> None:
    path = Path(__file__).parent / "files" / "forged_page_size.parquet"  # from the fuzzer
    with pytest.raises(ManifestError, match="it crashes the reader of Parquet"):
        read_text_table(path, error=ManifestError)
