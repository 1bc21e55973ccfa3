"""Which rows a slice is made of: datasets, corpora, generators, the crossed grid, columns.

Conventions: the slice ``overall`` and all that follow from it hold every item once, whatever
datasets it stands in; slices of kind ``dataset`` hold the rows of that dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from earwitness.core.metrics import SliceKind
from earwitness.evaluation.partitions import HEADLINES
from earwitness.evaluation.rows import once

ALL = "all"
"""The real corpus of a grid cell that takes the reals of every corpus."""


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
    items = once(frame)
    yield Cut("overall", "overall", {}, items)
    for name, rows in _values(frame, "dataset"):
        yield Cut("dataset", name, {"dataset": name}, rows)
    for name, rows in _values(items, "corpus"):
        yield Cut("corpus", name, {"corpus": name}, rows)
    yield from _generators(items)
    yield from _grid(items)
    yield from _partitions(items)
    for column in by:
        for value, rows in _values(items, f"by:{column}"):
            yield Cut("column", f"{column} {value}", {"column": column, "value": value}, rows)


def _generators(items: pl.DataFrame) -> Iterator[Cut]:
    for name, keys, rows in _makers(items):
        yield Cut("generator", name, keys, rows)


def _grid(items: pl.DataFrame) -> Iterator[Cut]:
    """Cross the reals of each corpus, and those of all, with the fakes of each generator."""
    real = items.filter(pl.col("target") == 0)
    corpora = _values(real, "corpus")
    if len(corpora) > 1:
        corpora.append((ALL, real))
    for corpus, reals in corpora:
        for name, keys, fakes in _makers(items):
            label = "all reals" if corpus == ALL else corpus
            rows = pl.concat([reals, fakes])
            yield Cut("grid", f"{label} × {name}", {"real_corpus": corpus} | keys, rows)


def _partitions(items: pl.DataFrame) -> Iterator[Cut]:
    """Cut SONICS as its authors do."""
    for partition, headline in HEADLINES.items():
        column = f"sonics:{partition}"
        for value, rows in _values(items.drop_nulls(column), column):
            words = partition.replace("_", " ")
            keys = {"partition": partition, "value": value}
            yield Cut("sonics", f"SONICS {words}: {value}", keys, rows, headline)


def _makers(items: pl.DataFrame) -> list[tuple[str, dict[str, str], pl.DataFrame]]:
    """Return name, keys and fakes of each generator; the name tells a corpus where it must."""
    fakes = items.filter(pl.col("target") == 1)
    makers = [
        (generator, corpus, rows)
        for generator, of_generator in _values(fakes, "generator")
        for corpus, rows in _values(of_generator, "corpus")
    ]
    names = [generator for generator, _, _ in makers]
    return [
        (
            generator if names.count(generator) == 1 else f"{generator} ({corpus})",
            {"generator": generator, "fake_corpus": corpus},
            rows,
        )
        for generator, corpus, rows in makers
    ]


def _values(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    parts = frame.partition_by(column, maintain_order=True)
    return sorted(((str(part[column][0]), part) for part in parts), key=lambda pair: pair[0])
