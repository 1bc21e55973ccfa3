"""Findings and links from pairs of similar recordings, and the recall on known reconstructions.

Rows of one recording that agree in set, label, generator and group form a cluster. Clusters are
compared, not rows, so that time grows with the number of rows, not of their pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import JsonValue

from earwitness.audit.checks import (
    CLASSES,
    AuditContext,
    CheckSpec,
    Outcome,
    Row,
    make_result,
    not_checked,
)
from earwitness.audit.features import FileFeatures
from earwitness.audit.near_duplicates.copies import Matches
from earwitness.audit.near_duplicates.index import InvertedIndex, stack
from earwitness.audit.schema import Finding, Link, Relation
from earwitness.splits.grouping import UNKNOWN, track_keys

Cluster = list[Row]
Place = tuple[int, int]
"""Set and row."""

Tier = Literal["copy", "version"]


class Recordings(NamedTuple):
    """Distinct recordings of some rows.

    Attributes:
        sha256: Hash of the bytes of each.
        clusters: Rows of each, by what relations depend on.
        groups: Groups of the rows of each.
        words: Fingerprints.
        chroma: Time–chroma.
    """

    sha256: list[str]
    clusters: list[list[Cluster]]
    groups: list[frozenset[str]]
    words: InvertedIndex
    chroma: InvertedIndex

    def __len__(self) -> int:
        return len(self.sha256)


class PairKind(NamedTuple):
    """How certain and how complete a match is.

    Attributes:
        is_clear: Whether it is neither chance nor a shared chord progression.
        is_partial: Whether only a part or a backing is shared.
        change: Change of pitch and speed as text; empty for none.
    """

    is_clear: bool = True
    is_partial: bool = False
    change: str = ""


class Pair(NamedTuple):
    """Two clusters of similar recordings; ``offset_s`` is the start of the other in the first."""

    one: Cluster
    other: Cluster
    offset_s: float
    similarity: float
    kind: PairKind = PairKind()


def distinct_recordings(context: AuditContext, rows: pl.DataFrame) -> Recordings:
    """Return the distinct recordings of the readable rows; their group is an id or the track."""
    grouped = rows.with_columns(pl.Series("track", track_keys(rows), dtype=pl.String))
    by_sha256: dict[str, dict[tuple[Any, ...], Cluster]] = {}
    for row in grouped.with_columns(pl.coalesce("group_id", "track").alias("group")).to_dicts():
        features = context.features[row["file"]]
        if features.error is None and features.sha256 is not None:
            key = tuple(row[name] for name in ("set", "target", "generator", "group"))
            by_sha256.setdefault(features.sha256, {}).setdefault(key, []).append(row)
    clusters = [list(by_key.values()) for by_key in by_sha256.values()]
    features_of = [context.features[first[0]["file"]] for first, *_ in clusters]
    groups = [frozenset(c[0]["group"] for c in own if c[0]["group"]) for own in clusters]
    nothing = FileFeatures()
    return Recordings(
        list(by_sha256),
        clusters,
        groups,
        *(
            stack([getattr(own, name) for own in features_of], empty=empty, scratch=context.scratch)
            for name, empty in (("words", nothing.words), ("chroma", nothing.chroma))
        ),
    )


def pair_clusters(
    one: Recordings, other: Recordings, matches: Matches, kinds: Sequence[PairKind]
) -> Iterator[Pair]:
    """Yield the pairs of clusters of matching recordings, except those with the same bytes.

    Where both are the audited recordings, clusters of different sets are no pair.
    """
    for first, second, offset_s, similarity, _, kind in zip(*matches, kinds, strict=True):
        if one.sha256[first] == other.sha256[second]:
            continue
        for cluster in one.clusters[first]:
            for partner in other.clusters[second]:
                if one is not other or cluster[0]["set"] == partner[0]["set"]:
                    yield Pair(cluster, partner, float(offset_s), float(similarity), kind)


def flag_rows(
    context: AuditContext, check: str, tier: Tier, pairs: Iterable[Pair]
) -> tuple[list[Finding], list[Link]]:
    """Return one finding a row, and the links of each pair."""
    links: list[Link] = []
    flagged: dict[Place, list[tuple[Relation, Pair]]] = {}
    for pair in pairs:
        relation = _relation(context, tier, pair)
        links += _links(context, tier, pair, relation)
        if relation == "by_design":
            continue
        swapped = pair._replace(one=pair.other, other=pair.one, offset_s=-pair.offset_s)
        for seen in (pair, swapped):
            if seen.one[0]["set"] < context.n_audited:
                for row in seen.one:
                    own = seen._replace(one=[row])
                    flagged.setdefault(_place(row), []).append((relation, own))
    kept = _choose_kept(flagged)
    findings = [
        _make_finding(context, check, tier, flagged[place], is_kept=place in kept)
        for place in sorted(flagged)
    ]
    return findings, links


def _place(row: Row) -> Place:
    return row["set"], row["row"]


def _relation(context: AuditContext, tier: Tier, pair: Pair) -> Relation | Literal["by_design"]:
    one, other = pair.one[0], pair.other[0]
    inside = other["set"] < context.n_audited
    together = inside and one["group"] is not None and one["group"] == other["group"]
    makers = {(row["target"], row["generator"]) for row in (one, other)}
    if together and (tier == "version" or len(makers) > 1):
        return "by_design"
    if not pair.kind.is_clear:
        return "undecided"
    if pair.kind.is_partial:
        return "partial"
    if not inside:
        return "leak"
    return "conflict" if one["target"] != other["target"] else "duplicate"


def _links(
    context: AuditContext, tier: Tier, pair: Pair, relation: Relation | Literal["by_design"]
) -> Iterator[Link]:
    """Yield the first row of each cluster with every row of the other."""
    rows = [(pair.one[0], other) for other in pair.other]
    rows += [(one, pair.other[0]) for one in pair.one[1:]]
    for one, other in rows:
        yield Link(
            tier=tier,
            manifest=context.name_of(one),
            row=one["row"],
            filepath=one["filepath"],
            other_manifest=context.name_of(other),
            other_row=other["row"],
            other_filepath=other["filepath"],
            similarity=round(pair.similarity, 4),
            offset_s=_rounded(pair.offset_s),
            relation=relation,
        )


def _rounded(offset_s: float) -> float:
    """Round to milliseconds, without a negative zero."""
    return round(offset_s, 3) + 0.0


def _choose_kept(flagged: dict[Place, list[tuple[Relation, Pair]]]) -> set[Place]:
    """Return the first row of each connected component of duplicates."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places = sorted(flagged)
    number = {place: n for n, place in enumerate(places)}
    edges = [
        (number[place], number[_place(pair.other[0])])
        for place, relations in flagged.items()
        for relation, pair in relations
        if relation == "duplicate"
    ]
    if not edges:
        return set()
    one, other = np.array(edges).T
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(places), len(places)))
    labels = connected_components(graph, directed=False)[1]
    return {places[first] for first in np.unique(labels, return_index=True)[1]}


