from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from bench.test_steps import Watching
from benches import write_bench, write_weights
from earwitness.bench.config import read_config
from earwitness.bench.diff import RunDiff, diff_runs
from earwitness.bench.run import run_benchmark
from earwitness.core.errors import RunError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a benchmark that has run into ``run``."""
    home = tmp_path_factory.mktemp("runs")
    write_bench(home, n_files=24)
    run(home, "run")
    return home


def run(home: Path, out: str, *changes: str) -> Path:
    config = read_config(home / "bench.yaml", changes=changes, out=home / out)
    run_benchmark(config, watcher=Watching())
    return home / out


def test_a_run_is_as_it_was_when_repeated(home: Path) -> None:
    found = diff_runs(home / "run", run(home, "again"))
    assert found.is_same
    assert [s.n_common for s in found.scores] == [24, 24]


def test_other_weights_move_scores_and_flip_decisions(home: Path) -> None:
    write_weights(home / "other" / "one", seed=11)
    found = diff_runs(home / "run", run(home, "weights", "detectors=[other/one, weights/two]"))
    assert not found.is_same
    changes = {change.name: change for change in found.changes}
    assert set(changes) == {"detectors.0.name", "one.weights_sha256"}
    text = found.model_dump_json()
    assert RunDiff.model_validate_json(text) == found
    assert {"figures", "no_figures"} <= set(json.loads(text)["scores"][0])
    one, two = found.scores
    assert (one.detector, one.n_common, one.n_changed) == ("one", 24, 24)
    assert one.largest is not None
    assert one.mean is not None
    assert 0 < one.mean <= one.largest <= 1
    rows = {
        path: read_decisions(home / path / "preds" / "set" / "one.csv")
        for path in ("run", "weights")
    }
    flipped = {name for name, label in rows["run"].items() if rows["weights"][name] != label}
    assert {flip.filepath for flip in one.flips} == flipped
    assert flipped
    order = [(f.is_right_now, -abs((f.second_prob or 0) - (f.first_prob or 0))) for f in one.flips]
    assert order == sorted(order)
    metrics = {part.metric: part for part in one.metrics}
    auroc = metrics["auroc"]
    assert auroc.first is not None
    assert auroc.second is not None
    assert auroc.difference == pytest.approx(auroc.second - auroc.first)
    assert auroc.low is not None
    assert auroc.high is not None
    assert auroc.low <= auroc.difference <= auroc.high
    assert two.is_same
    assert two.metrics == []


def read_decisions(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {r["filepath"]: r["pred_label"] for r in csv.DictReader(file) if not r["error"]}


def test_rows_that_came_went_and_changed_sides(home: Path) -> None:
    lines = (home / "set.csv").read_text().splitlines()
    shutil.copy(home / "sound" / "3.wav", home / "sound" / "new.wav")
    relabelled = lines[3].replace("2.wav,0,", "2.wav,1,")
    assert relabelled != lines[3]
    sets = home / "sets"
    sets.mkdir()
    (sets / "set.csv").write_text(
        "\n".join([lines[0], *lines[2:3], relabelled, *lines[4:], "new.wav,1,mill,g3"]) + "\n"
    )
    found = diff_runs(home / "run", run(home, "rows", "data.manifests.files=[sets/set.csv]"))
    (rows,) = found.rows
    assert (rows.added, rows.removed, rows.relabelled) == (["new.wav"], ["0.wav"], ["2.wav"])
    assert (rows.n_first, rows.n_second) == (25, 25)
    assert [(s.n_changed, s.n_first_only, s.n_second_only) for s in found.scores] == [(0, 1, 1)] * 2


def test_options_versions_and_detectors_that_differ_are_listed(home: Path) -> None:
    other = run(home, "options", "scoring.windows=2", "detectors=[weights/one]")
    run_json = json.loads((other / "run.json").read_text())
    run_json["libraries"]["torch"] = "1.0"
    (other / "run.json").write_text(json.dumps(run_json))
    found = diff_runs(home / "run", other)
    changes = {(c.kind, c.name): (c.first, c.second) for c in found.changes}
    assert changes["option", "scoring.windows"] == ("published", "2")
    assert changes["version", "torch"][1] == "1.0"
    assert changes["detector", "two.weights_sha256"][1] is None
    assert [s.detector for s in found.scores] == ["one"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(RunError, match=r"no run\.json, expected a run folder"):
        diff_runs(home / "run", tmp_path)
