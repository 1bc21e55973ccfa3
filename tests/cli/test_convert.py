"""``earwitness convert``: from other tools to ours, and back."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from builders import touch
from cli.conftest import Run
from earwitness.scoring.prediction_files import read_predictions
from earwitness.splits.manifests import read_manifest


def put(path: Path, *rows: str) -> Path:
    touch(path).write_text("\n".join(rows) + "\n")
    return path


def test_the_command_converts_there_and_back(tmp_path: Path, run: Run) -> None:
    scores = put(tmp_path / "wpt.txt", "a 0.9 real", "b 0.2 fake")
    ours, mirex = tmp_path / "wpt.csv", tmp_path / "mirex.tsv"
    assert run("convert", scores, ours, "--from", "all-type-add").code == 0
    assert read_predictions(ours)[0].frame["pred_prob"].to_list() == pytest.approx([0.1, 0.8])
    outcome = run("convert", ours, mirex, "--to", "mirex")
    assert outcome.out == f"2 files, written to {mirex} and {tmp_path}/mirex_key.csv\n"
    again = tmp_path / "again.txt"
    key = ("--key", tmp_path / "mirex_key.csv")
    assert run("convert", mirex, ours, "--from", "mirex", *key).code == 0
    assert run("convert", ours, again, "--to", "all-type-add").code == 0
    rows = [line.split() for line in again.read_text().splitlines()]
    assert [(n, round(float(s), 9), label) for n, s, label in rows] == [
        ("a", 0.9, "real"),
        ("b", 0.2, "fake"),
    ]


def test_the_command_converts_manifests(tmp_path: Path, run: Run) -> None:
    protocol = put(tmp_path / "p.csv", "file_name,label", "/d/a.wav,bonafide", "/d/b.wav,spoof")
    ours, back = tmp_path / "m.csv", tmp_path / "d.parquet"
    assert run("convert", protocol, ours, "--from", "df-arena-protocol").code == 0
    assert read_manifest(ours).frame["target"].to_list() == [0, 1]
    assert run("convert", ours, back, "--to", "deepfense").code == 0
    assert pl.read_parquet(back)["label"].to_list() == ["bonafide", "spoof"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "earwitness"), "expected two formats"),
        (("--from", "mirex", "--to", "deepfense"), "one has scores, the other none"),
    ],
)
def test_a_conversion_that_makes_no_sense_is_one_line(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    outcome = run("convert", put(tmp_path / "s.txt", "x"), tmp_path / "o.csv", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
