"""Which rows a slice is made of: datasets, corpora, generators, the crossed grid, columns.

Conventions: the slice ``overall`` and all that follow from it hold every item once, whatever
datasets it stands in; slices of kind ``dataset`` hold the rows of that dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from earwitness.evaluation.schema import Coverage, SliceKind
from earwitness.evaluation.sonics import HEADLINES
from earwitness.evaluation.sources import deduplicate
from earwitness.splits.grouping import list_cells, list_makers, split_by


@dataclass(frozen=True)
class Cut:
    """Rows of one detector that figures are to be made of.

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
        frame: Rows of one detector, as ``gather`` gives them.
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
        rows: As ``gather`` gives them, of one detector.
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
