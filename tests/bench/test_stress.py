"""The stage of stress tests: what it writes, skips and redoes."""

from __future__ import annotations

import pytest

from bench.test_run import Bench
from benches import write_bench
from earwitness.core.errors import UsageError
from earwitness.evaluation.stress import read_matrix

ON = ("stress={suite: suite.yaml}", "outputs.report=true", "outputs.latex=false")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A benchmark that has run with two perturbations."""
    folder = tmp_path_factory.mktemp("stress")
    bench = Bench(write_bench(folder, n_files=4))
    (folder / "suite.yaml").write_text("perturbations: [polarity, gain_db_-12]")
    assert bench.run(*ON).done[-2:] == ("stress", "report")
    assert bench.n_to_do == 3 * 5
    return bench


def test_each_manifest_has_a_folder_that_the_report_links(bench: Bench) -> None:
    folder = bench.out / "stress" / "set"
    matrix = read_matrix(folder / "stress.json")
    assert [(row.detector, row.perturbation) for row in matrix.rows] == [
        (name, change) for name in ("one", "two") for change in ("polarity", "gain_db_-12")
    ]
    assert matrix.settings.n_resamples == 100
    report = (bench.out / "report.html").read_text()
    assert '<a class="name" href="./stress/set/report.html">set</a>' in report
    assert (folder / "report.html").is_file()
    clean = (folder / "preds" / "clean" / "one.csv").read_text()
    scored = (bench.out / "preds" / "set" / "one.csv").read_text()
    shared = len(scored.splitlines()[0].split(","))
    assert len(clean.splitlines()[0].split(",")) > shared


def test_unchanged_tests_are_skipped_and_edited_ones_written_again(bench: Bench) -> None:
    assert bench.run(*ON).done == ()
    table = bench.out / "stress" / "set" / "stress.csv"
    before = table.read_bytes()
    table.write_bytes(before + b"\n")
    assert bench.run(*ON).done == ("stress",)
    assert table.read_bytes() == before
    assert bench.n_to_do == 0  # rows are kept


def test_unknown_detectors_and_keys_are_refused_before_anything_runs(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"stress.detectors: no 'tow' in detectors; did you mean"):
        bench.run(*ON, "stress.detectors=[tow]")
    with pytest.raises(UsageError, match=r"stress.suit: no such key; did you mean 'suite'"):
        bench.run("stress={suit: quick}")


def test_another_seed_tests_again_and_a_detector_that_leaves_takes_its_rows(bench: Bench) -> None:
    suite = "perturbations: [polarity, gain_db_-12]\nseed: 1"
    (bench.path.parent / "suite.yaml").write_text(suite)
    assert bench.run(*ON, "stress.detectors=[two]").done == ("stress", "report")
    assert bench.n_to_do == 3 * 5
    folder = bench.out / "stress" / "set"
    assert [path.name for path in sorted((folder / "preds").glob("*/*.csv"))] == ["two.csv"] * 3


def test_a_benchmark_without_the_section_deletes_the_tests(bench: Bench) -> None:
    assert bench.run(*ON[1:]).done == ("report",)
    assert not list((bench.out / "stress").rglob("*.html"))
    assert "./stress/" not in (bench.out / "report.html").read_text()
