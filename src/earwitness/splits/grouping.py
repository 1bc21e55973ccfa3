"""Groups of dependent rows, cells of corpus and generator, and stratified samples.

Conventions: rows that share a key, directly or through other rows, are one group. Fakes of one
generator in two corpora are separate cells. An item's rank is a hash of the seed, the purpose of
the sample and the item's key, so a sample depends neither on the order of files nor on other
sources.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.io import compose
from earwitness.datasets.catalog import layouts_by_source


def corpus_of(source_dataset: str | None) -> str:
    """Return the known corpus whose name ``source_dataset`` begins with, else it in lower case."""
    said = (source_dataset or "").casefold()
    return next((name for name in layouts_by_source() if said.startswith(name.casefold())), said)


def track_keys(rows: pl.DataFrame) -> list[str | None]:
    """Return the track, song or caption of each row, from its file name in a known corpus.

    Args:
        rows: ``filepath, source_dataset, target``.
    """
    return [track_of(*named) for named in named_files(rows)]


def named_files(rows: pl.DataFrame) -> Iterable[tuple[str, str, int]]:
    """Yield the corpus, file stem and target of every row."""
    for path, source, target in rows.select("filepath", "source_dataset", "target").iter_rows():
        name = compose(posixpath.basename((path or "").replace("\\", "/")))
        yield corpus_of(source), posixpath.splitext(name)[0], target


def track_of(corpus: str, stem: str, target: int) -> str | None:
    """Return the track, song or caption of a file; ``None`` if its name does not contain it."""
    layout = layouts_by_source().get(corpus)
    return layout.track_of(stem, target) if stem and layout and layout.track_of else None


def link_rows(keys: Mapping[str, pl.Series]) -> NDArray[np.int64]:
    """Return the group of each row: connected components of rows that share a key.

    Args:
        keys: ``(n_rows,)`` keys by kind; null is unknown and links nothing.

    Returns:
        ``(n_rows,)`` group numbers from 0, without gaps.
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
"""Real corpus of a cell with the reals of all corpora."""

UNKNOWN = "unknown"
"""Corpus or generator of an item without one."""


@dataclass(frozen=True)
class Cell:
    """Fakes of one generator in one corpus, with or without the reals of one corpus or of all.

    Attributes:
        name: Display name ("FMA × encodec24").
        keys: ``generator, fake_corpus`` and, with reals, ``real_corpus``.
        rows: Reals, then fakes.
    """

    name: str
    keys: dict[str, str]
    rows: pl.DataFrame


def list_cells(frame: pl.DataFrame) -> list[Cell]:
    """Return the reals of each corpus, and of all if several, with the fakes of each generator."""
    real = frame.filter(pl.col("target") == 0)
    corpora = split_by(real, "corpus")
    if len(corpora) > 1:
        corpora.append((ALL, real))
    fakes = list_makers(frame)
    return [
        Cell(
            f"{'all reals' if corpus == ALL else corpus} × {fake.name}",
            {"real_corpus": corpus} | fake.keys,
            pl.concat([reals, fake.rows]),
        )
        for corpus, reals in corpora
        for fake in fakes
    ]


def list_makers(frame: pl.DataFrame) -> list[Cell]:
    """Return the fakes of each generator in each corpus, sorted by generator, then corpus."""
    fakes = frame.filter(pl.col("target") == 1)
    found = [
        (generator, corpus, rows)
        for generator, of_generator in split_by(fakes, "generator")
        for corpus, rows in split_by(of_generator, "corpus")
    ]
    names = [generator for generator, _, _ in found]
    return [
        Cell(
            generator if names.count(generator) == 1 else f"{generator} ({corpus})",
            {"generator": generator, "fake_corpus": corpus},
            rows,
        )
        for generator, corpus, rows in found
    ]


