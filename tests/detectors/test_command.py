"""Programs of others as detectors."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import processes
from builders import write_tone
from cli.conftest import Run
from cli.conftest import run as run_fixture
from earwitness.core.errors import WeightsError
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import FileDetector
from earwitness.detectors.command import CommandDetector
from earwitness.detectors.loading import hash_weights, look_up, open_detector
from earwitness.perturb.suites import Entry, Suite
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.predict import predict
from earwitness.scoring.stress import score_perturbed
from foreign import describe

run = run_fixture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups as POSIX has them")

SCRIPT = """\
import hashlib, sys
print("loading the model")
for line in sys.stdin:
    path = line[:-1]
    content = open(path, "rb").read()
    score = int(hashlib.sha256(content).hexdigest()[:6], 16) / 2**24
    print(f"{path}\\t{score}", flush=True)
"""


def write_program(folder: Path, script: str = SCRIPT, **content: Any) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "score.py").write_text(script)
    given = {
        "kind": "command",
        "command": [sys.executable, "score.py"],
        "output": "prob",
        "fake": 1,
    }
    describe(folder / "detector.yaml", **given | content)
    return f"command:{folder}"


def write_files(folder: Path, n: int) -> Manifest:
    for at in range(n):
        write_tone(folder / f"{at}.wav", hz=200 + 40 * at, seconds=0.2)
    names = [f"{at}.wav" for at in range(n)]
    frame = pl.DataFrame({"filepath": names, "target": [at % 2 for at in range(n)]})
    return Manifest("set", frame, (folder,))


def open_program(name: str) -> CommandDetector:
    detector = open_detector(name)
    assert isinstance(detector, CommandDetector)
    assert isinstance(detector, FileDetector)
    return detector


def test_scores_are_those_that_the_program_prints(tmp_path: Path) -> None:
    manifest = write_files(tmp_path, 5)
    name = write_program(tmp_path / "their detector", batch_files=2, n_parallel=2)
    (found,) = predict(manifest, [name], keep_windows=True)
    direct = [open_program(name).score_files([str(p)])[0] for p in manifest.locate_all()]
    assert found.frame["logit"].to_list() == direct
    assert found.frame["native_rate_hz"].null_count() == 5
    assert found.frame["below_band"].null_count() == 5
    assert found.detector == "their detector"
    assert found.windows is not None
    assert found.windows["duration_s"].null_count() == 5


@pytest.mark.parametrize("fake", [0, 1])
def test_a_score_of_realness_is_turned_round(tmp_path: Path, fake: int) -> None:
    path = str(write_tone(tmp_path / "a.wav"))
    name = write_program(tmp_path / "d", "print(input() + '\\t2.5')", output="logit", fake=fake)
    assert open_program(name).score_files([path]) == [2.5 if fake else -2.5]


def test_a_missing_file_is_not_sent(tmp_path: Path) -> None:
    manifest = write_files(tmp_path, 3)
    (tmp_path / "1.wav").unlink()
    (found,) = predict(manifest, [write_program(tmp_path / "d")])
    assert found.frame["error"].to_list() == [None, "no such file", None]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (SCRIPT + "    if path.endswith('1.wav'): sys.exit('out of spirits')", "out of spirits"),
        (SCRIPT + "    if path.endswith('1.wav'): import os; os.kill(os.getpid(), 9)", "signal 9"),
        (SCRIPT + "    if path.endswith('1.wav'): break", "printed no score for this file"),
    ],
)
def test_after_a_crash_what_was_printed_is_used(tmp_path: Path, script: str, reason: str) -> None:
    manifest = write_files(tmp_path, 4)
    (found,) = predict(manifest, [write_program(tmp_path / "d", script)])
    assert found.frame["logit"].is_not_null().to_list() == [True, True, False, False]
    assert all(reason in error for error in found.frame["error"].to_list()[2:])


def test_a_program_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    script = SCRIPT + (
        "    if path.endswith('1.wav'):\n"
        "        import subprocess, time\n"
        "        subprocess.Popen(['sleep', '600']); time.sleep(600)\n"
    )
    manifest = write_files(tmp_path, 3)
    (found,) = predict(manifest, [write_program(tmp_path / "d", script, timeout_s=3)])
    assert found.frame["error"].to_list() == [None, None, "stopped after 3 s"]


@pytest.mark.parametrize(
    ("printed", "reason"),
    [("high", "'high', expected a number"), ("1.5", "expected 0 to 1"), ("nan", "expected 0 to 1")],
)
def test_what_is_no_score_is_named(tmp_path: Path, printed: str, reason: str) -> None:
    path = str(write_tone(tmp_path / "a.wav"))
    name = write_program(tmp_path / "d", f"print(input() + '\\t{printed}')")
    (found,) = open_program(name).score_files([path])
    assert reason in str(found)


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    script = "import sys, os; print(input() + '\\t' + str(len(sys.argv[1]) + int(os.environ['N'])))"
    command = [sys.executable, "score.py", "$(touch made); `x` 'y'"]
    given = {"command": command, "environment": {"N": "100"}, "output": "logit"}
    name = write_program(tmp_path / "d", script, **given)
    path = str(write_tone(tmp_path / "a b.wav"))
    assert open_program(name).score_files([path]) == [100.0 + len(command[2])]
    assert not (tmp_path / "d" / "made").exists()


def test_a_program_that_is_missing_or_a_path_with_a_line_feed_is_an_error(tmp_path: Path) -> None:
    name = write_program(tmp_path / "d", command=["no-such-program-here"])
    path = str(write_tone(tmp_path / "a.wav"))
    (reason,) = open_program(name).score_files([path])
    assert str(reason).startswith("no-such-program-here cannot be started (")
    odd = str(write_tone(tmp_path / "a\nb.wav"))
    first, second = open_program(write_program(tmp_path / "e")).score_files([odd, path])
    assert "line feed or tab" in str(first)
    assert isinstance(second, float)


def test_its_card_says_what_is_known_and_changes_with_the_script(tmp_path: Path) -> None:
    name = write_program(tmp_path / "d")
    card = look_up(name).card
    assert card is not None
    assert card == open_program(name).card
    assert (card.licence, card.trained_on, card.band_hz) == ("unknown", None, None)
    assert card.contract.reads_files
    assert type(card).model_validate_json(card.model_dump_json()) == card
    assert set(hash_weights(name, {})) == {"detector.yaml", "score.py"}
    write_program(tmp_path / "d", SCRIPT + "#")
    assert open_program(name).card.weights_sha256 != card.weights_sha256


def test_a_string_is_no_list_of_arguments(tmp_path: Path) -> None:
    name = write_program(tmp_path / "d", command="python score.py")
    with pytest.raises(WeightsError, match="command: Input should be a valid tuple"):
        open_detector(name)


def test_it_scores_beside_a_detector_of_clips(tmp_path: Path) -> None:
    manifest = write_files(tmp_path, 4)
    done: list[bool] = []
    found = predict(manifest, ["comb", write_program(tmp_path / "d")], advance=done.append)
    assert [p.detector for p in found] == ["comb", "d"]
    assert len(done) == 4
    for prediction in found:
        assert prediction.frame["error"].null_count() == 4


def test_killed_and_resumed_it_leaves_the_same_bytes(tmp_path: Path, run: Run) -> None:
    manifest = write_files(tmp_path / "sound", 30)
    frame = manifest.frame.select("filepath", "target")
    frame.write_csv(tmp_path / "set.csv")
    slow = SCRIPT.replace("import hashlib", "import time, hashlib")
    slow = slow.replace("    content", "    time.sleep(0.05)\n    content")
    name = write_program(tmp_path / "d", slow, batch_files=2)
    common = ["predict", "--detector", name, "--manifest", tmp_path / "set.csv"]
    common += ["--root", tmp_path / "sound", "--keep-windows"]
    process = processes.start(
        [sys.executable, "-m", "earwitness", *common, "--out", tmp_path / "k"]
    )
    store = tmp_path / "k" / "store" / "d.jsonl"
    while process.poll() is None and not (store.exists() and store.read_bytes().count(b"\n") > 4):
        time.sleep(0.02)
    process.kill()
    process.wait()
    n_before = store.read_bytes().count(b"\n")
    assert 4 < n_before < 31
    again = run(*common, "--out", tmp_path / "k")
    assert again.code == 0, again.err
    assert "files are scored already" in again.err
    assert run(*common, "--out", tmp_path / "whole").code == 0
    for file in ("d.csv", "d_windows.csv"):
        ours, plain = (tmp_path / out / "preds" / "set" / file for out in ("k", "whole"))
        assert ours.read_bytes() == plain.read_bytes()


def test_it_runs_through_bench_and_report(tmp_path: Path, run: Run) -> None:
    manifest = write_files(tmp_path / "sound", 8)
    groups = pl.Series("group_id", [f"g{n}" for n in range(8)])
    manifest.frame.with_columns(groups).write_csv(tmp_path / "set.csv")
    write_program(tmp_path / "theirs")
    (tmp_path / "bench.yaml").write_text(
        "data:\n  manifests: {files: [set.csv], root: sound}\n"
        "detectors: ['command:theirs']\nscoring: {num_workers: 0}\n"
        "audit: {enabled: false}\nevaluate: {resamples: 100}\n"
    )
    first = run("bench", "run", tmp_path / "bench.yaml")
    assert first.code == 0, first.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "theirs" in json.dumps(metrics)
    assert "theirs" in (tmp_path / "run" / "report.html").read_text()
    scores = (tmp_path / "run" / "preds" / "set" / "theirs.csv").read_bytes()
    assert run("bench", "run", tmp_path / "bench.yaml").code == 0
    assert (tmp_path / "run" / "preds" / "set" / "theirs.csv").read_bytes() == scores


def test_a_stress_test_gives_it_perturbed_copies_that_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    script = """\
import sys, tempfile, soundfile
for line in sys.stdin:
    samples, _ = soundfile.read(line[:-1])
    print(line[:-1], 0.25 + samples.max() / 4, sep="\\t" if samples.max() < 0.5 else "\\tloud ")
