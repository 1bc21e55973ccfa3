"""Commands on a full disk, with closed streams, in narrow and old-fashioned terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benches import write_bench

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")

COMMANDS = {
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
    root = write_bench(tmp_path_factory.mktemp("bench"), n_files=4).parent
    rows = "".join(f"{n}.wav,{n % 2},{n % 2}.0,0.{3 + 4 * (n % 2)},{n % 2}\n" for n in range(4))
    (root / "p.csv").write_text("filepath,target,logit,pred_prob,pred_label\n" + rows)
    done = call(root, "summarize p.csv --output-csv c.csv")
    assert done.returncode == 0, done.stderr
    return root


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


def no_bytes() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_in_one_line(folder: Path, name: str) -> None:
    done = call(folder, COMMANDS[name], no_bytes)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("earwitness: ")
    assert "File too large" in last
    new = folder / "new"
    assert (
        not [p for p in new.rglob("*") if p.is_file() and p.stat().st_size] if new.exists() else 1
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "40"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_narrow_and_old_terminals(folder: Path, environment: dict[str, str]) -> None:
    done = call(folder, "summarize p.csv --output-csv again.csv", **environment)
    assert done.returncode == 0, done.stderr
    assert (folder / "again.csv").read_bytes() == (folder / "c.csv").read_bytes()


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams(folder: Path, closed: int) -> None:
    done = call(folder, "summarize p.csv --output-csv shut.csv", lambda: os.close(closed))
    assert done.returncode == 0, done.stderr
    assert (folder / "shut.csv").read_bytes() == (folder / "c.csv").read_bytes()