def _make_finding(
    context: AuditContext,
    check: str,
    tier: Tier,
    flagged: Sequence[tuple[Relation, Pair]],
    *,
    is_kept: bool,
) -> Finding:
    """Return the finding of a row: its worst relation, and the nearest row of that.

    The nearest is one with the other label if there is one, else the most similar.
    """
    relations = {relation for relation, _ in flagged}
    order: list[Relation] = ["leak", "conflict", "duplicate", "partial", "undecided"]
    worst = min(relations, key=order.index)
    pairs = [pair for relation, pair in flagged if relation == worst]
    nearest = max(pairs, key=lambda p: (p.one[0]["target"] != p.other[0]["target"], p.similarity))
    other = nearest.other[0]
    return context.make_finding(
        check,
        nearest.one[0],
        worst,
        _describe(tier, nearest, CLASSES[other["target"]]),
        other=other,
        n_others=sum(len(pair.other) for _, pair in flagged),
        similarity=round(nearest.similarity, 4),
        offset_s=_rounded(nearest.offset_s),
        drop="leak" in relations or ("duplicate" in relations and not is_kept),
    )


def _describe(tier: Tier, pair: Pair, label: str) -> str:
    if pair.kind.is_partial:
        return f"shares a part or its backing with a {label} row"
    changed = f" ({pair.kind.change})" if pair.kind.change else ""
    if not pair.kind.is_clear:
        return f"is a {tier} of a {label} row or shares its harmony{changed}"
    return f"sounds like a {tier} of a {label} row{changed}"


def compare_reconstructions(
    context: AuditContext, recordings: Recordings, pairs: Iterable[Pair]
) -> Outcome:
    """Compare clear pairs of one set with ``group_id``, generator by generator."""
    title = "reconstructions recognised as their own track"
    spec = CheckSpec("reconstructions", title, "inside", "")
    counts = _count_recognised(recordings, pairs)
    values: dict[str, JsonValue] = {name: dict(one) for name, one in counts.items()}
    n, n_linked = (sum(one[key] for one in counts.values()) for key in ("n", "n_linked"))
    if not n_linked:
        why = "none is recognised as its track" if n else "no fake has the group_id of a real"
        n_rows = context.audited_rows.height
        return not_checked(spec, why, n_unchecked=n_rows, figures=values)
    by_text: dict[str, list[str]] = {}
    for generator, one in counts.items():
        text, n_pairs = f"recall {one['n_linked']} of {one['n']}", one["n_own"] + one["n_strange"]
        text += f", precision {one['n_own']} of {n_pairs}" if n_pairs else ""
        by_text.setdefault(text, []).append(generator)
    return make_result(
        spec,
        verdict="pass",
        detail="; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items()),
        n_checked=n_linked,
        n_unchecked=n - n_linked,
        figures=values,
    )


def _count_recognised(recordings: Recordings, pairs: Iterable[Pair]) -> dict[str, dict[str, int]]:
    """Return counts for each generator, in alphabetical order.

    ``n`` reconstructions, ``n_linked`` to their track, and the similar pairs ``n_own`` with their
    track and ``n_strange`` with another real.
    """
    clusters = [cluster for own in recordings.clusters for cluster in own]
    tracks = {_track(one) for one in clusters if not one[0]["target"]} - {None}
    n: Counter[str] = Counter()
    for cluster in clusters:
        if cluster[0]["target"] and _track(cluster) in tracks:
            n[_generator(cluster)] += len(cluster)
    linked: dict[str, set[Place]] = {name: set() for name in sorted(n)}
    own, strange = Counter[str](), Counter[str]()
    for pair in pairs:
        real, fake = sorted((pair.one, pair.other), key=lambda one: bool(one[0]["target"]))
        if real[0]["target"] == fake[0]["target"]:
            continue
        name = _generator(fake)
        if name in n and _track(fake) == _track(real) is not None:
            own[name] += len(fake) * len(real)
            linked[name] |= {_place(row) for row in fake}
        else:
            strange[name] += len(fake) * len(real)
    return {
        name: {
            "n": n[name],
            "n_linked": len(rows),
            "n_own": own[name],
            "n_strange": strange[name],
        }
        for name, rows in linked.items()
    }


def _track(cluster: Cluster) -> tuple[int, str] | None:
    first = cluster[0]
    return (first["set"], first["group"]) if first["group"] else None


def _generator(cluster: Cluster) -> str:
    return cluster[0]["generator"] or UNKNOWN
