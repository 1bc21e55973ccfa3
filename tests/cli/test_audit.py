"""``audit``, from manifests to a folder and a manifest without what it found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from builders import write_tone
from earwitness.audit.schema import read_audit
from earwitness.splits.manifests import read_manifest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A set to audit and a training set that shares a file with it."""
    for n in range(5):
        write_tone(tmp_path / "sound" / f"{n}.wav", hz=250 + 90 * n, seconds=0.5)
    shutil.copy(tmp_path / "sound" / "0.wav", tmp_path / "sound" / "copy.wav")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.csv").write_text("filepath,target\n0.wav,0\n1.wav,1\n")
    (tmp_path / "lists" / "eval.csv").write_text(
        "filepath,target,source_dataset,split_tag\n"
        "copy.wav,0,FMA,deezer_test_real\n2.wav,0,FMA,deezer_valid_real\n"
        "3.wav,1,FMA,deezer_test_fake\nabsent.wav,1,FMA,deezer_test_fake\n"
    )
    return tmp_path


def audit(run: Run, sets: Path, *more: object) -> tuple[int, str, str]:
    lists = sets / "lists"
    return run(
        *("audit", "--manifest", lists / "eval.csv", "--against", lists / "train.csv"),
        *("--root", sets / "sound", "--out", sets / "audit", "--num-workers", 0, *more),
    )


def test_a_folder_with_checks_and_rows(run: Run, sets: Path) -> None:
    code, out, err = audit(run, sets, "--detector", "specnn_amplitude")
    assert (code, "Traceback" in err) == (0, False)
    report = read_audit(sets / "audit" / "audit.json")
    assert report.holds_for(read_manifest(sets / "lists" / "eval.csv").digest)
    assert not report.holds_for(read_manifest(sets / "lists" / "train.csv").digest)
    found = {check.name for check in report.checks if check.verdict == "finding"}
    assert {"readable", "bytes_across", "packets_across", "samples_across"} <= found
    assert "exposure_specnn_amplitude" in found
    rows = pl.read_csv(sets / "audit" / "findings.csv")
    assert set(rows.filter(pl.col("check") == "readable")["filepath"]) == {"absent.wav"}
    met = pl.read_csv(sets / "audit" / "exposure.csv")
    assert met["exposure"].to_list() == ["unseen", "selected_on", "unseen", "unseen"]
    assert out.index("FINDINGS: files") < out.index("passed") < out.index("not checked, and why")
    assert "→ drop these rows, or train without the others" in out
    assert f"written to {sets / 'audit'}" in out


def test_strict_exits_1_on_findings_alone(run: Run, sets: Path) -> None:
    assert audit(run, sets, "--strict")[0] == 1
    clean = sets / "lists" / "clean.csv"
    clean.write_text("filepath,target\n2.wav,0\n3.wav,1\n")
    code, out, _ = run(
        *("audit", "--manifest", clean, "--root", sets / "sound", "--out", sets / "two"),
        *("--strict", "--num-workers", 0),
    )
    assert code == 0, out
    assert "checks with findings: 0," in out


def test_fix_drops_what_offends_and_writes_down_why(run: Run, sets: Path) -> None:
    fixed = sets / "fixed.csv"
    code, out, _ = audit(run, sets, "--fix", fixed)
    assert code == 0
    assert f"rows kept: 2 in {fixed}; dropped: 2, see" in out
    again = read_manifest(fixed)
    assert [path.name for path in again.locate_all()] == ["2.wav", "3.wav"]
    assert all(path.is_file() for path in again.locate_all())
    dropped = pl.read_csv(sets / "fixed_dropped.csv")
    assert dropped["filepath"].to_list() == ["copy.wav", "absent.wav"]
    assert "bytes_across" in dropped["checks"][0]
    assert "train 0.wav" in dropped["reasons"][0]
    assert dropped["reasons"][1] == "no such file"
    again_code, again_out, _ = run(
        *("audit", "--manifest", fixed, "--against", sets / "lists" / "train.csv"),
        *("--root", sets / "sound", "--out", sets / "again", "--strict", "--num-workers", 0),
    )
    assert again_code == 0, again_out


def test_fix_of_a_set_that_leaks_whole_is_refused(run: Run, sets: Path) -> None:
    lists = sets / "lists"
    code, _, err = run(
        *("audit", "--manifest", lists / "train.csv", "--against", lists / "train.csv"),
        *("--root", sets / "sound", "--out", sets / "audit", "--fix", sets / "f.csv"),
        *("--num-workers", 0),
    )
    assert code == 2
    assert err.endswith(
        "train: all 2 rows are flagged and none would be left; expected one without a finding\n"
    )
    assert not (sets / "f.csv").exists()


def test_a_second_call_hears_nothing_again_and_says_the_same(run: Run, sets: Path) -> None:
    audit(run, sets)
    first = (sets / "audit" / "audit.json").read_bytes()
    store = next((sets / "audit" / "store").glob("sounds-*.jsonl"))
    before = store.read_bytes()
    audit(run, sets)
    assert (sets / "audit" / "audit.json").read_bytes() == first
    assert store.read_bytes() == before
    assert json.loads(first)["schema_version"] == 1


def test_what_was_asked_wrongly_is_one_line(run: Run, sets: Path) -> None:
    for arguments, told in (
        (("--manifest", sets / "absent.csv"), "cannot be read"),
        ((), "no manifest given"),
        (
            ("--manifest", sets / "lists" / "eval.csv", "--detector", "specn_amplitude"),
            "did you mean",
        ),
        (("--manifest", sets / "lists", "--fix", sets / "f.csv"), "2 manifests, expected exactly"),
    ):
        code, _, err = run("audit", *arguments, "--out", sets / "audit")
        assert code == 2
        assert told in err
        assert err.count("\n") == 1
