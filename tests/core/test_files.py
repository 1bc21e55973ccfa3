from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.files import file_stem, replacing, sha256_of, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def broken() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        broken()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_written_files_have_the_usual_mode(tmp_path: Path) -> None:
    plain, atomic = tmp_path / "plain", tmp_path / "atomic"
    plain.write_text("x")
    write_text(atomic, "x")
    assert plain.stat().st_mode == atomic.stat().st_mode


def test_json_refuses_what_it_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"auroc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("awsaf49/sonics-spectttra-alpha-5s", "awsaf49__sonics-spectttra-alpha-5s"),
        ("org/name@main", "org__name--main"),
        ("../../etc/passwd", "__..__etc__passwd"),
        ("a\0b\nc", "a_b_c"),
        ("  ", "_"),
    ],
)
def test_names_become_file_names(name: str, stem: str) -> None:
    assert file_stem(name) == stem


@given(st.text(max_size=40))
def test_no_name_leaves_its_folder(name: str) -> None:
    stem = file_stem(name)
    assert (Path("folder") / stem).parent == Path("folder")
    assert stem not in {"", ".", ".."}
