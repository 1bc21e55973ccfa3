"""Groups: which rows are not independent of each other.

Conventions: rows that share any key are of one group, directly or through others. The track, song
or caption follows from the file name in corpora whose layout is registered and says so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

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
