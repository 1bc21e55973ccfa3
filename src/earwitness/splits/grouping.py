"""Groups of rows that are not independent, and cells: reals of a corpus, fakes of a generator.

Conventions: rows that share any key are of one group, directly or through others. The track, song
or caption follows from the file name in corpora whose layout is registered and says so. Cells need
``target``, ``corpus`` and ``generator``; what is unknown is ``UNKNOWN``. With several
real corpora, the reals of all are crossed with every generator as well. Fakes of one generator in
two corpora are kept apart.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.io import compose
from earwitness.datasets.catalog import layouts_by_source


def corpus_of(source_dataset: str | None) -> str:
    """Return the known corpus that ``source_dataset`` names, else its own lower-case name."""
    said = (source_dataset or "").casefold()
    return next((name for name in layouts_by_source() if said.startswith(name.casefold())), said)


def track_keys(rows: pl.DataFrame) -> list[str | None]:
    """Return the track, song or caption that each row's file name gives in a known corpus.

    Args:
        rows: ``filepath, source_dataset, target``.
    """
    return [track_of(*named) for named in named_files(rows)]


def named_files(rows: pl.DataFrame) -> Iterable[tuple[str, str, int]]:
    """Yield corpus, stem and target of every row."""
    for path, source, target in rows.select("filepath", "source_dataset", "target").iter_rows():
        name = compose(posixpath.basename((path or "").replace("\\", "/")))
        yield corpus_of(source), posixpath.splitext(name)[0], target


def track_of(corpus: str, stem: str, target: int) -> str | None:
    """Return the track, song or caption of a file; ``None`` where its name does not say."""
    layout = layouts_by_source().get(corpus)
    return layout.track_of(stem, target) if stem and layout and layout.track_of else None


def link_rows(keys: Mapping[str, pl.Series]) -> NDArray[np.int64]:
    """Return the group of each row: connected components of rows that share a key.

    Args:
        keys: Kind of key → ``(n_rows,)`` keys; null is not known and joins nothing.

    Returns:
        ``(n_rows,)`` numbers from 0 without gaps.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_rows = len(next(iter(keys.values())))
    n_nodes, edges = n_rows, []
    for values in keys.values():
        known = np.flatnonzero(values.is_not_null().to_numpy())
        codes = values.drop_nulls().rank("dense").to_numpy().astype(np.int64)
        edges.append(np.stack([known, n_nodes + codes - 1]))
        n_nodes += int(codes.max(initial=0))
    one, other = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(n_nodes, n_nodes))
    components = connected_components(graph, directed=False)[1][:n_rows]
    return np.unique(components, return_inverse=True)[1].reshape(-1).astype(np.int64)


ALL = "all"
"""The real corpus of a cell that takes the reals of every corpus."""

UNKNOWN = "unknown"
"""Corpus or generator of an item that does not tell."""


@dataclass(frozen=True)
class Maker:
    """The fakes of one generator in one corpus.

    Attributes:
        name: What people read; it tells the corpus where it must.
        generator: Their generator.
        fake_corpus: Their corpus.
        rows: The fakes.
    """

    name: str
    generator: str
    fake_corpus: str
    rows: pl.DataFrame

    @property
    def keys(self) -> dict[str, str]:
        """What the fakes were cut by."""
        return {"generator": self.generator, "fake_corpus": self.fake_corpus}


@dataclass(frozen=True)
class Cell:
    """Reals of one corpus, or of all, and the fakes of one maker.

    Attributes:
        name: What people read ("FMA × encodec24").
        keys: ``real_corpus, generator, fake_corpus``.
        rows: Reals, then fakes.
    """

    name: str
    keys: dict[str, str]
    rows: pl.DataFrame


def list_cells(frame: pl.DataFrame) -> list[Cell]:
    """Cross the reals of each corpus, and those of all, with the fakes of each maker."""
    real = frame.filter(pl.col("target") == 0)
    corpora = split_by(real, "corpus")
    if len(corpora) > 1:
        corpora.append((ALL, real))
    makers = list_makers(frame)
    return [
        Cell(
            f"{'all reals' if corpus == ALL else corpus} × {maker.name}",
            {"real_corpus": corpus} | maker.keys,
            pl.concat([reals, maker.rows]),
        )
        for corpus, reals in corpora
        for maker in makers
    ]


def list_makers(frame: pl.DataFrame) -> list[Maker]:
    """Return the fakes of each generator and corpus, by name of the generator, then corpus."""
    fakes = frame.filter(pl.col("target") == 1)
    found = [
        (generator, corpus, rows)
        for generator, of_generator in split_by(fakes, "generator")
        for corpus, rows in split_by(of_generator, "corpus")
    ]
    names = [generator for generator, _, _ in found]
    return [
        Maker(
            generator if names.count(generator) == 1 else f"{generator} ({corpus})",
            generator,
            corpus,
            rows,
        )
        for generator, corpus, rows in found
    ]


def split_by(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """Return each value of a column with its rows, in the order of the values."""
    parts = frame.partition_by(column, maintain_order=True)
    return sorted(((str(part[column][0]), part) for part in parts), key=lambda pair: pair[0])
