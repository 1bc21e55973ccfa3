"""Slices of the rows: datasets, corpora, generators, the crossed grid, columns, parts of SONICS.

Conventions: all slices but those of kind ``dataset`` hold every item once, whatever datasets it is
in. SONICS is cut as by its authors: fakes by algorithm and by the share of a song that is fake
(recall), reals by whether the singer was in training (``artist_overlap``; specificity), both
classes by length (macro F1; short is up to 60 s, long over 120 s).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.slice_schema import Coverage, SliceKind
from earwitness.splits.grouping import list_cells, list_makers, split_by


@dataclass(frozen=True)
class Cut:
    """Rows of one detector that make a slice.

    Attributes:
        kind: What the slice is.
        name: What people read.
        keys: What it was cut by.
        rows: Its rows, lost ones among them.
        headline: The metric that speaks for it, where one alone does.
    """

    kind: SliceKind
    name: str
    keys: dict[str, str]
    rows: pl.DataFrame
    headline: str | None = None


def cut(frame: pl.DataFrame, by: Sequence[str]) -> Iterator[Cut]:
    """Yield the slices of one detector's rows: overall, then by what there is to cut by.

    Args:
        frame: Rows of one detector, as ``load_rows`` returns them.
        by: Columns to cut by, there as ``by:<column>``.
    """
    items = deduplicate(frame)
    yield Cut("overall", "overall", {}, items)
    for name, rows in split_by(frame, "dataset"):
        yield Cut("dataset", name, {"dataset": name}, rows)
    for name, rows in split_by(items, "corpus"):
        yield Cut("corpus", name, {"corpus": name}, rows)
    for maker in list_makers(items):
        yield Cut("generator", maker.name, maker.keys, maker.rows)
    for cell in list_cells(items):
        yield Cut("grid", cell.name, cell.keys, cell.rows)
    yield from _partitions(items)
    for column in by:
        for value, rows in split_by(items, f"by:{column}"):
            yield Cut("column", f"{column} {value}", {"column": column, "value": value}, rows)


def _partitions(items: pl.DataFrame) -> Iterator[Cut]:
    """Cut SONICS as its authors do."""
    for partition, headline in HEADLINES.items():
        column = f"sonics:{partition}"
        for value, rows in split_by(items.drop_nulls(column), column):
            words = partition.replace("_", " ")
            keys = {"partition": partition, "value": value}
            yield Cut("sonics", f"SONICS {words}: {value}", keys, rows, headline)


N_ERRORS = 5
"""Commonest errors that are listed, and as many reasons to abstain."""


def cover(rows: pl.DataFrame) -> Coverage:
    """Count the rows of a slice by what became of them.

    Args:
        rows: As ``load_rows`` returns them, of one detector.
    """
    scored = rows.filter(pl.col("state") == "scored")
    lost = rows.filter(pl.col("state") != "scored")
    real, fake = (scored.filter(pl.col("target") == label) for label in (0, 1))
    failed, abstained = (rows.filter(pl.col("state") == s) for s in ("failed", "abstained"))
    return Coverage(
        n_items=rows.height,
        n_scored=scored.height,
        n_abstained=abstained.height,
        n_failed=failed.height,
        n_missing=lost.height - failed.height - abstained.height,
        n_real=real.height,
        n_fake=fake.height,
        n_real_lost=int((lost["target"] == 0).sum()),
        n_fake_lost=int((lost["target"] == 1).sum()),
        n_groups=scored["group"].n_unique(),
        n_groups_real=real["group"].n_unique(),
        n_groups_fake=fake["group"].n_unique(),
        errors=_commonest(failed, "error"),
        abstentions=_commonest(abstained, "abstained"),
    )


def _commonest(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counted = rows.group_by(column).len().sort(["len", column], descending=[True, False])
    return {str(reason): int(n) for reason, n in counted.head(N_ERRORS).rows()}


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
