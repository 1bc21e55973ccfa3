from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from builders import write_tone
from earwitness.bench.diff import open_run
from earwitness.core.errors import RunError, UsageError
from earwitness.detectors.base import Detector
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.scoring import predict, run
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.prediction_files import find_predictions, read_predictions, read_windows
from earwitness.scoring.run import score_into_files, score_into_run
from earwitness.scoring.status import read_progress
from earwitness.splits.manifests import read_manifest, write_root

HERE = ScoringOptions(num_workers=0)


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    return save_fakeprint(card, np.zeros(4_087), 1.0, tmp_path / "mine")


def make_manifest(folder: Path, name: str, *paths: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    path.write_text("filepath,target\n" + "".join(f"{p},0\n" for p in paths))
    return path


def test_a_run_folder(tmp_path: Path, detector: Detector) -> None:
    write_tone(tmp_path / "data" / "a.wav")
    manifest = read_manifest(make_manifest(tmp_path / "m", "one", "a.wav"), root=tmp_path / "data")
    out = tmp_path / "run"
    (path,) = score_into_run([manifest], [detector], out, options=HERE)
    assert path == out / "preds" / "one" / "mine.csv"
    described = json.loads((out / "run.json").read_text())
    assert described["detectors"][0]["weights_sha256"] == detector.card.weights_sha256
    assert described["computed_by"] == {"mine": "numpy on cpu"}
    assert described["manifests"]["one"]["digest"] == manifest.digest
    copy = read_manifest(out / "manifests" / "one.csv")
    assert copy.digest == manifest.digest
    assert copy.locate_all() == [tmp_path / "data" / "a.wav"]


def test_what_computed_earlier_rows_is_kept(tmp_path: Path, detector: Detector) -> None:
    write_tone(tmp_path / "m" / "a.wav")
    manifest = read_manifest(make_manifest(tmp_path / "m", "one", "a.wav"))
    score_into_run([manifest], [detector], tmp_path / "run", options=HERE)
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    described["computed_by"]["mine"] = "numpy on paper"
    described["computed_by"]["other"] = "torch on cpu"
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    score_into_run([manifest], [detector], tmp_path / "run", options=HERE)
    now = json.loads((tmp_path / "run" / "run.json").read_text())
    assert now["computed_by"] == {"mine": "numpy on cpu", "other": "torch on cpu"}
    assert [then["computed_by"] for then in now["earlier"]] == [{"mine": "numpy on paper"}]


def test_copies_of_manifests_with_several_roots_are_absolute(
    tmp_path: Path, detector: Detector
) -> None:
    manifests = []
    for name in ("one", "two"):
        write_tone(tmp_path / name / "data" / "a.wav", hz=300 + len(name))
        write_root(tmp_path / name, tmp_path / name / "data")
        manifests.append(read_manifest(make_manifest(tmp_path / name, name, "a.wav")))
    score_into_run(manifests, [detector], tmp_path / "run", options=HERE)
    for name in ("one", "two"):
        copy = read_manifest(tmp_path / "run" / "manifests" / f"{name}.csv")
        assert copy.locate_all() == [tmp_path / name / "data" / "a.wav"]
        assert Path(copy.frame["filepath"][0]).is_absolute()


def test_a_second_run_replaces_what_the_first_left(tmp_path: Path, detector: Detector) -> None:
    broken = read_manifest(make_manifest(tmp_path / "m", "one", "absent.wav"))
    score_into_run([broken], [detector], tmp_path / "run", options=HERE)
    assert pl.read_csv(tmp_path / "run" / "errors.csv")["error"].to_list() == ["no such file"]
    write_tone(tmp_path / "m" / "there.wav")
    mended = read_manifest(make_manifest(tmp_path / "m", "one", "there.wav"))
    with pytest.raises(RunError, match=r'manifest one digest was "[0-9a-f]{58}…, is "'):
        score_into_run([mended], [detector], tmp_path / "run", options=HERE)
    always = ScoringOptions(num_workers=0, resume="always")
    score_into_run([mended], [detector], tmp_path / "run", options=always)
    assert not (tmp_path / "run" / "errors.csv").exists()
    copy = read_manifest(tmp_path / "run" / "manifests" / "one.csv")
    assert copy.frame["filepath"].to_list() == ["there.wav"]


def test_one_file_holds_one_manifest_and_one_detector(tmp_path: Path, detector: Detector) -> None:
    manifest = read_manifest(make_manifest(tmp_path / "m", "one", "a.wav"))
    with pytest.raises(UsageError, match="1 manifests and 2 detectors for one file: give --out"):
        score_into_files(
            [manifest],
            [detector, detector],
            output_csv=tmp_path / "x.csv",
            output_dir=None,
            options=HERE,
        )


def test_a_run_of_parquet_parts_says_the_same_as_one_of_csv(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write_tone(tmp_path / "m" / f"{number}.wav", hz=200 + 50 * number, seconds=0.5)
    names = [f"{number}.wav" for number in (*range(5), 9)]
    manifest, out = read_manifest(make_manifest(tmp_path / "m", "one", *names)), tmp_path / "run"
    csv = HERE.model_copy(update={"keep_windows": True, "windows": 2})
    (path,) = score_into_run([manifest], [detector], out, options=csv)
    (before,), windows = read_predictions(path), read_windows(path)
    for module in (run, predict):
        monkeypatch.setattr(module, "PART_ROWS", 4)
    content = path.read_bytes()
    (again,) = score_into_run([manifest], [detector], out, options=csv)
    assert again.read_bytes() == content
    parquet = csv.model_copy(update={"format": "parquet"})
    ((path, found),) = score_into_run([manifest], [detector], out, options=parquet).items()
    assert sorted(p.name for p in path.iterdir()) == ["part-00000.parquet", "part-00001.parquet"]
    (after,) = read_predictions(path)
    assert (after.dataset, after.detector) == ("one", "mine")
    assert after.frame.equals(before.frame)
    assert found.frame.height == 6
    assert windows is not None
    assert windows.equals(read_windows(path))
    left = {p.name for p in (out / "preds" / "one").iterdir()}
    assert left == {"mine.parquet", "mine_windows.parquet"}
    assert read_manifest(out / "manifests" / "one.parquet").digest == manifest.digest
    path.with_name(".mine.parquet.new").mkdir()  # of a process that was killed
    shutil.copy(path / "part-00000.parquet", path.with_name(".mine.parquet.new"))
    assert find_predictions(out) == find_predictions(path) == [path]
    assert [p.n_done for p in read_progress(out)] == [6]
    opened = open_run(out)
    assert opened.predictions == {"mine": {"one": path}}
    assert opened.manifests["one"].digest == manifest.digest
    score_into_run([manifest], [detector], out, options=csv)
    assert find_predictions(out) == [again]
