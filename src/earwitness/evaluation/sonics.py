"""The partitions of SONICS by which its authors report, from the columns of its manifests.

Conventions: fakes by algorithm and by how much of a song is fake, told by recall; reals by whether
the singer was heard in training (``artist_overlap``), told by specificity; both classes by length,
told by macro F1. Short is up to 60 s, long over 120 s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earwitness.core.io import atomic_write
from earwitness.core.predictions import Predictions
from earwitness.evaluation.sources import is_scored
from earwitness.metrics.compute import count_decisions
from earwitness.metrics.measures import measure_counts

SONICS = "sonics"

HEADLINES = {
    "algorithm": "recall",
    "singer": "specificity",
    "fake_type": "recall",
    "length": "f1_macro",
}
"""Partition → the metric that its authors give for it."""

SHORT_S, LONG_S = 60.0, 120.0

_OWN = "artist_overlap"
"""A column that SONICS alone has."""
_HEARD = {"true": "seen", "1": "seen", "1.0": "seen"}
_NOT_HEARD = {"false": "unseen", "0": "unseen", "0.0": "unseen"}
_FAKE_TYPES = ("full fake", "half fake", "mostly fake")


def partition_columns(frame: pl.DataFrame) -> list[pl.Expr]:
    """Return ``sonics:<partition>`` of every row; null where a row is in none of its values.

    Args:
        frame: A prediction file's columns, ``target`` a number.
    """
    inside, fake = _of_sonics(frame), pl.col("target") == 1
    algorithm = pl.coalesce(_text(frame, "algorithm"), _text(frame, "generator"))
    lower = _text(frame, "artist_overlap").str.to_lowercase()
    singer = lower.replace_strict(_HEARD | _NOT_HEARD, default=None, return_dtype=pl.String)
    label = _text(frame, "label").str.to_lowercase().str.replace_all("_", " ")
    duration = pl.coalesce(
        _text(frame, name).cast(pl.Float64, strict=False) for name in ("duration_s", "duration")
    )
    length = (
        pl.when(duration <= SHORT_S)
        .then(pl.lit("short"))
        .when(duration > LONG_S)
        .then(pl.lit("long"))
        .when(duration.is_not_null())
        .then(pl.lit("medium"))
    )
    values = {
        "algorithm": pl.when(fake).then(algorithm),
        "singer": pl.when(~fake).then(singer),
        "fake_type": pl.when(fake & label.is_in(_FAKE_TYPES)).then(label),
        "length": length,
    }
    return [
        pl.when(inside).then(value).cast(pl.String).alias(f"sonics:{name}")
        for name, value in values.items()
    ]


def _of_sonics(frame: pl.DataFrame) -> pl.Expr:
    """Rows whose source is SONICS; where a file tells no source, files with its own columns."""
    if "source_dataset" in frame.columns and frame["source_dataset"].count():
        named = pl.col("source_dataset").cast(pl.String).str.strip_chars().str.to_lowercase()
        return (named == SONICS).fill_null(value=False)
    return pl.lit(_OWN in frame.columns)


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    stripped = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


SUMMARY_CSV = "test_summary.csv"
PARTITIONS_CSV = "test_partition_results.csv"

_SONICS = "sonics-"


def write_published_tables(predictions: Predictions, folder: Path) -> list[Path]:
    """Write the summary of a SONICS detector and, where the columns are there, its partitions.

    Args:
        predictions: Rows of one detector; of another detector nothing is written.
        folder: Where the tables go.

    Returns:
        What was written.
    """
    if _SONICS not in predictions.detector:
        return []
    frame = predictions.frame
    rows = frame.filter(is_scored(frame)).with_columns(*partition_columns(frame))
    written = [_write(folder / SUMMARY_CSV, [_summary(predictions.detector, rows)])]
    partitions = _partitions(rows)
    return [*written, _write(folder / PARTITIONS_CSV, partitions)] if partitions else written


def _summary(model: str, rows: pl.DataFrame) -> dict[str, str | float | None]:
    counts = count_decisions(rows["target"], rows["pred_label"])
    return {
        "model": model,
        "loss": _loss(rows),
        "acc": _defined(measure_counts("accuracy", counts)),
        "f1": _defined(measure_counts("f1", counts)),
        "sens": _defined(measure_counts("recall", counts)),
        "spec": _defined(measure_counts("specificity", counts)),
    }


def _partitions(rows: pl.DataFrame) -> list[dict[str, str | float | int | None]]:
    found: list[dict[str, str | float | int | None]] = []
    for partition, metric in HEADLINES.items():
        column = f"sonics:{partition}"
        for (value,), part in (
            rows.drop_nulls(column).sort(column).group_by(column, maintain_order=True)
        ):
            counts = count_decisions(part["target"], part["pred_label"])
            found.append(
                {
                    "partition": partition,
                    "value": str(value),
                    "metric": metric,
                    "result": _defined(measure_counts(metric, counts)),
                    "n": part.height,
                }
            )
    return found


def _loss(rows: pl.DataFrame) -> float | None:
    """Return the mean of log(1 + exp(-z)), z the logit of a fake and its negative of a real."""
    logits, targets = rows["logit"].to_list(), rows["target"].to_list()
    if not logits or None in logits:
        return None
    margins = [z if target else -z for z, target in zip(logits, targets, strict=True)]
    return math.fsum(max(-z, 0) + math.log1p(math.exp(-abs(z))) for z in margins) / len(margins)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _write(path: Path, rows: Sequence[dict[str, str | float | int | None]]) -> Path:
    with atomic_write(path) as temporary:
        pl.DataFrame(rows, infer_schema_length=None).write_csv(temporary)
    return path
