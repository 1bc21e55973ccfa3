"""The audit as a stage of a benchmark: made once, in the metrics, and made again when due."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.test_run import Bench
from benches import write_bench
from builders import write_tone
from earwitness.audit.audit import audit
from earwitness.audit.schema import read_audit
from earwitness.core.errors import StoppedError
from earwitness.evaluation.schema import read_metrics
from earwitness.splits.manifests import read_manifest

ON = "audit.enabled=true"
STAGES = ("manifests", "score", "summarize", "audit", "evaluate", "latex")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(write_bench(tmp_path / "größe 1"))


def test_the_audit_is_made_once_and_carried_by_the_metrics(bench: Bench) -> None:
    assert bench.run(ON).done == STAGES
    assert bench.n_to_do == 9  # the audit decodes last
    report = read_audit(bench.out / "audit" / "audit.json")
    assert report.detectors == ["one", "two"]
    metrics = read_metrics(bench.out / "metrics.json")
    assert metrics.audit == report
    (check,) = [check for check in metrics.checks if check.name == "audit_bound"]
    assert check.verdict == "ok"
    with (bench.out / "audit" / "findings.csv").open() as file:
        assert "broken.wav" in {row["filepath"] for row in csv.DictReader(file)}
    before = bench.files()
    assert bench.run(ON).done == ()
    assert bench.files() == before


def test_other_sets_repeat_it_and_are_compared(bench: Bench) -> None:
    bench.run(ON)
    sound = bench.path.parent / "sound"
    (bench.path.parent / "train.csv").write_text(
        f"filepath,target,generator,group_id\n{sound / '3.wav'},1,mill,g3\n"
    )
    assert bench.run(ON, "audit.against=[train.csv]").done == ("audit", "evaluate")
    found = read_audit(bench.out / "audit" / "audit.json").check("bytes_across")
    assert (found.verdict, found.n_rows) == ("finding", 1)
    write_tone(sound / "new.wav", hz=3000, seconds=0.6)
    (bench.path.parent / "train.csv").write_text(
        f"filepath,target,generator,group_id\n{sound / 'new.wav'},1,mill,new\n"
    )
    assert bench.run(ON, "audit.against=[train.csv]").done == ("audit", "evaluate")
    assert read_audit(bench.out / "audit" / "audit.json").check("bytes_across").verdict == "pass"


CHECK = """
from earwitness.audit.checks import CheckSpec, make_result

def check_nothing(context):
    return [make_result(CheckSpec("silent", "nothing", "rows", "none"), [], n_checked=1)]
"""


def test_a_check_that_is_installed_later_repeats_the_audit(
    bench: Bench, install: Callable[..., Path]
) -> None:
    bench.run(ON)
    folder = install("toys", "silent = toy_checks:check_nothing", group="earwitness.checks")
    (folder / "toy_checks.py").write_text(CHECK)
    assert bench.run(ON).done == ("audit", "evaluate")
    assert "audit/: plug-in silent is new" in bench.lines
    assert read_audit(bench.out / "audit" / "audit.json").check("silent").verdict == "pass"
    assert bench.run(ON).done == ()


def test_without_an_audit_none_is_carried(bench: Bench) -> None:
    bench.run(ON)
    assert bench.run().done == ("evaluate",)
    assert read_metrics(bench.out / "metrics.json").audit is None
    assert not (bench.out / "audit" / "audit.json").exists()


def test_a_file_that_is_mended_is_decoded_when_errors_are_retried(bench: Bench) -> None:
    bench.run(ON)
    sound = bench.path.parent / "sound"
    write_tone(sound / "broken.wav", hz=777, seconds=0.6)
    assert bench.run(ON).done == ()
    assert "audit" in bench.run(ON, retry_errors=True).done
    assert read_audit(bench.out / "audit" / "audit.json").check("readable").verdict == "pass"


def after(n_asked: int) -> Callable[[], bool]:
    """Return what says stop from the n-th time on that it is asked."""
    left = [n_asked]

    def should_stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return should_stop


def test_ctrl_c_stops_between_checks_and_nothing_is_decoded_again(
    bench: Bench, tmp_path: Path
) -> None:
    manifest = read_manifest(bench.path.parent / "set.csv", root=bench.path.parent / "sound")
    store = tmp_path / "store"
    whole = audit(manifest, store=store, n_workers=0)
    features = {path.name: path.read_bytes() for path in store.iterdir()}
    decoded: list[bool] = []
    with pytest.raises(StoppedError, match=r"features are kept in .*; run the same command"):
        audit(manifest, store=store, n_workers=0, advance=decoded.append, should_stop=after(3))
    assert len(decoded) == len(manifest)  # all files were decoded, so checks were stopped
    assert audit(manifest, store=store, n_workers=0) == whole
    assert {path.name: path.read_bytes() for path in store.iterdir()} == features
