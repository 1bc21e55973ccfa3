"""``perturb`` from the command line: killed, interrupted and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import processes
from builders import write_tone
from earwitness.splits.manifests import read_manifest
from processes import N_KILLS, finish

N_COPIES = 20 * 3

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """A manifest of 20 files and one that is broken."""
    for n in range(20):
        write_tone(tmp_path / f"{n}.wav", hz=200 + 37 * n, seconds=2.0)
    (tmp_path / "20.wav").write_text("no sound")
    rows = [f"{n}.wav,{n % 2}\n" for n in range(21)]
    (tmp_path / "m.csv").write_text("filepath,target\n" + "".join(rows))
    (tmp_path / "s.yaml").write_text("perturbations: [mp3_64, noise_pink_snr_20, flac_24]")
    return tmp_path


def start(items: Path, out: Path) -> subprocess.Popen[str]:
    named = ["--manifest", items / "m.csv", "--suite", items / "s.yaml", "--out", out]
    return processes.start([sys.executable, "-m", "earwitness", "perturb", *named])


def n_copies(out: Path) -> int:
    return len(list(out.glob("*/*.flac")))


def wait_for_copies(process: subprocess.Popen[str], out: Path, n: int) -> None:
    while process.poll() is None and n_copies(out) < n:
        time.sleep(0.001)


def contents(out: Path) -> dict[str, bytes]:
    """Return all files of a run; tables without the folder that is part of their paths."""
    here = str(out).encode()
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(p.relative_to(out)): p.read_bytes().replace(here, b"OUT") for p in files}


def test_killed_and_interrupted_copies_resume_to_the_same_bytes(items: Path) -> None:
    unbroken, out, rng = items / "unbroken", items / "stopped", np.random.default_rng(0)
    code, _, err = finish(start(items, unbroken))
    assert code == 0, err
    assert n_copies(unbroken) == N_COPIES
    for stop in (*[signal.SIGKILL] * N_KILLS, signal.SIGINT):
        before = n_copies(out)
        process = start(items, out)
        wait_for_copies(process, out, before + int(rng.integers(1, 6)))
        assert process.poll() is None, "the run ended before it could be stopped"
        os.killpg(process.pid, stop)
        code, _, err = finish(process)
        assert code == (-signal.SIGKILL if stop == signal.SIGKILL else 130), err
        assert before < n_copies(out) < N_COPIES
        assert not (out / "manifest.csv").exists()
    code, _, err = finish(start(items, out))
    assert code == 0, err
    assert contents(out) == contents(unbroken)


def test_copies_of_a_track_and_of_its_reconstruction_are_one_group(tmp_path: Path) -> None:
    for folder in ("real", "encodec3"):
        (tmp_path / folder).mkdir()
        write_tone(tmp_path / folder / "000134.wav", hz=300, seconds=0.5)
    rows = ["real/000134.wav,0,FMA\n", "encodec3/000134.wav,1,FMA_rebuilt\n"]
    (tmp_path / "m.csv").write_text("filepath,target,source_dataset\n" + "".join(rows))
    (tmp_path / "s.yaml").write_text("perturbations: [noise_pink_snr_20]")
    process = start(tmp_path, tmp_path / "out")
    assert finish(process)[0] == 0
    copies = read_manifest(tmp_path / "out" / "manifest.csv").frame
    assert copies.height == 2
    assert copies["group_id"].n_unique() == 1
    assert "134" in copies["group_id"][0]
