"""A whole benchmark in small: what is done, what is skipped, and what redoes what."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.test_steps import Watching
from benches import stages_of, stored_rows, write_bench, write_weights
from earwitness.bench.config import read_config
from earwitness.bench.run import BenchmarkRun, run_benchmark
from earwitness.core.errors import UsageError, WeightsError
from earwitness.scoring.predict import OnFileDone

LATEX = "final_ood_comparison.tex"
"""Made again only where a decision changed."""


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Bench:
    """A benchmark on disk, and the calls of the watcher in its last run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.out = path.parent / "run"
        self.lines: list[str] = []
        self.n_to_do = 0

    def run(
        self, *changes: str, path: Path | None = None, retry_errors: bool = False
    ) -> BenchmarkRun:
        watching = Watching()
        self.n_to_do = 0

        def on_start(n_to_do: int, n_done: int) -> OnFileDone:
            assert n_done >= 0
            self.n_to_do = n_to_do
            return lambda _: None

        try:
            config = read_config(path or self.path, changes=changes)
            return run_benchmark(
                config, watcher=watching, on_start=on_start, retry_errors=retry_errors
            )
        finally:
            self.lines = watching.lines[1:]

    def files(self) -> dict[str, int]:
        paths = [p for p in self.out.rglob("*") if p.is_file() and p.name != ".lock"]
        return {p.relative_to(self.out).as_posix(): p.stat().st_mtime_ns for p in paths}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a benchmark has run."""
    folder = tmp_path_factory.mktemp("bench – größe")
    bench = Bench(write_bench(folder))
    assert bench.run().done == ("manifests", "score", "summarize", "evaluate", "latex")
    assert bench.n_to_do == 9
    return folder


@pytest.fixture
def bench(done: Path, tmp_path: Path) -> Bench:
    """A copy of it to work on, with times as they were."""
    shutil.copytree(done, tmp_path / "b")
    copy = Bench(tmp_path / "b" / "bench.yaml")
    copy.run()  # the files lie elsewhere now
    return copy


def test_the_run_folder_holds_all_of_it(done: Path) -> None:
    names = {p.relative_to(done / "run").as_posix() for p in (done / "run").rglob("*")}
    assert names >= {
        *("bench.yaml", "run.json", "stages.json", "errors.csv", "metrics.json", "metrics.csv"),
        *("final_ood_comparison.csv", "final_ood_comparison.tex", "manifests/set.csv"),
        *("preds/set/one.csv", "preds/set/two.csv", "store/one.jsonl", "store/two.jsonl"),
    }
    resolved = (done / "run" / "bench.yaml").read_text()
    assert "earwitness bench run bench.yaml --out ANOTHER_FOLDER\n" in resolved
    rows = read_table(done / "run" / "final_ood_comparison.csv")
    assert [(row["model"], row["dataset"], row["n"]) for row in rows] == [
        ("one", "set", "8"),
        ("two", "set", "8"),
    ]
    run = json.loads((done / "run" / "run.json").read_text())
    assert [len(card["weights_sha256"]) for card in run["detectors"]] == [64, 64]


def test_the_second_run_does_no_work(bench: Bench) -> None:
    before = bench.files()
    assert bench.run().done == ()
    assert bench.lines == [
        f"skip {s}" for s in ("manifests", "score", "summarize", "evaluate", "latex")
    ]
    assert bench.files() == before
    for change in ("scoring.batch_size=2", "scoring.num_workers=1"):  # they decide nothing
        assert bench.run(change).done == ()


def test_other_weights_redo_one_detector_and_what_follows(bench: Bench) -> None:
    before, other = bench.files(), stored_rows(bench.out, "two")
    here = str(bench.path.parent)  # rows of the folder it was copied from are there, too
    old = [line for line in stored_rows(bench.out, "one") if here in line]
    write_weights(bench.path.parent / "weights" / "one", seed=7)
    assert bench.run().done[:3] == ("score", "summarize", "evaluate")
    assert "score/one: weights card.json changed" in bench.lines
    assert not any(line.startswith("score/two") for line in bench.lines)
    after = bench.files()
    assert {name for name in before if after[name] == before[name]} - {LATEX} == {
        *("bench.yaml", "manifests/set.csv", "manifests/splits.json"),
        *("preds/set/two.csv", "store/two.jsonl"),
    }
    assert stored_rows(bench.out, "two") == other
    new = stored_rows(bench.out, "one")
    assert len(new) == len(old)
    assert sum(line in old for line in new) == 1  # the broken file
    cards = json.loads((bench.out / "run.json").read_text())["detectors"]
    assert {card["name"] for card in cards} == {"one", "two"}
    assert bench.run().done == ()


def test_a_detector_that_is_added_is_scored_alone_and_one_that_leaves_takes_its_rows(
    bench: Bench,
) -> None:
    write_weights(bench.path.parent / "weights" / "three", seed=3)
    rows = stored_rows(bench.out, "one")
    bench.run("detectors=[weights/one, weights/three, weights/two]")
    assert [line for line in bench.lines if line.startswith("score/")] == [
        "score/three: not done yet"
    ]
    table = read_table(bench.out / "final_ood_comparison.csv")
    assert [row["model"] for row in table] == ["one", "three", "two"]
    bench.run("detectors=[weights/one]")
    assert sorted(p.name for p in (bench.out / "preds" / "set").iterdir()) == ["one.csv"]
    errors = read_table(bench.out / "errors.csv")
    assert [row["detector"] for row in errors] == ["one"]
    bench.run()
    assert bench.n_to_do == 0  # scores of before are still known
    assert stored_rows(bench.out, "one") == rows


def test_options_that_decide_scores_score_again(bench: Bench) -> None:
    rows = stored_rows(bench.out, "two")
    assert bench.run("scoring.windows=2").done[0] == "score"
    assert "score/two: windows was published, is 2" in bench.lines
    assert bench.n_to_do == 9
    assert stored_rows(bench.out, "two") != rows
    bench.run("scoring.windows=2", "scoring.threshold=0.1")
    assert bench.n_to_do == 0  # rows are kept, decisions are made again
    assert bench.run("scoring.windows=2", "scoring.threshold=0.1").done == ()


def test_options_of_a_later_stage_leave_scores_alone(bench: Bench) -> None:
    assert bench.run("evaluate.seed=3").done == ("evaluate",)
    assert bench.run("evaluate.seed=3", "outputs.latex=false").done == ()
    assert not (bench.out / "final_ood_comparison.tex").exists()


METRIC = """
from earwitness.metrics.compute import Metric

