"""Drawing items from catalogs.

Conventions: every draw is by rank. An item's rank is a hash of the seed, the purpose of the
draw and the item's key, so a draw depends neither on the order of the file system nor on what
other sources hold, and adding files changes only what they displace.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

STRATUM = "generator"
"""Draws of fakes are spread over this column."""


def with_rank(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Return ``frame`` in random order: sorted by the rank of its ``key`` for this purpose."""
    prefix = f"{seed}\0{purpose}\0".encode()
    ranks = [
        hashlib.blake2b(prefix + key.encode(), digest_size=8).digest()
        for key in frame["key"].to_list()
    ]
    order = pl.Series("_rank", ranks, dtype=pl.Binary)
    return frame.with_columns(order).sort("_rank", "key").drop("_rank")


def share_out(n: int, available: Mapping[str, int]) -> dict[str, int]:
    """Share ``n`` equally over strata; what one lacks the others give, in turn.

    Args:
        n: Items wanted.
        available: Items of each stratum; the order decides who gives the odd ones.

    Returns:
        Items to take of each stratum: as equal as their sizes allow, ``n`` in all, or
        everything where there is less.
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
    """Divide ``n`` over strata in proportion to their sizes, by largest remainder."""
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
    """Return rows per value of ``by``, in the order of the names; empty is ``""``."""
    counts = frame.group_by(pl.col(by).fill_null("").alias(by)).len().sort(by)
    return dict(counts.iter_rows())


def take(frame: pl.DataFrame, shares: Mapping[str, int], by: str = STRATUM) -> pl.DataFrame:
    """Return the first ``shares[s]`` rows of every stratum ``s``, in ``frame``'s order."""
    position = pl.int_range(pl.len()).over(pl.col(by).fill_null(""))
    quota = pl.col(by).fill_null("").replace_strict(dict(shares), default=0, return_dtype=pl.Int64)
    return frame.filter(position < quota)


def one_per_group(frame: pl.DataFrame, n_wanted: Mapping[int, int]) -> pl.DataFrame:
    """Keep one item of each group, on the real or on the fake side.

    Groups with items on both sides go to the side that still lacks the larger share of what is
    wanted of it, and there to the stratum that has the fewest, so that both sides and all
    strata fill evenly.

    Args:
        frame: Ranked rows of one source with ``target``, ``group_id`` and ``generator``.
        n_wanted: Items wanted of target 0 and of target 1.

    Returns:
        One row a group, in the order of ``frame``.
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


_STRATUM = "_stratum"


class Share(NamedTuple):
    """Rows of one source: real and fake."""

    n_real: int
    n_fake: int


def balance_classes(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Keep the smaller class whole; draw the larger in proportion over source and generator."""
    ranked = with_rank(frame, seed=seed, purpose=purpose).with_columns(
        pl.concat_str("source_dataset", pl.col("generator").fill_null(""), separator="\0").alias(
            _STRATUM
        )
    )
    sides = [ranked.filter(pl.col("target") == target) for target in (0, 1)]
    n = min(side.height for side in sides)
    drawn = [
        take(side, proportional(n, stratum_counts(side, _STRATUM)), _STRATUM) for side in sides
    ]
    return with_rank(pl.concat(drawn), seed=seed, purpose=purpose).drop(_STRATUM)


def balance_sources(frame: pl.DataFrame, *, seed: int, purpose: str) -> pl.DataFrame:
    """Take as equal a share of each source as its classes allow, as many real as fake."""
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
    """Decide how many real and fake rows of each source make a balanced set.

    With equal classes and equally many rows of every source the set is the largest such one;
    reals are spread over the sources as equally as their fakes allow. Where no such set exists
    (reals in one source only, say) the classes are equal, and each class is shared out over
    its sources as equally as their sizes allow.

    Args:
        sizes: Rows that each source has.
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
    """Shares with ``each`` rows a source and equal classes, or ``None`` where that cannot be."""
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
    """Return the real and fake rows of each ``source_dataset``, sorted by name."""
    counts = frame.group_by("source_dataset").agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    return {source: Share(r, f) for source, r, f in counts.sort("source_dataset").iter_rows()}
