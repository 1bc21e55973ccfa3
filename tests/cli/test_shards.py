"""Shards on the command line, killed on the way, and a merge interrupted anywhere."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import processes
from builders import write_tone
from cli.conftest import Run
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from processes import N_KILLS

N_FILES, N_SHARDS = 60, 4

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for n in range(6):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=1.0)
    for n in range(6, N_FILES):
        os.link(folder / "sound" / f"{n % 6}.wav", folder / "sound" / f"{n}.wav")
    rows = [f"{n}.wav,{n % 2}\n" for n in range(N_FILES)]
    (folder / "m.csv").write_text("filepath,target\n" + "".join(rows))
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.random.default_rng(0).standard_normal(4_087), 0.5, folder / "mine")
    return folder


def arguments(bench: Path, out: Path, *more: str) -> list[str]:
    named = ["predict", "--detector", str(bench / "mine"), "--manifest", str(bench / "m.csv")]
    return [*named, "--root", str(bench / "sound"), "--out", str(out), "--num-workers", "0", *more]


def kill_after_rows(command: list[str], store: Path, n: int) -> None:
    process = processes.start([sys.executable, "-m", "earwitness", *command])
    while process.poll() is None and (
        not store.is_file() or store.read_bytes().count(b"\n") - 1 < n
    ):
        time.sleep(0.002)
    assert process.poll() is None
    process.kill()
    process.communicate()


def content(run: Path) -> dict[str, bytes]:
    files = [p for p in run.rglob("*") if p.is_file() and p.parent.name != "store"]
    return {p.relative_to(run).as_posix(): p.read_bytes() for p in files}


def test_shards_of_which_one_was_killed_and_resumed_merge_to_one_run(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    assert run(*arguments(bench, tmp_path / "whole")).code == 0
    for number in range(1, N_SHARDS + 1):
        command = arguments(bench, tmp_path / "shards", "--shard", f"{number}/{N_SHARDS}")
        store = tmp_path / "shards" / f"shard-{number}-of-{N_SHARDS}" / "store" / "mine.jsonl"
        is_killed = number <= N_KILLS
        if is_killed:
            kill_after_rows(command, store, 2)
        done = run(*command)
        assert done.code == 0
        assert ("files are scored already" in done.err) is is_killed
    merged = run("merge", tmp_path / "out", tmp_path / "shards")
    assert (merged.code, merged.out) == (0, f"{N_FILES} rows merged, 0 failed\n")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_predictions_in_parquet_are_evaluated_like_those_in_csv(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    for out, more in ((tmp_path / "csv", ()), (tmp_path / "parquet", ("--format", "parquet"))):
        assert run(*arguments(bench, out / "run", *more)).code == 0
        measure = ("evaluate", out / "run" / "preds", "--aggregate", "mean")
        assert run(*measure, "--out", out / "metrics.json").code == 0
    csv, parquet = (tmp_path / at / "metrics.csv" for at in ("csv", "parquet"))
    assert csv.read_bytes() == parquet.read_bytes()
    lone = arguments(bench, tmp_path / "no", "--format", "parquet")
    lone[lone.index("--out")] = "--output-csv"
    assert "--format: expected --out" in run(*lone).err


def test_the_command_of_a_missing_shard_makes_it(bench: Path, tmp_path: Path, run: Run) -> None:
    for text in ("--shard=1/3", "--shard=3/3"):
        assert run(*arguments(bench, tmp_path / "shards", text)).code == 0
    refused = run("merge", tmp_path / "out", tmp_path / "shards")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "shard 2/3 lacks" in refused.err
    command = refused.err.split("rows: ")[1].split(". --partial writes")[0]
    assert run(*shlex.split(command)[1:]).code == 0
    assert run("merge", tmp_path / "out", tmp_path / "shards").code == 0


def test_a_partial_merge_says_what_is_missing(bench: Path, tmp_path: Path, run: Run) -> None:
    assert run(*arguments(bench, tmp_path / "shards", "--shard", "1/3")).code == 0
    merged = run("merge", "--partial", tmp_path / "out", tmp_path / "shards")
    assert merged.code == 0
    assert "note: shard 2/3 lacks" in merged.err
    assert "--shard 3/3" in merged.err


def test_a_task_of_an_array_scores_its_own_shard(
    bench: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, value in {"ID": "0", "COUNT": "2", "MIN": "0", "MAX": "1"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{part}", value)
    whole = run(*arguments(bench, tmp_path / "whole"))
    assert whole.out.endswith(f"{N_FILES} rows scored, 0 failed\n")  # never unless asked for
    done = run(*arguments(bench, tmp_path / "shards", "--shard", "slurm"))
    assert "note: shard 1/2, by SLURM_ARRAY_TASK_ID 0" in done.err
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["shard-1-of-2"]


def test_an_empty_shard_is_a_run(bench: Path, tmp_path: Path, run: Run) -> None:
    (bench / "one.csv").write_text("filepath,target\n0.wav,0\n")
    codes = []
    for number in (1, 2):
        command = arguments(bench, tmp_path / "shards", "--shard", f"{number}/2", "--strict")
        command[command.index(str(bench / "m.csv"))] = str(bench / "one.csv")
        codes += [run(*command).code, run(*command).code]
    assert codes == [0] * 4
    assert run("merge", tmp_path / "out", tmp_path / "shards").out == "1 rows merged, 0 failed\n"


def test_a_shard_whose_rows_all_failed_is_done_and_the_merge_fails(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    (bench / "gone.csv").write_text("filepath,target\ngone.wav,0\n")
    command = arguments(bench, tmp_path / "whole")
    command[command.index(str(bench / "m.csv"))] = str(bench / "gone.csv")
    assert run(*command).code == 1
    command[command.index(str(tmp_path / "whole"))] = str(tmp_path / "shards")
    assert [run(*command, "--shard", f"{number}/2").code for number in (1, 2)] == [0, 0]
    merged = run("merge", tmp_path / "out", tmp_path / "shards")
    assert (merged.code, merged.out) == (1, "1 rows merged, 1 failed\n")


def test_shards_are_for_run_folders(bench: Path, tmp_path: Path, run: Run) -> None:
    command = arguments(bench, tmp_path / "x.csv", "--shard", "1/2")
    command[command.index("--out")] = "--output-csv"
    refused = run(*command)
    assert (refused.code, refused.err) == (
        2,
        "earwitness: --shard: expected --out RUN_FOLDER with it\n",
    )


def test_shards_of_another_number_are_refused_before_they_are_scored(
    bench: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "shards"
    assert run(*arguments(bench, out, "--shard", "1/64")).code == 0
    for more in (("--shard", "2/3"), ("--engine", "slurm", "--shards", "3")):
        assert run(*arguments(bench, out, *more)) == (
            2,
            "",
            f"earwitness: {out}: has shard-01-of-64, expected shards of 3 or another folder\n",
        )


def test_ctrl_c_in_a_merge_leaves_no_part_of_it(bench: Path, tmp_path: Path, run: Run) -> None:
    for number in (1, 2):
        assert run(*arguments(bench, tmp_path / "shards", "--shard", f"{number}/2")).code == 0
    (tmp_path / "at").mkdir()
    out, part = tmp_path / "at" / "out", tmp_path / "at" / ".out.merging"
    n_stopped = 0
    for _ in range(5):
        merging = [sys.executable, "-m", "earwitness", "merge", str(out), str(tmp_path / "shards")]
        process = processes.start(merging)
        while process.poll() is None and not part.exists():
            time.sleep(0.0005)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        n_stopped += process.returncode == 130
        assert not part.exists()
        assert out.exists() == (process.returncode == 0)
        if n_stopped:
            break
    assert n_stopped
