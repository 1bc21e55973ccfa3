"""``earwitness bench`` as people run it; killed, interrupted, and with errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import processes
from benches import stages_of, stored_rows, write_bench, write_weights
from cli.conftest import Run
from processes import N_KILLS

N_FILES = 30


def test_init_run_run_again_and_diff(run: Run, tmp_path: Path) -> None:
    path = write_bench(tmp_path)
    done = run("bench", "run", path, "--set", "outputs.report=true")
    assert done.code == 0, done.err
    assert f"report             {tmp_path}/run/report.html" in done.out
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    again = run("bench", "run", path, "--set", "outputs.report=true")
    assert again.out.startswith("nothing to do: all steps are unchanged\n")
    assert again.err.count("unchanged, skipped") == 6
    same = run("bench", "diff", tmp_path / "run", tmp_path / "run", "--strict")
    assert same.code == 0
    assert same.out.startswith("nothing differs: ")
    write_weights(tmp_path / "weights" / "one", seed=11)
    other = run("bench", "run", path, "--out", tmp_path / "other")
    assert other.code == 0
    found = run("bench", "diff", tmp_path / "run", tmp_path / "other", "--strict")
    assert found.code == 1
    assert "8 of 8 scores differ, by" in found.out
    assert "two: the same scores on 8 items" in found.out
    assert "one.weights_sha256" in found.out
    done = run("bench", "diff", tmp_path / "run", tmp_path / "other", "--json")
    assert done.code == 0
    assert json.loads(done.out)["scores"][0]["n_changed"] == 8


def test_init_writes_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("bench", "init").code == 0
    refused = run("bench", "init")
    assert refused.code == 2
    assert refused.err == (
        "earwitness: bench.yaml: exists, expected a new file; --force overwrites it\n"
    )
    assert run("bench", "init", "--force").code == 0


def test_a_misspelt_key_is_one_line_and_exit_code_2(run: Run, tmp_path: Path) -> None:
    path = write_bench(tmp_path, n_files=1)
    done = run("bench", "run", path, "--set", "scoring.window=3")
    assert done.code == 2
    assert done.err == (
        f"earwitness: {path}: scoring.window: no such key; did you mean 'windows'?\n"
    )
    assert not (tmp_path / "run").exists()


def test_what_changed_is_said_beside_its_stage(run: Run, tmp_path: Path) -> None:
    path = write_bench(tmp_path)
    run("bench", "run", path)
    write_weights(tmp_path / "weights" / "one", seed=5)
    done = run("bench", "run", path)
    assert "done again: one: weights card.json changed; 1 other kept" in done.err
    assert "nothing to do" not in done.out


def test_a_run_with_nothing_to_do_loads_no_network_library(tmp_path: Path) -> None:
    path = write_bench(tmp_path, n_files=2)
    script = (
        "import sys; sys.argv = ['earwitness', 'bench', 'run', *sys.argv[1:]]\n"
        "from earwitness.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    loaded = [m for m in ('torch', 'altair', 'sklearn', 'scipy') if m in sys.modules]\n"
        "    print('loaded', loaded)\n"
    )
    for expected in (False, True):
        command = [sys.executable, "-c", script, str(path), "--set", "audit.enabled=true"]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert ("nothing to do" in out.stdout) is expected
    assert out.stdout.endswith("loaded []\n")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark that takes a while, and writes pictures and a page."""
    path = write_bench(tmp_path_factory.mktemp("long"), n_files=N_FILES)
    drawn = "{confusion: true, report: true}"
    path.write_text(path.read_text().replace("{confusion: false, report: false}", drawn))
    return path


def start(path: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "earwitness", "bench", "run", path, "--out", out]
    return processes.start(command)


def n_rows(out: Path) -> int:
    return sum(p.read_bytes().count(b"\n") for p in (out / "store").glob("*.jsonl"))


def is_scored(out: Path) -> bool:
    return (out / "stages.json").exists() and "score" in stages_of(out)


def contents(out: Path) -> dict[str, bytes]:
    """Return every file of a run folder; the rows of a store are in the order they were scored."""
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {
        name: b"\n".join(sorted(content.splitlines())) if name.endswith(".jsonl") else content
        for name, content in found.items()
    }


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")
def test_kills_change_nothing(long: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "run"
    done = run("bench", "run", long, "--out", out)
    assert done.code == 0, done.err
    whole = contents(out.rename(tmp_path / "whole"))
    assert {"stages.json", "run.json", "report.html", "errors.csv", "metrics.json"} <= set(whole)
    rng = np.random.default_rng(0)
    for kill in range(2 * N_KILLS):
        before = n_rows(out)
        process = start(long, out)
        # In the middle of scoring, then while tables and page are made, then wherever it falls.
        while process.poll() is None and not (is_scored(out) if kill % 2 else n_rows(out) > 10):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2 if kill < 2 else 1.5))
        process.kill()
        process.communicate(timeout=60)
        assert n_rows(out) >= before
    done = run("bench", "run", long, "--out", out)
    assert done.code == 0, done.err
    killed = contents(out)
    assert set(killed) == set(whole)
    assert [name for name in whole if killed[name] != whole[name]] == []
    for detector in ("one", "two"):
        paths = [json.loads(line)["path"] for line in stored_rows(out, detector)]
        assert len(paths) == len(set(paths)) == N_FILES + 1  # no finished row was scored again


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C as POSIX has it")
def test_ctrl_c_says_how_to_go_on(long: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "stopped"
    process = start(long, out)
    while process.poll() is None and n_rows(out) < 10:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        f"earwitness: stopped; finished rows are kept in {out}; the same command resumes"
    )
    assert "Traceback" not in err
    assert set(stages_of(out)) == {"manifests"}
    plain = ("--set", "outputs.report=false", "--set", "outputs.confusion=false")
    done = run("bench", "run", long, "--out", out, *plain)
    assert done.code == 0, done.err
    assert "score     " in done.err
