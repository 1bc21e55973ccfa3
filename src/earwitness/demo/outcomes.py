"""What the detectors of the demo decide, by kind of music."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from earwitness.bench.run import BenchmarkRun
from earwitness.core.predictions import Predictions
from earwitness.demo.run import COMBINED, DETECTOR, KNOWN_GENERATORS
from earwitness.scoring.prediction_files import read_predictions

REAL = "real"


@dataclass(frozen=True)
class Outcome:
    """Correct decisions on one generator (or ``real``) in one dataset.

    ``known``: whether the detector was trained on it.
    """

    kind: str
    source: str
    n: int
    n_right: int
    known: bool


def read_outcomes(benchmark: BenchmarkRun) -> list[Outcome]:
    """Return the trained detector's accuracy per kind: real first, then the known generators."""
    predictions = _read_combined(benchmark)[Path(DETECTOR).name]
    counts = (
        predictions.frame.filter(pl.col("pred_label").is_not_null())
        .group_by(pl.col("generator").fill_null(REAL), "source_dataset")
        .agg(pl.len(), (pl.col("pred_label") == pl.col("target")).sum().alias("right"))
    )
    outcomes = [
        Outcome(kind, source, n, n_right, source == "FMA" and kind in (*KNOWN_GENERATORS, REAL))
        for kind, source, n, n_right in counts.iter_rows()
    ]
    return sorted(outcomes, key=lambda o: (o.kind != REAL, not o.known, o.source, o.kind))


class Flagged(NamedTuple):
    """Fakes and reals that a detector flags, of all; abstentions are not flags."""

    detector: str
    n_fake_flagged: int
    n_fake: int
    n_real_flagged: int
    n_real: int


def read_flagged(benchmark: BenchmarkRun) -> list[Flagged]:
    """Return what the detectors flag that were not trained here."""
    counts = []
    for name, predictions in _read_combined(benchmark).items():
        if name != Path(DETECTOR).name:
            fakes, reals = (predictions.frame.filter(target=target) for target in (1, 0))
            flagged = (int((part["pred_label"] == 1).sum()) for part in (fakes, reals))
            n_fake_flagged, n_real_flagged = flagged
            counts.append(Flagged(name, n_fake_flagged, len(fakes), n_real_flagged, len(reals)))
    return counts


def _read_combined(benchmark: BenchmarkRun) -> dict[str, Predictions]:
    """Return the predictions on the manifest of all kinds, by detector."""
    paths = [path for path in benchmark.predictions if path.parent.name == COMBINED]
    found = [each for path in paths for each in read_predictions(path)]
    return {predictions.detector: predictions for predictions in found}
