from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earwitness.core.errors import ManifestError, RunError
from earwitness.core.io import (
    atomic_write,
    file_stem,
    read_parquet,
    sha256_of,
    sweep,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def broken() -> None:
        with atomic_write(path) as temporary:
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


WRITER = """
import os, signal, sys, time
from pathlib import Path
from earwitness.core.io import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writing(path: Path) -> subprocess.Popen[str]:
    """Start a process that has a file half written."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def end(writer: subprocess.Popen[str]) -> None:
    with writer:  # closes the pipe
        writer.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks that end with a process")
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path,
) -> None:
    killed, living = (start_writing(tmp_path / name) for name in ("a.csv", "b.csv"))
    end(killed)
    (tmp_path / ".keep.csv").write_text("somebody's own")
    (tmp_path / ".mine.part.csv").write_text("somebody's own")
    assert len(list(tmp_path.iterdir())) == 4
    write_text(tmp_path / "c.csv", "new")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in left if not name.startswith(".b.csv.")] == [
        ".keep.csv",
        ".mine.part.csv",
        "c.csv",
    ]
    assert len(left) == 4
    end(living)
    sweep(tmp_path.parent, below=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_refusal_of_the_disk_is_one_line(tmp_path: Path) -> None:
    def write(error: Exception) -> None:
        with atomic_write(tmp_path / "table.csv"):
            raise error

    for error in (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("[enforce fail at inline_container.cc:668] PytorchStreamWriter failed"),
        ValueError("I/O error: No space left on device (os error 28)"),
    ):
        with pytest.raises(RunError, match=r"table\.csv: cannot be written \(") as caught:
            write(error)
        assert "\n" not in str(caught.value)
    for error in (ValueError("a bug"), FileNotFoundError(errno.ENOENT, "gone", "/other/file")):
        with pytest.raises(type(error)):
            write(error)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_a_table_may_have_other_types_but_no_other_columns(tmp_path: Path) -> None:
    folder = tmp_path / "m.parquet"
    folder.mkdir()
    pl.DataFrame({"filepath": ["a.wav"], "group_id": ["7"]}).write_parquet(folder / "0.parquet")
    nulls = {"group_id": [None], "filepath": pl.Series(["b.wav"], dtype=pl.Categorical)}
    pl.DataFrame(nulls).write_parquet(folder / "1.parquet")
    found = read_parquet(folder, error=ManifestError)
    assert found.rows() == [("a.wav", "7"), ("b.wav", None)]
    pl.DataFrame({"path": ["c.wav"]}).write_parquet(folder / "2.parquet")
    with pytest.raises(ManifestError, match=r"2\.parquet: columns path; expected those of .*0\.pa"):
        read_parquet(folder, error=ManifestError)
