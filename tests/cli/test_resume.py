"""Real runs, killed, interrupted, crowded and short of room; the result is always the same."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import processes
from builders import write_tone
from cli.conftest import Outcome, Run
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from processes import N_KILLS, finish, n_rows, wait_for_rows

N_FILES = 120

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a manifest of short files, some of them broken."""
    folder = tmp_path_factory.mktemp("resume – größe")
    for n in range(12):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=1.0)
    names = []
    for n in range(N_FILES):
        name = f"{n:03d}.wav"
        if n % 40 == 7:
            (folder / "sound" / name).write_text("no sound")
        elif n % 40 != 8:
            os.link(folder / "sound" / f"{n % 12}.wav", folder / "sound" / name)
        names.append(name)
    rows = [f"{name},{n % 2},g{n % 5}\n" for n, name in enumerate(names)]
    (folder / "m.csv").write_text("filepath,target,generator\n" + "".join(rows))
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.random.default_rng(0).standard_normal(4_087), 0.5, folder / "mine")
    return folder


def arguments(bench: Path, out: Path, *more: str) -> list[str]:
    named = ["predict", "--detector", str(bench / "mine"), "--manifest", str(bench / "m.csv")]
    return [*named, "--root", str(bench / "sound"), "--out", str(out), "--num-workers", "1", *more]


def start(bench: Path, out: Path, *, limit: int | None = None) -> subprocess.Popen[str]:
    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "earwitness", *arguments(bench, out)]
    return processes.start(command, before=limit_files)


def resume(bench: Path, out: Path, run: Run) -> Outcome:
    """Finish a run that was stopped, in this process."""
    done = run(*arguments(bench, out, "--num-workers", "0"))
    assert done.code == 0, done.err
    return done


def assert_nobody_is_left(group: int) -> None:
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a worker outlived its run")


@pytest.fixture(scope="module")
def unbroken(bench: Path) -> str:
    """The scores of a run that nothing happened to."""
    code, out, err = finish(start(bench, bench / "unbroken"))
    assert code == 0, err
    assert out.endswith("114 rows scored, 6 failed (see the error column)\n")
    return (bench / "unbroken" / "preds" / "m" / "mine.csv").read_text()


def test_kills_change_nothing_and_leave_no_worker(bench: Path, unbroken: str, run: Run) -> None:
    rng = np.random.default_rng(0)
    out = bench / "killed"
    for kill in range(2 * N_KILLS):
        is_scoring = kill % 2  # else wherever it is, most often before it begins
        before = n_rows(out)
        process = start(bench, out)
        if is_scoring:
            wait_for_rows(process, out, before + int(rng.integers(2, 12)))
        time.sleep(rng.uniform(0, 0.03 if is_scoring else 1.0))
        assert process.poll() is None, "the run ended before it could be killed"
        process.kill()
        finish(process)
        assert_nobody_is_left(process.pid)
        assert n_rows(out) >= before
        assert not (out / "preds").exists()
    kept = n_rows(out)
    assert kept > N_KILLS
    done = resume(bench, out, run)
    assert f"note: {kept} of 120 files are scored already" in done.err
    assert done.out.endswith("114 rows scored, 6 failed (see the error column)\n")
    assert (out / "preds" / "m" / "mine.csv").read_text() == unbroken
    rows = [json.loads(line) for line in (out / "store" / "mine.jsonl").read_text().splitlines()]
    paths = [row["path"] for row in rows[1:]]
    assert len(paths) == len(set(paths)) == N_FILES  # no finished row was scored again


def test_ctrl_c_finishes_what_is_in_hand_and_says_how_to_go_on(
    bench: Path, unbroken: str, run: Run
) -> None:
    out = bench / "stopped"
    process = start(bench, out)
    wait_for_rows(process, out, 5)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert err.splitlines()[-1] == (
        f"earwitness: stopped; finished rows are kept in {out}; the same command resumes"
    )
    assert "Traceback" not in err
    assert 5 <= n_rows(out) < N_FILES
    assert_nobody_is_left(process.pid)
    resume(bench, out, run)
    assert (out / "preds" / "m" / "mine.csv").read_text() == unbroken


def test_a_second_run_into_the_same_folder_is_refused(bench: Path, unbroken: str) -> None:
    out = bench / "shared"
    first = start(bench, out)
    wait_for_rows(first, out, 1)
    first.send_signal(signal.SIGSTOP)
    code, _, err = finish(start(bench, out))
    assert first.poll() is None, "the first run ended before the second one began"
    first.send_signal(signal.SIGCONT)
    assert code == 2
    assert err.splitlines()[-1] == (
        f"earwitness: {out}: locked by another run; wait for it or choose another folder"
    )
    assert finish(first)[0] == 0
    assert (out / "preds" / "m" / "mine.csv").read_text() == unbroken


def test_a_full_disk_is_told_and_loses_nothing(bench: Path, unbroken: str, run: Run) -> None:
    out = bench / "full"
    code, _, err = finish(start(bench, out, limit=10_000))
    assert code == 2
    kept = n_rows(out)
    assert kept > 10
    assert err.splitlines()[-1] == (
        f"earwitness: {out}/store/mine.jsonl: cannot be written (File too large); "
        f"{kept} finished rows are kept, the same command resumes"
    )
    assert (out / "store" / "mine.jsonl").read_bytes().endswith(b"}\n")
    resume(bench, out, run)
    assert (out / "preds" / "m" / "mine.csv").read_text() == unbroken


def test_a_finished_run_has_nothing_to_do(bench: Path, unbroken: str, run: Run) -> None:
    done = run(*arguments(bench, bench / "unbroken"))
    assert done.code == 0
    assert "120 of 120 files are scored already, nothing is left to do" in done.err
    assert (bench / "unbroken" / "preds" / "m" / "mine.csv").read_text() == unbroken


def test_never_refuses_a_folder_with_anything_in_it(bench: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine.txt").touch()
    refused = run(*arguments(bench, tmp_path, "--resume", "never"))
    assert refused.code == 2
    assert "holds mine.txt and more, expected an empty or a new folder" in refused.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
