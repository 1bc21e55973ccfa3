from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders import write_tone
from cli.conftest import Run
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    for n in range(8):
        write_tone(tmp_path / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=0.5)
    (tmp_path / "sound" / "3.wav").write_text("no sound")
    rows = "".join(f"{n}.wav,{n % 2}\n" for n in range(8))
    (tmp_path / "m.csv").write_text(f"filepath,target\n{rows}")
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 0.5, tmp_path / "mine")
    named = ["predict", "--detector", str(tmp_path / "mine"), "--num-workers", "0"]
    return [*named, "--manifest", str(tmp_path / "m.csv"), "--root", str(tmp_path / "sound")]


def tear(store: Path, n_kept: int) -> None:
    rows = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(b"".join(rows[: n_kept + 1]) + rows[n_kept + 1][:9])


def test_a_run_in_progress_is_counted_without_being_disturbed(
    tmp_path: Path, arguments: list[str], run: Run
) -> None:
    run(*arguments, "--out", tmp_path / "run")
    assert run("status", tmp_path / "run").out == (
        "run: 8 of 8 rows done, 1 failed\n1 of 1 complete, 8 of 8 rows done\n"
    )
    store = tmp_path / "run" / "store" / "mine.jsonl"
    tear(store, 2)
    before = store.read_bytes()
    shown = run("status", tmp_path / "run", "--seconds", "0.1").out
    assert shown == (
        "run: 2 of 8 rows done, 1 failed\n"  # the broken file waits for no batch
        "0 of 1 complete, 2 of 8 rows done, none in the last 0.1 s\n"
    )
    assert store.read_bytes() == before


def test_shards_that_nobody_has_begun_are_counted(
    tmp_path: Path, arguments: list[str], run: Run
) -> None:
    for number in (1, 3):
        run(*arguments, "--out", tmp_path / "run", "--shard", f"{number}/3")
    lines = run("status", tmp_path / "run", "--seconds", "0").out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [f"shard-{n}-of-3" for n in (1, 2, 3)]
    n_missing = int(lines[1].split(" of ")[1].split()[0])
    assert lines[1] == f"shard-2-of-3: 0 of {n_missing} rows done, 0 failed"
    assert lines[3] == f"2 of 3 complete, {8 - n_missing} of 8 rows done"


def test_rate_and_time_left_are_those_between_two_readings() -> None:
    from earwitness.cli.status import _duration
    from earwitness.scoring.status import Progress, rate_between

    before = [Progress("a", 10, 2, 0), Progress("b", 10, 4, 0)]
    after = [Progress("a", 10, 4, 0), Progress("b", 10, 10, 0)]
    assert rate_between(before, after, 4.0) == 2.0
    assert _duration(3_725.2) == "1:02:05"


def test_what_is_no_run_has_no_status(tmp_path: Path, run: Run) -> None:
    refused = run("status", tmp_path)
    assert refused.code == 2
    assert "no run.json" in refused.err
