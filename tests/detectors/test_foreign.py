"""Networks of others through the whole command line: killed, resumed, benched, evaluated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import processes
from builders import write_tone
from cli.conftest import Run
from cli.conftest import run as run_fixture
from foreign import write_onnx
from hf_folders import write_wav2vec2

run = run_fixture
COLUMNS = ["filepath", "target", "group_id"]


def write_files(folder: Path, n: int) -> pl.DataFrame:
    """Write tones in ``folder/sound`` and ``folder/set.csv``."""
    for at in range(n):
        write_tone(folder / "sound" / f"{at}.wav", hz=200 + 30 * at, seconds=1)
    rows = [(f"{at}.wav", at % 2, f"g{at}") for at in range(n)]
    frame = pl.DataFrame(rows, COLUMNS, orient="row")
    frame.write_csv(folder / "set.csv")
    return frame


def predict(folder: Path, name: str) -> list[str | Path]:
    where = ["--manifest", folder / "set.csv", "--root", folder / "sound"]
    return ["predict", "--detector", name, *where, "--num-workers", "0", "--device", "cpu"]


@pytest.mark.parametrize(
    ("write", "in_bench"),
    [
        (write_wav2vec2, "{name: 'hf:net', fake_label: fake}"),
        (write_onnx, "'onnx:net/tiny.onnx'"),
    ],
)
def test_killed_resumed_benched_and_reported(
    tmp_path: Path, run: Run, write: Callable[[Path], str], in_bench: str
) -> None:
    name = write(tmp_path / "net")
    write_files(tmp_path, 24)
    common, out = predict(tmp_path, name), tmp_path / "k"
    process = processes.start([sys.executable, "-m", "earwitness", *common, "--out", out])
    while process.poll() is None:
        stores = list((out / "store").glob("*.jsonl"))
        if stores and stores[0].read_bytes().count(b"\n") > 2:
            break
        time.sleep(0.005)
    process.kill()
    process.wait()
    again = run(*common, "--out", out)
    assert again.code == 0, again.err
    assert "files are scored already" in again.err
    assert run(*common, "--out", tmp_path / "whole").code == 0
    (ours,), (plain,) = (list((o / "preds" / "set").iterdir()) for o in (out, tmp_path / "whole"))
    assert ours.read_bytes() == plain.read_bytes()
    (tmp_path / "bench.yaml").write_text(
        "data:\n  manifests: {files: [set.csv], root: sound}\n"
        f"detectors: [{in_bench}]\nscoring: {{num_workers: 0, device: cpu}}\n"
        "audit: {enabled: false}\nevaluate: {resamples: 100}\n"
    )
    first = run("bench", "run", tmp_path / "bench.yaml")
    assert first.code == 0, first.err
    (benched,) = (tmp_path / "run" / "preds" / "set").iterdir()
    logits = [pl.read_csv(path)["logit"].to_list() for path in (benched, plain)]
    assert logits[0] == logits[1]
    assert ours.stem in (tmp_path / "run" / "report.html").read_text()


def test_the_wrong_fake_class_is_found_by_its_inverted_scores(tmp_path: Path, run: Run) -> None:
    common = predict(tmp_path, write_wav2vec2(tmp_path / "net"))
    frame = write_files(tmp_path, 30)
    csv = tmp_path / "right.csv"
    assert run(*common, "--fake-label", "fake", "--output-csv", csv).code == 0
    logit = pl.read_csv(csv)["logit"]
    by_logit = (logit > logit.median()).cast(int)
    frame.with_columns(by_logit.alias("target")).write_csv(tmp_path / "set.csv")
    for label, is_inverted in (("fake", False), ("real", True)):
        scores = tmp_path / f"{label}.csv"
        assert run(*common, "--fake-label", label, "--output-csv", scores).code == 0
        shown = run("evaluate", scores, "--resamples", "100", "--out", tmp_path / "m.json")
        assert shown.code == 0, shown.err
        found = "scores look inverted: AUROC 0.000 [" in " ".join(shown.err.split())
        assert found is is_inverted
