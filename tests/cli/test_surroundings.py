"""Commands on a full disk, with closed streams, in narrow and old-fashioned terminals."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benches import write_bench
from builders import write_tone
from cli.conftest import Run
from earwitness.core.io import refusal
from earwitness.evaluation.summarize import summarize
from earwitness.report.comparison import write_comparison

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")

COMMANDS = {
    "splits": "splits --folder music --out-dir new/splits",
    "predict to a file": "predict --detector weights/one --manifest set.csv --root sound "
    "--num-workers 0 --output-csv new/p.csv",
    "predict to a folder": "predict --detector weights/one --manifest set.csv --root sound "
    "--num-workers 0 --out new/run",
    "summarize": "summarize p.csv --output-csv new/c.csv",
    "plot": "plot --input-csv c.csv --out-dir new/plots",
    "evaluate": "evaluate p.csv --out new/e",
    "report": "report c.csv --out new/r.html",
    "audit": "audit --manifest set.csv --root sound --num-workers 0 --out new/audit",
    "train": "train --detector fakeprint --manifest set.csv --root sound --num-workers 0 "
    "--out new/mine",
    "render": "render --manifest set.csv --root sound --num-workers 0 --out new/images",
    "bench init": "bench init new/bench.yaml",
    "bench run": "bench run bench.yaml --out new/bench",
    "listen": "listen sound/1.wav --detector weights/one --save new/x.png",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_bench(tmp_path_factory.mktemp("größe"), n_files=4).parent
    rows = "".join(f"{n}.wav,{n % 2},{n % 2}.0,0.{3 + 4 * (n % 2)},{n % 2}\n" for n in range(4))
    write_tone(root / "music" / "real" / "0.wav", seconds=0.6)
    write_tone(root / "music" / "fake" / "mill" / "♫ 1.wav", seconds=0.6)
    (root / "p.csv").write_text("filepath,target,logit,pred_prob,pred_label\n" + rows)
    write_comparison([one.row for one in summarize([root / "p.csv"])], root / "c.csv")
    return root


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, which this process works in."""
    monkeypatch.chdir(folder)
    return folder


def call(
    folder: Path, command: str, prepare: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "earwitness", *command.split()],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
        preexec_fn=prepare,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


@contextmanager
def no_bytes() -> Iterator[None]:
    """Let no file of this process grow; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_in_one_line(here: Path, name: str, run: Run) -> None:
    with no_bytes():
        done = run(*COMMANDS[name].split())
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("earwitness: ")
    assert "File too large" in last
    new = here / "new"
    assert (
        not [p for p in new.rglob("*") if p.is_file() and p.stat().st_size] if new.exists() else 1
    )


in_an_ascii_path = pytest.mark.skipif(
    not sys.prefix.isascii(),
    reason="in an ASCII locale Python itself does not start from a path with other letters",
)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, marks=in_an_ascii_path
        ),
        {"COLUMNS": "40", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_narrow_and_old_terminals(here: Path, environment: dict[str, str], run: Run) -> None:
    done = call(here, "summarize p.csv --output-csv narrow.csv", **environment)
    assert done.returncode == 0, done.stderr
    assert run("summarize", "p.csv", "--output-csv", "wide.csv").code == 0
    assert (here / "narrow.csv").read_bytes() == (here / "wide.csv").read_bytes()


@in_an_ascii_path
def test_file_names_are_the_same_in_every_locale(here: Path, run: Run) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = call(here, "splits --folder music --out-dir ascii", **locale)
    assert done.returncode == 0, done.stderr
    assert run("splits", "--folder", "music", "--out-dir", "utf8").code == 0
    found = (here / "ascii" / "music_fake_1.csv").read_text(encoding="utf-8")
    assert "♫ 1.wav" in found
    assert found == (here / "utf8" / "music_fake_1.csv").read_text(encoding="utf-8")


def test_a_path_that_is_no_text_is_one_line(folder: Path) -> None:
    done = call(folder, "summarize p.csv --output-csv \udcff.csv")
    assert done.returncode == 2
    assert done.stderr == (
        "earwitness: ?.csv: its name is not valid Unicode, expected a path in UTF-8\n"
    )


def test_no_folder_for_temporary_files_is_one_line() -> None:
    """What importing a library raises where no file can be made anywhere."""
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert refusal(error) == "no folder for temporary files; TMPDIR names one"


def test_workers_score_with_stderr_closed(folder: Path) -> None:
    command = COMMANDS["predict to a file"].replace("--num-workers 0", "--num-workers 1")
    done = call(folder, command.replace("new/", "shut/"), lambda: os.close(2))
    assert done.returncode == 0, done.stderr
    rows = (folder / "shut" / "p.csv").read_text().splitlines()
    assert sum(row.endswith(",") for row in rows) == 4, rows  # no error but that of broken.wav


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams(folder: Path, closed: int) -> None:
    command = f"splits --folder music --out-dir shut-{closed}"
    done = call(folder, command, lambda: os.close(closed))
    assert done.returncode == 0, done.stderr
    assert "♫ 1.wav" in (folder / f"shut-{closed}" / "music_fake_1.csv").read_text("utf-8")