HITS = Metric(label="hits", needs="decision", of_sums=lambda s, _: s["tp"] / s["n_fake"])
"""


def test_a_metric_that_is_installed_later_repeats_the_evaluation(
    bench: Bench, install: Callable[..., Path]
) -> None:
    folder = install("toys", "hits = toy_metrics_later:HITS", group="earwitness.metrics")
    (folder / "toy_metrics_later.py").write_text(METRIC)
    assert bench.run().done == ("evaluate",)
    assert "evaluate/: plug-in hits is new" in bench.lines
    assert "hits" in json.loads((bench.out / "metrics.json").read_text())["metrics"]


def test_another_manifest_scores_what_is_new_and_leaves_nothing_behind(bench: Bench) -> None:
    manifest = bench.path.parent / "set.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines[:-3], lines[-1], "new.wav,1,mill,g99"]) + "\n")
    shutil.copy(bench.path.parent / "sound" / "1.wav", bench.path.parent / "sound" / "new.wav")
    bench.run()
    assert bench.n_to_do == 1
    manifest.rename(manifest.with_name("other.csv"))
    bench.run("data.manifests.files=[other.csv]")
    assert bench.n_to_do == 0
    assert [p.name for p in (bench.out / "preds").iterdir()] == ["other"]
    assert [p.name for p in (bench.out / "manifests").glob("*.csv")] == ["other.csv"]
    table = read_table(bench.out / "final_ood_comparison.csv")
    assert {row["dataset"] for row in table} == {"other"}
    run = json.loads((bench.out / "run.json").read_text())
    assert list(run["manifests"]) == ["other"]


def test_what_is_edited_by_hand_is_made_again(bench: Bench) -> None:
    edited = {
        "preds/set/one.csv": "score",
        "final_ood_comparison.csv": "summarize",
        "metrics.json": "evaluate",
        "manifests/set.csv": "manifests",
    }
    before = {name: (bench.out / name).read_bytes() for name in edited}
    for name, redone in edited.items():
        (bench.out / name).write_bytes(before[name] + b"\n")
        assert bench.run().done == (redone,)
        assert (bench.out / name).read_bytes() == before[name]
        assert bench.n_to_do == 0


def test_the_run_folder_s_own_file_repeats_it(bench: Bench) -> None:
    assert bench.run(path=bench.out / "bench.yaml").done == ()
    config = read_config(bench.out / "bench.yaml", out=bench.path.parent / "again")
    run_benchmark(config, watcher=Watching())
    for name in ("preds/set/one.csv", "preds/set/two.csv", "final_ood_comparison.csv"):
        assert (bench.path.parent / "again" / name).read_bytes() == (bench.out / name).read_bytes()


def test_rows_are_never_kept_for_weights_that_run_json_does_not_tell_of(bench: Bench) -> None:
    rows = stored_rows(bench.out, "one")
    (bench.out / "run.json").unlink()
    (bench.out / "stages.json").unlink()
    write_weights(bench.path.parent / "weights" / "one", seed=7)
    bench.run()
    assert not set(stored_rows(bench.out, "one")) >= set(rows)


def test_missing_weights_are_an_error_and_scores_stay(bench: Bench) -> None:
    with pytest.raises(WeightsError, match=r"no weights for specnn_amplitude: looked at .*gone"):
        bench.run("detectors.1={name: specnn_amplitude, weights: gone}")
    shutil.rmtree(bench.path.parent / "weights" / "two")
    with pytest.raises(WeightsError, match="no weights for weights/two: no folder of that name"):
        bench.run()
    assert stored_rows(bench.out, "one")


def test_two_detectors_of_one_name_are_refused(bench: Bench) -> None:
    write_weights(bench.path.parent / "other" / "one", seed=5)
    with pytest.raises(UsageError, match="detectors: two are named 'one'"):
        bench.run("detectors=[weights/one, other/one]")
    assert "score" in stages_of(bench.out)


def test_asvspoof_files_are_an_output(bench: Bench) -> None:
    bench.run("outputs.asvspoof=true")
    assert sorted(p.name for p in (bench.out / "asvspoof").iterdir()) == [
        *("one__set.tsv", "set.key.tsv", "two__set.tsv"),
    ]
    lines = (bench.out / "asvspoof" / "one__set.tsv").read_text().splitlines()
    assert len(lines) == 1 + 8
    rows = {row["filepath"]: row for row in read_table(bench.out / "preds" / "set" / "one.csv")}
    name, score = lines[1].split("\t")
    assert float(score) == -float(rows[name]["logit"])
    bench.run()
    assert not (bench.out / "asvspoof").exists()


def test_rows_that_failed_are_tried_again_when_asked(bench: Bench) -> None:
    sound = bench.path.parent / "sound"
    shutil.copy(sound / "0.wav", sound / "broken.wav")
    assert bench.run().done == ()
    assert bench.run(retry_errors=True).done[0] == "score"
    assert bench.n_to_do == 1
    assert not (bench.out / "errors.csv").exists()
    assert bench.run(retry_errors=True).done == ()


def test_every_row_that_fails_still_makes_a_table(tmp_path: Path) -> None:
    bench = Bench(write_bench(tmp_path, n_files=2))
    for path in (tmp_path / "sound").iterdir():
        path.write_text("no sound")
    bench.run()
    assert len((bench.out / "errors.csv").read_text().splitlines()) == 1 + 2 * 3
