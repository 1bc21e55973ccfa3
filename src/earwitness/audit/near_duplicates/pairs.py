"""Build findings and links from pairs of similar sounds.

Conventions: a pair of sounds represents all pairs of their rows. Rows of one sound that agree in
all that a relation depends on are a family, which is compared once, so that time grows with the
number of rows, not of pairs; a link names the first of each family with every row of the
other. Of several rows that a row offends with, the nearest is one with the other label where there
is one, else the most alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from earwitness.audit.checks import AuditContext
from earwitness.audit.features import FileFeatures
from earwitness.audit.near_duplicates.copies import Matches
from earwitness.audit.near_duplicates.index import InvertedIndex, stack
from earwitness.audit.schema import Finding, Link, Relation
from earwitness.splits.grouping import track_keys

Row = dict[str, Any]
Family = list[Row]
Place = tuple[int, int]
"""Set and row."""

Tier = Literal["copy", "version"]
_CLASSES = ("real", "fake")
_KINSHIP = ("set", "target", "generator", "group")
_SEVEREST: tuple[Relation, ...] = ("leak", "conflict", "duplicate", "partial", "undecided")


class Sounds(NamedTuple):
    """Distinct sounds of some rows.

    Attributes:
        sha256: Of the bytes of each.
        families: Rows that have it, each with its ``group``.
        groups: What its rows belong to.
        words: Their sub-fingerprints.
        chroma: Their time–chroma.
    """

    sha256: list[str]
    families: list[list[Family]]
    groups: list[frozenset[str]]
    words: InvertedIndex
    chroma: InvertedIndex

    def __len__(self) -> int:
        return len(self.sha256)


class PairKind(NamedTuple):
    """What is known of a pair.

    Attributes:
        is_clear: Whether it is neither chance nor a shared chord progression.
        is_partial: Whether the two share a part or a backing and not everything.
        change: What was done to pitch and speed, in words; empty for nothing.
    """

    is_clear: bool = True
    is_partial: bool = False
    change: str = ""


class Pair(NamedTuple):
    """Two families that sound alike.

    Attributes:
        one: Audited rows.
        other: Rows of another set, or of their own.
        offset_s: Where the other begins in the first.
        similarity: How alike they are, 1 at most.
        kind: What is known of the pair.
    """

    one: Family
    other: Family
    offset_s: float
    similarity: float
    kind: PairKind = PairKind()


class Offender(NamedTuple):
    """An audited row, and its pairs: it is in the first family of each."""

    row: Row
    relations: list[tuple[Relation, Pair]]


def distinct_sounds(scene: AuditContext, rows: pl.DataFrame) -> Sounds:
    """Return the distinct sounds of the readable rows."""
    grouped = rows.with_columns(pl.Series("track", track_keys(rows), dtype=pl.String))
    by_sound: dict[str, dict[tuple[Any, ...], Family]] = {}
    for row in grouped.with_columns(pl.coalesce("group_id", "track").alias("group")).to_dicts():
        sound = scene.features[row["file"]]
        if sound.error is None and sound.sha256 is not None:
            kin = tuple(row[name] for name in _KINSHIP)
            by_sound.setdefault(sound.sha256, {}).setdefault(kin, []).append(row)
    families = [list(kin.values()) for kin in by_sound.values()]
    sounds = [scene.features[first[0]["file"]] for first, *_ in families]
    groups = [frozenset(f[0]["group"] for f in kin if f[0]["group"]) for kin in families]
    nothing = FileFeatures()
    return Sounds(
        list(by_sound),
        families,
        groups,
        stack([sound.words for sound in sounds], empty=nothing.words),
        stack([sound.chroma for sound in sounds], empty=nothing.chroma),
    )


def pair_rows(
    one: Sounds,
    other: Sounds,
    matches: Matches,
    same: bool,
    kinds: Sequence[PairKind],
) -> Iterator[Pair]:
    """Yield the pairs of families of matching sounds, those with the same bytes left out.

    Args:
        one: Sounds of audited rows.
        other: Sounds of other rows.
        matches: Pairs of sounds.
        same: Both are audited: families of different sets are no pair.
        kinds: What is known of each match.
    """
    for first, second, offset_s, similarity, _, kind in zip(*matches, kinds, strict=True):
        if one.sha256[first] == other.sha256[second]:
            continue
        for family in one.families[first]:
            for kin in other.families[second]:
                if not same or family[0]["set"] == kin[0]["set"]:
                    yield Pair(family, kin, float(offset_s), float(similarity), kind)


def flag_rows(
    scene: AuditContext, check: str, tier: Tier, pairs: Iterable[Pair]
) -> tuple[list[Finding], list[Link]]:
    """Return findings, one a row, and a link for each pair."""
    links: list[Link] = []
    met: dict[Place, Offender] = {}
    for pair in pairs:
        relation = _relation(scene, tier, pair)
        links += _links(scene, tier, pair, relation)
        if relation == "by_design":
            continue
        for seen in (pair, _swap(pair)):
            if seen.one[0]["set"] < scene.n_audited:
                for row in seen.one:
                    offender = met.setdefault((row["set"], row["row"]), Offender(row, []))
                    offender.relations.append((relation, seen))
    kept = _choose_kept(met)
    findings = [
        _finding(scene, check, tier, met[place], is_first=place in kept) for place in sorted(met)
    ]
    return findings, links


def _swap(pair: Pair) -> Pair:
    return pair._replace(one=pair.other, other=pair.one, offset_s=-pair.offset_s)


def _relation(scene: AuditContext, tier: Tier, pair: Pair) -> Relation | Literal["by_design"]:
    one, other = pair.one[0], pair.other[0]
    inside = other["set"] < scene.n_audited
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
    scene: AuditContext, tier: Tier, pair: Pair, relation: Relation | Literal["by_design"]
) -> Iterator[Link]:
    """Yield the first of one family with every row of the other, and the other way round."""
    rows = [(pair.one[0], other) for other in pair.other]
    rows += [(one, pair.other[0]) for one in pair.one[1:]]
    for one, other in rows:
        yield Link(
            tier=tier,
            manifest=scene.manifests[one["set"]].name,
            row=one["row"],
            filepath=one["filepath"],
            other_manifest=scene.manifests[other["set"]].name,
            other_row=other["row"],
            other_filepath=other["filepath"],
            similarity=round(pair.similarity, 4),
            offset_s=_rounded(pair.offset_s),
            relation=relation,
        )


def _rounded(offset_s: float) -> float:
    """Return milliseconds, and no negative zero."""
    return round(offset_s, 3) + 0.0


def _choose_kept(
    met: dict[Place, Offender],
) -> set[Place]:
    """Return the first of rows that are duplicates of each other: the one to keep."""
    elder: dict[Place, Place] = {}

    def eldest(place: Place) -> Place:
        while elder.setdefault(place, place) != place:
            elder[place] = elder[elder[place]]
            place = elder[place]
        return place

    for place, offender in met.items():
        for relation, pair in offender.relations:
            if relation == "duplicate":
                ends = eldest(place), eldest((pair.other[0]["set"], pair.other[0]["row"]))
                elder[max(ends)] = min(ends)
    return {place for place in elder if eldest(place) == place}


def _finding(
    scene: AuditContext, check: str, tier: Tier, met: Offender, *, is_first: bool
) -> Finding:
    relations = {relation for relation, _ in met.relations}
    worst = min(relations, key=_SEVEREST.index)
    pairs = [pair for relation, pair in met.relations if relation == worst]
    nearest = max(pairs, key=lambda p: (p.one[0]["target"] != p.other[0]["target"], p.similarity))
    row, other = met.row, nearest.other[0]
    return Finding(
        check=check,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation=worst,
        detail=_describe(tier, nearest, _CLASSES[other["target"]]),
        other_manifest=scene.manifests[other["set"]].name,
        other_filepath=other["filepath"],
        other_target=other["target"],
        n_others=sum(len(pair.other) for _, pair in met.relations),
        similarity=round(nearest.similarity, 4),
        offset_s=_rounded(nearest.offset_s),
        drop="leak" in relations or ("duplicate" in relations and not is_first),
    )


def _describe(tier: Tier, pair: Pair, label: str) -> str:
    if pair.kind.is_partial:
        return f"shares a part or its backing with a {label} row"
    changed = f" ({pair.kind.change})" if pair.kind.change else ""
    if not pair.kind.is_clear:
        return f"is a {tier} of a {label} row or shares its harmony{changed}"
    return f"sounds like a {tier} of a {label} row{changed}"