def split_by(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """Return each value of a column with its rows, sorted by value."""
    parts = frame.partition_by(column, maintain_order=True)
    return sorted(((str(part[column][0]), part) for part in parts), key=lambda pair: pair[0])


STRATUM = "generator"
"""Column over which fakes are stratified."""


class Share(NamedTuple):
    """Rows of one source by class."""

    n_real: int
    n_fake: int


def with_rank(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Return ``frame`` in random order: sorted by rank."""
    prefix = f"{seed}\0{purpose}\0".encode()
    ranks = [
        hashlib.blake2b(prefix + key.encode(), digest_size=8).digest()
        for key in frame["key"].to_list()
    ]
    order = pl.Series("_rank", ranks, dtype=pl.Binary)
    return frame.with_columns(order).sort("_rank", "key").drop("_rank")


def share_out(n: int, available: Mapping[str, int]) -> dict[str, int]:
    """Return how many of ``n`` items to take of each stratum, as equal as their sizes allow.

    The first strata give the remainder; if there are fewer than ``n`` items, all are taken.
    """
    shares = dict.fromkeys(available, 0)
    left = min(n, sum(available.values()))
    while left:
        open_strata = [name for name in available if shares[name] < available[name]]
        each = max(left // len(open_strata), 1)
        for name in open_strata[:left]:
            taken = min(each, available[name] - shares[name], left)
            shares[name] += taken
            left -= taken
    return shares


def proportional(n: int, available: Mapping[str, int]) -> dict[str, int]:
    """Return how many of ``n`` items to take of each stratum, in proportion to their sizes.

    Rounded by the largest-remainder method.
    """
    total = sum(available.values())
    if n >= total:
        return dict(available)
    exact = {name: n * size / total for name, size in available.items()}
    shares = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: n - sum(shares.values())]:
        shares[name] += 1
    return shares


def stratum_counts(frame: pl.DataFrame, by: str = STRATUM) -> dict[str, int]:
    """Return the number of rows per value of ``by``, sorted; null is ``""``."""
    counts = frame.group_by(pl.col(by).fill_null("").alias(by)).len().sort(by)
    return dict(counts.iter_rows())


def take(frame: pl.DataFrame, shares: Mapping[str, int], by: str = STRATUM) -> pl.DataFrame:
    """Return the first ``shares[s]`` rows of every stratum ``s``, in order."""
    position = pl.int_range(pl.len()).over(pl.col(by).fill_null(""))
    quota = pl.col(by).fill_null("").replace_strict(dict(shares), default=0, return_dtype=pl.Int64)
    return frame.filter(position < quota)


def one_per_group(frame: pl.DataFrame, n_wanted: Mapping[int, int]) -> pl.DataFrame:
    """Return one row per group, in order, so that classes and strata fill evenly.

    Args:
        frame: Ranked rows of one source with ``target``, ``group_id`` and ``generator``.
        n_wanted: Number of items requested of target 0 and of target 1. Groups with both go to
            the class that lacks the larger fraction, and there to the smallest stratum.
    """
    members: dict[str, list[tuple[int, int, str]]] = {}
    columns = frame.select("group_id", "target", pl.col(STRATUM).fill_null(""))
    for row, (group, target, stratum) in enumerate(columns.iter_rows()):
        members.setdefault(group, []).append((row, target, stratum))
    got_side = {0: 0, 1: 0}
    got_stratum: dict[tuple[int, str], int] = {}
    kept: list[int] = []
    singles_first = sorted(members.values(), key=lambda rows: len({t for _, t, _ in rows}))
    for rows in singles_first:
        sides = sorted({target for _, target, _ in rows})
        side = max(sides, key=lambda t: (n_wanted[t] - got_side[t]) / max(n_wanted[t], 1))
        row, _, stratum = min(
            (r for r in rows if r[1] == side), key=lambda r: (got_stratum.get(r[1:], 0), r[0])
        )
        got_side[side] += 1
        got_stratum[side, stratum] = got_stratum.get((side, stratum), 0) + 1
        kept.append(row)
    return frame[sorted(kept)]


def balance_classes(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Return balanced classes; the larger is sampled in proportion over source and generator."""
    stratum = "_stratum"
    ranked = with_rank(frame, seed=seed, purpose=purpose).with_columns(
        pl.concat_str("source_dataset", pl.col("generator").fill_null(""), separator="\0").alias(
            stratum
        )
    )
    sides = [ranked.filter(pl.col("target") == target) for target in (0, 1)]
    n = min(side.height for side in sides)
    drawn = [take(side, proportional(n, stratum_counts(side, stratum)), stratum) for side in sides]
    return with_rank(pl.concat(drawn), seed=seed, purpose=purpose).drop(stratum)


def balance_sources(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Return balanced classes from sources as equal as possible, see ``share_sources``."""
    ranked = with_rank(frame, seed=seed, purpose=purpose)
    sizes = count_by_source(ranked)
    parts = []
    for source, share in share_sources(sizes).items():
        for target, n in enumerate(share):
            side = ranked.filter(
                (pl.col("source_dataset") == source) & (pl.col("target") == target)
            )
            parts.append(take(side, share_out(n, stratum_counts(side))))
    return with_rank(pl.concat(parts), seed=seed, purpose=purpose)


def share_sources(sizes: dict[str, Share]) -> dict[str, Share]:
    """Return how many rows to take of each source for a balanced set.

    It is the largest set with equal classes and equal sources or, if there is none (with reals in
    one source only, say), with equal classes and sources as equal as their sizes allow.
    """
    for each in range(max((sum(s) for s in sizes.values()), default=0), 0, -1):
        shares = _equal_shares(sizes, each)
        if shares:
            return shares
    n = min(sum(s.n_real for s in sizes.values()), sum(s.n_fake for s in sizes.values()))
    real = share_out(n, {name: s.n_real for name, s in sizes.items()})
    fake = share_out(n, {name: s.n_fake for name, s in sizes.items()})
    return {name: Share(real[name], fake[name]) for name in sizes}


def _equal_shares(sizes: dict[str, Share], each: int) -> dict[str, Share] | None:
    """Return shares of ``each`` rows per source and equal classes; ``None`` if impossible."""
    least = {name: max(0, each - s.n_fake) for name, s in sizes.items()}
    most = {name: min(s.n_real, each) for name, s in sizes.items()}
    n_real, odd = divmod(each * len(sizes), 2)
    if odd or any(least[name] > most[name] for name in sizes):
        return None
    if not sum(least.values()) <= n_real <= sum(most.values()):
        return None
    room = {name: most[name] - least[name] for name in sizes}
    extra = share_out(n_real - sum(least.values()), room)
    return {n: Share(least[n] + extra[n], each - least[n] - extra[n]) for n in sizes}


def count_by_source(frame: pl.DataFrame) -> dict[str, Share]:
    """Return the number of rows of each ``source_dataset``, sorted by name."""
    counts = frame.group_by("source_dataset").agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    return {source: Share(r, f) for source, r, f in counts.sort("source_dataset").iter_rows()}
