"""The main job on real music, where the folder of it lies beside the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from bench.test_steps import Watching
from earwitness.bench.config import (
    BenchConfig,
    DataSection,
    DetectorSection,
    SplitsSection,
)
from earwitness.bench.run import BenchmarkRun, run_benchmark
from earwitness.bench.sections import AuditSection
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import Detector
from earwitness.detectors.loading import open_detector
from earwitness.scoring.predict import predict
from earwitness.splits.build import SplitOptions, build_splits, write_splits
from earwitness.splits.manifests import list_manifests, read_manifest
from earwitness.training.fakeprint import train_fakeprint

ENCODERS = ("griffin256", "griffin512", "lyra3", "lyra9")


@pytest.fixture(scope="module")
def music(request: pytest.FixtureRequest) -> Path:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "audio"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real music")
    return folder


@pytest.fixture(scope="module")
def fakeprint(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained on FMA's train part."""
    folder = tmp_path_factory.mktemp("detectors")
    options = SplitOptions(
        root=music / "root",
        deezer_split_name="train",
        fma_encoders=ENCODERS,
        n_fma_real=26,
        n_fma_fake=104,
        n_sonics_real=0,
        n_sonics_fake=0,
        n_fakemusiccaps_fake=0,
    )
    write_splits(build_splits(options), folder / "train")
    manifest = read_manifest(folder / "train" / "ood_requested_combined.csv")
    train_fakeprint([manifest], folder / "fakeprint-fma")
    return folder / "fakeprint-fma"


@pytest.fixture(scope="module")
def detectors(
    music: Path, fakeprint: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Detector]:
    """The published network with golden weights, and the fakeprint."""
    weights = {"specnn_amplitude": music.parent / "golden" / "specnn_amplitude"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARWITNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        published = open_detector("specnn_amplitude", weights=weights)
    return [published, open_detector(str(fakeprint))]


@pytest.fixture(scope="module")
def run(music: Path, fakeprint: Path, tmp_path_factory: pytest.TempPathFactory) -> BenchmarkRun:
    out = tmp_path_factory.mktemp("run")
    splits = SplitsSection(
        root=music / "root",
        fma_encoders=ENCODERS,
        n_fma_real=12,
        n_fma_fake=24,
        n_sonics_real=10,
        n_sonics_fake=4,
        n_fakemusiccaps_fake=10,
    )
    golden = music.parent / "golden" / "specnn_amplitude"
    scored_by = (
        DetectorSection(name="specnn_amplitude", weights=golden),
        DetectorSection(name=str(fakeprint)),
    )
    config = BenchConfig(
        out=out,
        data=DataSection(splits=splits),
        detectors=scored_by,
        audit=AuditSection(enabled=False),  # test_audit_of_real_music has more of it
    )
    return run_benchmark(config, watcher=Watching())


def test_ten_manifests_without_a_shortfall(run: BenchmarkRun) -> None:
    drawn = json.loads((run.out / "manifests" / "splits.json").read_text())
    assert drawn["warnings"] == []
    assert len(list_manifests(run.out / "manifests")) == 10


def test_the_planted_overlap_is_dropped_and_counted(run: BenchmarkRun) -> None:
    omitted = pl.read_csv(run.out / "manifests" / "omitted.csv")
    assert omitted.select("name", "reason").rows() == [
        ("real_songs/real_00000.mp3", "path also in the train split")
    ]


def test_every_row_of_every_manifest_is_scored(run: BenchmarkRun) -> None:
    assert len(run.predictions) == 20
    for path in run.predictions:
        frame = pl.read_csv(path)
        assert frame["error"].null_count() == frame.height
        judged = read_manifest(run.out / "manifests" / f"{path.parent.name}.csv")
        assert frame["filepath"].to_list() == judged.frame["filepath"].to_list()


def test_the_table_and_its_pictures(run: BenchmarkRun) -> None:
    table = pl.read_csv(run.comparison)
    assert table.height == 20
    assert (table["n"] == table["TP"] + table["TN"] + table["FP"] + table["FN"]).all()
    assert len(list((run.out / "confusion").glob("*.png"))) == 40
    assert (run.out / "report.html").is_file()


def test_fakeprint_tells_neural_codecs_from_music(run: BenchmarkRun) -> None:
    """A codec without content above 8 kHz is easy; Griffin-Lim leaves no up-sampling peaks."""
    path = run.out / "preds" / "ood_requested_combined" / "fakeprint-fma.csv"
    frame = pl.read_csv(path).filter(pl.col("source_dataset") == "FMA")
    mean = dict(
        frame.group_by(pl.col("generator").fill_null("real")).agg(pl.col("logit").mean()).rows()
    )
    assert min(mean["lyra3"], mean["lyra9"]) > mean["real"] + 2


def examples(music: Path) -> Manifest:
    paths = sorted((music / "fma_examples").glob("*/*.mp3"))
    frame = pl.DataFrame(
        {
            "filepath": [path.as_posix() for path in paths],
            "target": [int(path.parent.name != "real") for path in paths],
        }
    )
    return Manifest("fma_examples", frame)


def test_the_published_reconstructions(music: Path, detectors: list[Detector]) -> None:
    predictions = predict([examples(music)], detectors)
    assert [(p.n_scored, p.n_failed) for p in predictions] == [(40, 0), (40, 0)]


def test_damaged_copies_are_rows_with_their_error(
    music: Path, detectors: list[Detector], tmp_path: Path
) -> None:
    manifest = examples(music)
    paths = [Path(path) for path in manifest.frame["filepath"].to_list()[:6]]
    copies = [Path(shutil.copy(path, tmp_path / f"{n}.mp3")) for n, path in enumerate(paths)]
    copies[1].write_bytes(copies[1].read_bytes()[:300_001])
    copies[2].write_text("this is no music", encoding="utf-8")
    copies[3].write_bytes(b"")
    copies[4].unlink()
    frame = pl.DataFrame({"filepath": [p.name for p in copies], "target": [1] * 6})
    for prediction in predict([Manifest("damaged", frame, (tmp_path,))], detectors):
        assert prediction.frame["filepath"].to_list() == [p.name for p in copies]
        errors = prediction.frame["error"].to_list()
        assert errors[0] is errors[5] is None
        assert errors[1].startswith("truncated at 9.")
        assert errors[2:5] == ["a text/HTML file, not audio", "the file is empty", "no such file"]
