"""Sets with equal classes, drawn from what each source gave.

Conventions: every function takes ranked rows of several sources and returns rows of them, as
many real as fake.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from earwitness.manifests.sampling import proportional, share_out, stratum_counts, take, with_rank

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
    sizes = _sizes(ranked)
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


def _sizes(frame: pl.DataFrame) -> dict[str, Share]:
    counts = frame.group_by("source_dataset").agg(
        (pl.col("target") == 0).sum().alias("real"), (pl.col("target") == 1).sum().alias("fake")
    )
    return {source: Share(r, f) for source, r, f in counts.sort("source_dataset").iter_rows()}
