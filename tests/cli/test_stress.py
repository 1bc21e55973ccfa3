"""``stress`` from the command line: killed, interrupted and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import processes
from builders import write_tone
from cli.conftest import Run
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from processes import N_KILLS, finish, n_rows, wait_for_rows

N_ROWS = 4 * 30
TABLES = ("stress.json", "stress.csv", "stress.tex", "report.html")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a manifest of 30 files, one of them broken."""
    folder = tmp_path_factory.mktemp("stress")
    for n in range(29):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=1.0)
    (folder / "sound" / "29.wav").write_text("no sound")
    rows = [f"{n}.wav,{n % 2}\n" for n in range(30)]
    (folder / "m.csv").write_text("filepath,target\n" + "".join(rows))
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.random.default_rng(0).standard_normal(4_087), 0.5, folder / "mine")
    return folder


def arguments(bench: Path, out: Path) -> list[str]:
    named = ["stress", "--detector", str(bench / "mine"), "--manifest", str(bench / "m.csv")]
    more = ["--suite", str(suite(bench)), "--num-workers", "1"]
    return [*named, "--root", str(bench / "sound"), "--out", str(out), *more]


def suite(bench: Path) -> Path:
    path = bench / "suite.yaml"
    path.write_text(
        "perturbations:\n"
        "  - polarity\n"
        "  - noise_white_snr_20\n"
        "  - name: quieter\n    kind: gain\n    options: {gain_db: -6.0}\n"
    )
    return path


def start(bench: Path, out: Path) -> subprocess.Popen[str]:
    return processes.start([sys.executable, "-m", "earwitness", *arguments(bench, out)])


def contents(out: Path) -> dict[str, str]:
    files = [*sorted((out / "preds").rglob("*.csv")), *(out / name for name in TABLES)]
    return {str(path.relative_to(out)): path.read_text() for path in files}


@pytest.fixture(scope="module")
def unbroken(bench: Path) -> dict[str, str]:
    """The files of a run that nothing happened to."""
    code, _, err = finish(start(bench, bench / "unbroken"))
    assert code == 0, err
    return contents(bench / "unbroken")


def test_kills_change_no_byte(bench: Path, unbroken: dict[str, str], run: Run) -> None:
    rng, out = np.random.default_rng(0), bench / "killed"
    for _ in range(N_KILLS):
        before = n_rows(out)
        process = start(bench, out)
        wait_for_rows(process, out, before + int(rng.integers(1, 8)))
        assert process.poll() is None, "the run ended before it could be killed"
        process.kill()
        finish(process)
        assert n_rows(out) > before
        assert not (out / "stress.json").exists()
    done = run(*arguments(bench, out))
    assert done.code == 0, done.err
    assert contents(out) == unbroken
    assert n_rows(out) == N_ROWS  # no finished row was scored again


def test_ctrl_c_keeps_finished_rows_and_the_same_command_resumes(
    bench: Path, unbroken: dict[str, str], run: Run
) -> None:
    out = bench / "stopped"
    process = start(bench, out)
    wait_for_rows(process, out, 5)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert err.splitlines()[-1].endswith("the same command resumes")
    assert 5 <= n_rows(out) < N_ROWS
    done = run(*arguments(bench, out))
    assert done.code == 0, done.err
    assert contents(out) == unbroken


def test_rows_name_their_perturbation_and_no_audio_is_written(
    bench: Path, unbroken: dict[str, str]
) -> None:
    out = bench / "unbroken"
    assert set(unbroken) == {
        *TABLES,
        *(f"preds/{p}/mine.csv" for p in ("clean", "noise_white_snr_20", "polarity", "quieter")),
    }
    rows = pl.read_csv(out / "preds" / "quieter" / "mine.csv")
    assert set(rows["perturbation"]) == {"quieter"}
    assert json.loads(rows["perturbation_parameters"][0]) == {"gain_db": -6.0}
    matrix = json.loads(unbroken["stress.json"])
    assert [row["perturbation"] for row in matrix["rows"]] == [
        *("polarity", "noise_white_snr_20", "quieter")
    ]
    assert all(row["n_failed"] == 1 for row in matrix["rows"])
    assert not [path for path in out.rglob("*") if path.suffix in (".wav", ".flac", ".mp3")]


def test_a_card_is_shown_with_its_part_of_the_matrix(
    bench: Path, unbroken: dict[str, str], run: Run
) -> None:
    assert unbroken
    out = bench / "unbroken"
    rows = json.loads((out / "stress.json").read_text())["rows"]
    name = rows[0]["detector"]
    _, shown, _ = run("detectors", bench / name, "--stress", out, "--json")
    (record,) = json.loads(shown)
    assert record["stress"]["rows"] == [row for row in rows if row["detector"] == name]
    _, shown, _ = run("detectors", bench / name, "--stress", out)
    assert shown.index("licence") < shown.index(rows[0]["perturbation"])
    result = run("detectors", "comb", "--stress", out)
    assert result.code == 2
    assert f"no row of comb, expected one of {name}" in result.err


def test_an_unknown_suite_and_two_manifests_are_refused(bench: Path, run: Run) -> None:
    result = run("stress", "--manifest", bench / "m.csv", "--suite", "loud", "--out", bench / "no")
    assert result.code == 2
    assert "expected quick, sensitivity, full or a YAML file" in result.err
    (bench / "n.csv").write_text((bench / "m.csv").read_text())
    two = f"{bench / 'm.csv'},{bench / 'n.csv'}"
    result = run("stress", "--manifest", two, "--out", bench / "no")
    assert result.code == 2
    assert "--manifest: 2 manifests, expected one" in result.err


def test_a_run_without_any_score_ends_with_status_1(tmp_path: Path, run: Run) -> None:
    (tmp_path / "m.csv").write_text("filepath,target\na.wav,0\nb.wav,1\n")
    words = ["--manifest", tmp_path / "m.csv", "--suite", "sensitivity", "--num-workers", "0"]
    found = run("stress", "--detector", "comb", *words, "--out", tmp_path / "out")
    assert found.code == 1
    assert "22 × no such file" in found.err
    assert (tmp_path / "out" / "stress.json").exists()


def test_audio_is_kept_if_asked_for(tmp_path: Path, bench: Path, run: Run) -> None:
    rows = [f"{n}.wav,{n % 2}\n" for n in range(2)]
    (tmp_path / "two.csv").write_text("filepath,target\n" + "".join(rows))
    named = ("stress", "--detector", bench / "mine", "--manifest", tmp_path / "two.csv")
    more = ("--root", bench / "sound", "--suite", suite(bench), "--num-workers", "0")
    result = run(*named, *more, "--out", tmp_path / "out", "--keep-audio")
    assert result.code == 0, result.err
    copies = sorted((tmp_path / "out" / "audio" / "polarity").glob("*.wav"))
    assert [copy.name[:3] for copy in copies] == ["0--", "1--"]


def test_report_renders_a_stress_folder_as_stress_does(
    bench: Path, unbroken: dict[str, str], run: Run, tmp_path: Path
) -> None:
    result = run("report", bench / "unbroken", "--out", tmp_path / "page.html")
    assert result.code == 0, result.err
    assert (tmp_path / "page.html").read_text() == unbroken["report.html"]
    result = run("report", tmp_path, "--out", tmp_path / "none.html")
    assert result.code == 2
    assert "found no results, expected metrics.json or stress.json" in result.err
