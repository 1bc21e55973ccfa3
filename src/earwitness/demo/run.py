"""The demonstration: a made-up workspace, a detector trained on part of it, the benchmark.

It shows what the benchmark is for: the detector is fitted on two kinds of decoder and judged
on those and on others, and how it does on the first is no guide to the second.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.bench.config import (
    AuditSection,
    BenchConfig,
    DataSection,
    DetectorSection,
    SplitsSection,
)
from earwitness.bench.run import BenchmarkRun, run_benchmark
from earwitness.bench.steps import Watcher
from earwitness.core.errors import UsageError
from earwitness.demo.workspace import Workspace, make_workspace
from earwitness.scoring.prediction_files import read_predictions
from earwitness.scoring.run import OnStart
from earwitness.splits.build import SplitOptions, build_splits, write_splits
from earwitness.splits.manifests import read_manifest
from earwitness.training.fakeprint import FittedDetector, train_fakeprint

DETECTOR = "fakeprint-demo"
KNOWN_GENERATORS = ("upsample320", "upsample512")
"""Decoders that the detector is trained on."""
REAL = "real"
_EVERYTHING = "ood_requested_combined"
_MARKER = ".earwitness-demo"


@dataclass(frozen=True)
class Outcome:
    """How the detector did on one kind of item.

    Attributes:
        kind: A generator, or ``real``.
        source: The data set the items lie in.
        n: Items judged.
        n_right: Items judged rightly.
        known: Whether the detector was trained on the kind in that data set.
    """

    kind: str
    source: str
    n: int
    n_right: int
    known: bool


@dataclass(frozen=True)
class DemoData:
    """What the demonstration judges, and who.

    Attributes:
        out: The folder that it all lies in.
        workspace: The made-up data sets.
        fitted: The detector that was trained on their train part.
        detector_folder: Its weights and card.
        train_manifest: What it was trained on.
    """

    out: Path
    workspace: Workspace
    fitted: FittedDetector
    detector_folder: Path
    train_manifest: Path


@dataclass(frozen=True)
class DemoRun:
    """What the demonstration left behind.

    Attributes:
        benchmark: The benchmark over the validation part of the made-up data sets.
        outcomes: How the detector did, kind by kind: real first, then what it was trained on.
    """

    benchmark: BenchmarkRun
    outcomes: tuple[Outcome, ...]


def prepare_demo(
    out: Path,
    *,
    seed: int = 0,
    say: Callable[[str], None],
    working: Callable[[str], None] | None = None,
) -> DemoData:
    """Make the workspace and train the detector; everything below ``out``.

    An earlier demonstration in ``out`` is replaced, but for its workspace, which is kept while
    it is what would be made again.

    Args:
        out: Folder to work in.
        seed: Seed of all that is made up and drawn.
        say: Told of every step.
        working: Told of every piece of music that is made.

    Raises:
        UsageError: ``out`` holds something that no demonstration wrote.
    """
    _claim(out)
    say("1/3 making up music, and fakes of it")
    workspace = make_workspace(out / "workspace", seed=seed, progress=working)
    say(f"2/3 training a fakeprint detector on {' and '.join(KNOWN_GENERATORS)}")
    detector_folder = out / "detectors" / DETECTOR
    train_manifest = _write_train_manifest(workspace, out / "train")
    fitted = train_fakeprint([read_manifest(train_manifest)], detector_folder)
    return DemoData(out, workspace, fitted, detector_folder, train_manifest)


def judge_demo(
    data: DemoData,
    *,
    say: Callable[[str], None],
    watcher: Watcher,
    on_start: OnStart | None = None,
) -> DemoRun:
    """Run the benchmark over what was prepared.

    Args:
        data: What is judged, and who judges.
        say: Told of the step.
        watcher: Told of how stages go.
        on_start: Called with the number of files; returns what is called after each.
    """
    say("3/3 judging other tracks: of these generators, and of others it never met")
    config = BenchConfig(
        out=data.out / "run",
        data=DataSection(splits=_validation(data.workspace)),
        detectors=(DetectorSection(name=str(data.detector_folder)),),
        audit=AuditSection(against=(data.train_manifest,)),
    )
    benchmark = run_benchmark(config, watcher=watcher, on_start=on_start)
    return DemoRun(benchmark, _outcomes(benchmark))


def _claim(out: Path) -> None:
    """Take a folder of our own and clear what an earlier run made there of the workspace."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: found a file, expected a folder for the demonstration")
    if out.is_dir() and any(out.iterdir()) and not (out / _MARKER).exists():
        raise UsageError(f"{out}: holds files of its own, expected an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARKER).touch()
    for part in ("train", "detectors", "run"):
        shutil.rmtree(out / part, ignore_errors=True)


def _write_train_manifest(workspace: Workspace, folder: Path) -> Path:
    n_tracks = workspace.settings.n_tracks // 2
    options = SplitOptions(
        root=workspace.root,
        deezer_split_name="train",
        fma_encoders=KNOWN_GENERATORS,
        n_fma_real=n_tracks,
        n_fma_fake=n_tracks * len(KNOWN_GENERATORS),
        n_sonics_real=0,
        n_sonics_fake=0,
        n_fakemusiccaps_fake=0,
        seed=workspace.settings.seed,
    )
    write_splits(build_splits(options), folder)
    return folder / f"{_EVERYTHING}.csv"


def _validation(workspace: Workspace) -> SplitsSection:
    settings = workspace.settings
    n_tracks = settings.n_tracks // 3
    return SplitsSection(
        root=workspace.root,
        fma_encoders=workspace.encoders,
        n_fma_real=n_tracks,
        n_fma_fake=n_tracks * len(workspace.encoders),
        n_sonics_real=settings.n_songs,
        n_sonics_fake=settings.n_songs,
        n_fakemusiccaps_fake=settings.n_captions * len(workspace.generators),
        seed=settings.seed,
    )


def _outcomes(benchmark: BenchmarkRun) -> tuple[Outcome, ...]:
    files = [path for path in benchmark.predictions if path.parent.name == _EVERYTHING]
    (predictions,) = read_predictions(files[0])
    counts = (
        predictions.frame.filter(pl.col("pred_label").is_not_null())
        .group_by(pl.col("generator").fill_null(REAL), "source_dataset")
        .agg(pl.len(), (pl.col("pred_label") == pl.col("target")).sum().alias("right"))
    )
    outcomes = [
        Outcome(kind, source, n, n_right, source == "FMA" and kind in (*KNOWN_GENERATORS, REAL))
        for kind, source, n, n_right in counts.iter_rows()
    ]
    return tuple(sorted(outcomes, key=lambda o: (o.kind != REAL, not o.known, o.source, o.kind)))
