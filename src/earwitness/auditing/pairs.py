"""From pairs of sounds to rows that offend.

Conventions: a pair of sounds stands for all pairs of their rows. Of several rows that a row offends
with, the nearest is one with the other label where there is one, else the most alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from earwitness.auditing.copymatch import Matches
from earwitness.auditing.lookup import Library, stack
from earwitness.auditing.same_origin import track_keys
from earwitness.auditing.scene import Scene
from earwitness.auditing.sounds import Sound
from earwitness.core.audits import Finding, Link, Relation

Row = dict[str, Any]
Tier = Literal["copy", "version"]
_CLASSES = ("real", "fake")
_SEVEREST: tuple[Relation, ...] = ("leak", "conflict", "duplicate", "undecided")


class Sounds(NamedTuple):
    """Distinct sounds of some rows.

    Attributes:
        sha256: Of the bytes of each.
        rows: Those that have it, each with its ``group``.
        groups: What its rows belong to.
        words: Their sub-fingerprints.
        chroma: Their time–chroma.
    """

    sha256: list[str]
    rows: list[list[Row]]
    groups: list[frozenset[str]]
    words: Library
    chroma: Library

    def __len__(self) -> int:
        return len(self.sha256)


class Pair(NamedTuple):
    """Two rows that sound alike.

    Attributes:
        one: An audited row.
        other: A row of another set, or of its own.
        offset_s: Where the other begins in the first.
        similarity: How alike they are, 1 at most.
        is_clear: Whether chance can be left out.
    """

    one: Row
    other: Row
    offset_s: float
    similarity: float
    is_clear: bool = True


def distinct_sounds(scene: Scene, rows: pl.DataFrame) -> Sounds:
    """Return the sounds of the rows that could be heard."""
    grouped = rows.with_columns(pl.Series("track", track_keys(rows), dtype=pl.String))
    by_sound: dict[str, list[Row]] = {}
    for row in grouped.with_columns(pl.coalesce("group_id", "track").alias("group")).to_dicts():
        sound = scene.sounds[row["file"]]
        if sound.error is None and sound.sha256 is not None:
            by_sound.setdefault(sound.sha256, []).append(row)
    heard = [scene.sounds[same[0]["file"]] for same in by_sound.values()]
    groups = [frozenset(r["group"] for r in same if r["group"]) for same in by_sound.values()]
    nothing = Sound()
    return Sounds(
        list(by_sound),
        list(by_sound.values()),
        groups,
        stack([sound.words for sound in heard], empty=nothing.words),
        stack([sound.chroma for sound in heard], empty=nothing.chroma),
    )


def pair_rows(
    one: Sounds,
    other: Sounds,
    matches: Matches,
    same: bool,
    clear: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
) -> Iterator[Pair]:
    """Yield the pairs of rows that pairs of sounds stand for, those with the same bytes left out.

    Args:
        one: Sounds of audited rows.
        other: Sounds of other rows.
        matches: Pairs of sounds.
        same: Both are audited: rows of different sets are no pair.
        clear: Which matches chance can be left out of; ``None`` for all.
    """
    for number, (first, second, offset_s, similarity) in enumerate(zip(*matches, strict=True)):
        if one.sha256[first] == other.sha256[second]:
            continue
        is_clear = True if clear is None else bool(clear[number])
        for row in one.rows[first]:
            for partner in other.rows[second]:
                if not same or row["set"] == partner["set"]:
                    yield Pair(row, partner, float(offset_s), float(similarity), is_clear)


def judge_pairs(
    scene: Scene, check: str, tier: Tier, pairs: Iterable[Pair]
) -> tuple[list[Finding], list[Link]]:
    """Return the rows that offend, and all pairs with how they do."""
    links: list[Link] = []
    met: dict[tuple[int, int], list[tuple[Relation, Pair]]] = {}
    for pair in pairs:
        relation = _relation(scene, tier, pair)
        links.append(_link(scene, tier, pair, relation))
        if relation == "by_design":
            continue
        for seen in (pair, _turned(pair)):
            if seen.one["set"] < scene.n_audited:
                met.setdefault((seen.one["set"], seen.one["row"]), []).append((relation, seen))
    kept = _first_of_each(met)
    findings = [
        _finding(scene, check, tier, told, is_first=place in kept)
        for place, told in sorted(met.items())
    ]
    return findings, links


def _turned(pair: Pair) -> Pair:
    return pair._replace(one=pair.other, other=pair.one, offset_s=-pair.offset_s)


def _relation(scene: Scene, tier: Tier, pair: Pair) -> Relation | Literal["by_design"]:
    one, other = pair.one, pair.other
    inside = other["set"] < scene.n_audited
    together = inside and one["group"] is not None and one["group"] == other["group"]
    makers = {(row["target"], row["generator"]) for row in (one, other)}
    if together and (tier == "version" or len(makers) > 1):
        return "by_design"
    if not pair.is_clear:
        return "undecided"
    if not inside:
        return "leak"
    return "conflict" if one["target"] != other["target"] else "duplicate"


def _link(scene: Scene, tier: Tier, pair: Pair, relation: Relation | Literal["by_design"]) -> Link:
    one, other = pair.one, pair.other
    return Link(
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


def _first_of_each(
    met: dict[tuple[int, int], list[tuple[Relation, Pair]]],
) -> set[tuple[int, int]]:
    """Return the first row of each family of duplicates: the one to keep."""
    family: dict[tuple[int, int], tuple[int, int]] = {}

    def eldest(place: tuple[int, int]) -> tuple[int, int]:
        while family.setdefault(place, place) != place:
            place = family[place]
        return place

    for place, told in met.items():
        for relation, pair in told:
            if relation == "duplicate":
                ends = eldest(place), eldest((pair.other["set"], pair.other["row"]))
                family[max(ends)] = min(ends)
    return {place for place in family if eldest(place) == place}


def _finding(
    scene: Scene,
    check: str,
    tier: Tier,
    told: Sequence[tuple[Relation, Pair]],
    *,
    is_first: bool,
) -> Finding:
    relations = {relation for relation, _ in told}
    worst = min(relations, key=_SEVEREST.index)
    pairs = [pair for relation, pair in told if relation == worst]
    nearest = max(pairs, key=lambda p: (p.one["target"] != p.other["target"], p.similarity))
    row, other = nearest.one, nearest.other
    words = "a copy" if tier == "copy" else "a version"
    return Finding(
        check=check,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation=worst,
        detail=f"sounds like {words} of a {_CLASSES[other['target']]} row",
        other_manifest=scene.manifests[other["set"]].name,
        other_filepath=other["filepath"],
        other_target=other["target"],
        n_others=len(told),
        similarity=round(nearest.similarity, 4),
        offset_s=_rounded(nearest.offset_s),
        drop="leak" in relations or ("duplicate" in relations and not is_first),
    )
