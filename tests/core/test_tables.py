from __future__ import annotations

from pathlib import Path

import pytest

from earwitness.core.errors import ManifestError
from earwitness.core.tables import read_text_table


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
        (b"a,b,a\n1,2,3\n", "column 'a' is there 2 times, expected every name once"),
        (b"# nothing\n# else\n", "comments alone, expected a header line"),
        (b"a,b\n1,\x00\n", "holds zero bytes"),
        (b"\x1f\x8b\x08\x00", "is gzip, expected a CSV"),
        (b"x,y\n1,2\n", "columns x, y; expected a among them"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=message) as caught:
        read_text_table(tmp_path / "t.csv", error=ManifestError, needed=["a"])
    assert "\n" not in str(caught.value)