"""
    name = write_program(tmp_path / "d", script, output="logit")
    gains = [Entry(name=f"gain_{db}", kind="gain", options={"gain_db": db}) for db in (-20.0, 9.0)]
    suite = Suite(perturbations=(*gains, Entry(name="offset_window_+0.5")))
    manifest = write_files(tmp_path / "sound", 2)
    found = score_perturbed(
        manifest, [open_program(name)], suite, tmp_path / "out", options=ScoringOptions()
    )
    assert not [*(tmp_path / "copies").iterdir()]
    clean, quiet, loud, moved = (each.frame for each in found.values())
    shares = (quiet["logit"] - 0.25) / (clean["logit"] - 0.25)
    np.testing.assert_allclose(shares, 10 ** (-20 / 20), rtol=1e-5)
    assert loud["error"][0].startswith("the program printed 'loud 0.4")
    assert moved["error"].to_list() == ["scored whole, it has no windows to move"] * 2


def test_listen_shows_its_score(tmp_path: Path, run: Run) -> None:
    song = write_tone(tmp_path / "song.wav", seconds=3)
    shown = run("listen", song, "--detector", write_program(tmp_path / "theirs"))
    assert shown.code == 0, shown.err
    assert "theirs" in shown.out
    assert np.isfinite(open_program(f"command:{tmp_path / 'theirs'}").score_files([str(song)])[0])
