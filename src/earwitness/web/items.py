"""Items of a run folder, one per detector and row of a manifest, and their files.

Conventions: 0 is real, 1 is fake. A row is named by its number over all manifests of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.bench.diff import open_run
from earwitness.core.errors import RunError
from earwitness.core.remote import is_url
from earwitness.scoring.prediction_files import read_predictions

PAGE_SIZE = 100
OUTCOMES = ("wrong", "right", "abstained", "failed")
LABELS = ("real", "fake")


@dataclass(frozen=True)
class RunItems:
    """The items of a run.

    Attributes:
        frame: ``number`` of the row, ``detector``, ``dataset``, ``filepath``, ``label``, ``score``
            from 0 to 1 and ``outcome``, and ``reason`` where there is no score.
        files: Path or URL of each row's file, by number.
    """

    frame: pl.DataFrame
    files: list[str]

    def select(self, asked: Mapping[str, str]) -> pl.DataFrame:
        """Return items that have the given detector, label and outcome, and a part of the name.

        Items that are wrong with the most confidence are first.
        """
        found = self.frame
        for column in ("detector", "label", "outcome"):
            if value := asked.get(column):
                found = found.filter(pl.col(column) == value)
        if name := asked.get("name"):
            found = found.filter(pl.col("filepath").str.contains(name, literal=True))
        confidence = (pl.col("score") - 0.5).abs()
        order = (pl.col("outcome").replace_strict(OUTCOMES, range(len(OUTCOMES))), -confidence)
        return found.sort(*order, "number", nulls_last=True)

    def file(self, number: int) -> Path | None:
        """Return the local file of a row, if it has one."""
        if not 0 <= number < len(self.files) or is_url(self.files[number]):
            return None
        path = Path(self.files[number])
        return path if path.is_file() else None


def read_items(folder: Path) -> RunItems:
    """Return the items of a run folder.

    Raises:
        RunError: It has no ``run.json`` or no predictions, or they do not fit its manifests.
        PredictionsError: A prediction file is not valid.
    """
    run = open_run(folder)
    parts: list[pl.DataFrame] = []
    files: list[str] = []
    for dataset, manifest in run.manifests.items():
        for detector, paths in run.predictions.items():
            if (path := paths.get(dataset)) is None:
                continue
            frame = pl.concat([one.frame for one in read_predictions(path)], how="diagonal")
            if not frame["filepath"].equals(manifest.frame["filepath"]):
                raise RunError(f"{path}: expected the rows of the manifest {dataset}")
            parts.append(_items(frame, len(files), detector, dataset))
        files += manifest.files
    if not parts:
        raise RunError(f"{folder}: no predictions")
    return RunItems(pl.concat(parts), files)


def _items(frame: pl.DataFrame, first: int, detector: str, dataset: str) -> pl.DataFrame:
    has = {
        name: pl.col(name) if name in frame.columns else pl.lit(None, pl.String)
        for name in ("abstained", "error")
    }
    outcome = (
        pl.when(has["abstained"].is_not_null())
        .then(pl.lit("abstained"))
        .when(pl.col("pred_label").is_null() | has["error"].is_not_null())
        .then(pl.lit("failed"))
        .when(pl.col("pred_label") == pl.col("target"))
        .then(pl.lit("right"))
        .otherwise(pl.lit("wrong"))
    )
    return frame.select(
        number=pl.int_range(pl.len(), dtype=pl.Int64) + first,
        detector=pl.lit(detector),
        dataset=pl.lit(dataset),
        filepath="filepath",
        label=pl.when(pl.col("target") == 1).then(pl.lit("fake")).otherwise(pl.lit("real")),
        score=pl.col("pred_prob").cast(pl.Float64),
        outcome=outcome,
        reason=pl.coalesce(has["abstained"], has["error"]),
    )
