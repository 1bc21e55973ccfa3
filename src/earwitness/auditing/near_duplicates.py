"""Rows that sound alike: copies of a recording, and versions of the same music.

Conventions: both are searched among distinct sounds; rows with the same bytes are another check's.
Inside a set, rows of one group by different makers (a track and its reconstructions) are by design,
versions of one group in any case. Where rows have no ``group_id``, what the file names of known
corpora tell stands in for it. Versions that are hardly more alike than chance makes the best of so
many comparisons are not decidable, and never called clean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from earwitness.auditing.alignment import SHORTEST as SHORTEST_VERSION
from earwitness.auditing.alignment import align
from earwitness.auditing.chance import FALSE_LINKS, UNDECIDED_LINKS, Chance, fit_chance
from earwitness.auditing.contacts import NO_OTHERS
from earwitness.auditing.copymatch import SHORTEST as SHORTEST_COPY
from earwitness.auditing.copymatch import find_copies
from earwitness.auditing.outcomes import Subject, conclude, not_checked
from earwitness.auditing.pairs import (
    Pair,
    Sounds,
    Tier,
    distinct_sounds,
    judge_pairs,
    pair_rows,
)
from earwitness.auditing.reconstructions import judge_reconstructions
from earwitness.auditing.scene import Outcome, Scene
from earwitness.auditing.versionmatch import find_versions

N_STRANGERS = 2_000
"""Random pairs that tell how alike strangers are, where there are so many."""

Flags = NDArray[np.bool_]

_SEED = 0
_WORDS = {
    "copies": "the same recording, coded or cut otherwise,",
    "versions": "the same music, made anew,",
}
_ACROSS = "drop these rows, or train without the others"
_INSIDE = (
    "keep one row of each; where one is made of the other, give both one group_id; else find out "
    "which label is right"
)


def check_near_duplicates(scene: Scene) -> list[Outcome]:
    """Search for copies and, apart from these, for versions."""
    audited = distinct_sounds(scene, scene.audited_rows)
    others = distinct_sounds(scene, scene.rows.slice(scene.audited_rows.height))
    chance = fit_chance(_strangers(audited, others))
    inside = _Search(scene, audited, audited)
    searches = [_Search(scene, audited, others), inside] if scene.has_others else [inside]
    copies = [search.find_copies() for search in searches]
    versions = [search.find_versions(chance) for search in searches]
    if not scene.has_others:
        for tier, found in (("copies", copies), ("versions", versions)):
            n = scene.audited_rows.height
            found.insert(0, not_checked(_subject(tier, "across"), NO_OTHERS, n_unchecked=n))
    return [*copies, *versions, judge_reconstructions(scene, audited, inside.heard)]


def _subject(tier: str, scope: str) -> Subject:
    if scope == "across":
        return Subject(f"{tier}_across", f"{_WORDS[tier]} in another set", "across", _ACROSS)
    return Subject(f"{tier}_inside", f"{_WORDS[tier]} twice in a set", "inside", _INSIDE)


class _Search:
    """One scope: audited sounds against others, or among themselves.

    Attributes:
        heard: Pairs that were found, those that may be chance left out.
    """

    def __init__(self, scene: Scene, one: Sounds, other: Sounds) -> None:
        self.heard: list[Pair] = []
        self._scene, self._one, self._other = scene, one, other
        self._same = one is other
        self._scope = "inside" if self._same else "across"
        self._copies: set[tuple[int, int]] = set()

    def find_copies(self) -> Outcome:
        """Search for copies."""
        subject = _subject("copies", self._scope)
        n_heard = self._n_long(self._one.words.lengths() >= SHORTEST_COPY)
        if why := self._too_short(n_heard, self._other.words.lengths() >= SHORTEST_COPY):
            return not_checked(subject, why, n_unchecked=self._scene.audited_rows.height)
        matches = find_copies(self._one.words, self._other.words, same=self._same)
        self._copies = set(zip(matches.one.tolist(), matches.other.tolist(), strict=True))
        pairs = list(pair_rows(self._one, self._other, matches, self._same))
        return self._conclude(subject, "copy", pairs, n_heard=n_heard)

    def find_versions(self, chance: Chance | None) -> Outcome:
        """Search for versions that are no copies, which are to be searched for before."""
        subject = _subject("versions", self._scope)
        n_heard = self._n_long(self._one.chroma.lengths() >= SHORTEST_VERSION)
        why = self._too_short(n_heard, self._other.chroma.lengths() >= SHORTEST_VERSION)
        if chance is None:
            why = why or "too few strangers in these sets to tell how alike chance makes them"
        if why or chance is None:
            return not_checked(subject, why, n_unchecked=self._scene.audited_rows.height)
        n = self._n_comparisons()
        limit, faint = (chance.limit(n, expected) for expected in (FALSE_LINKS, UNDECIDED_LINKS))
        detail = (
            f"versions fainter than a score of {limit:.1f} are not decidable "
            f"({chance.n_strangers} strangers, {n} comparisons)"
        )
        figures: dict[str, JsonValue] = {
            "limit": limit,
            "undecided_from": faint,
            "n_comparisons": n,
            "strangers": chance.figures(),
        }
        pairs = list(self._versions(limit, faint))
        return self._conclude(
            subject, "version", pairs, n_heard=n_heard, detail=detail, figures=figures
        )

    def _conclude(
        self,
        subject: Subject,
        tier: Tier,
        pairs: Sequence[Pair],
        *,
        n_heard: int,
        detail: str = "",
        figures: Mapping[str, JsonValue] | None = None,
    ) -> Outcome:
        self.heard += [pair for pair in pairs if pair.is_clear]
        findings, links = judge_pairs(self._scene, subject.name, tier, pairs)
        by_design = sum(link.relation == "by_design" for link in links)
        counted = f"{by_design} pairs by design" if by_design else ""
        return conclude(
            subject,
            findings,
            n_checked=n_heard,
            n_unchecked=self._scene.audited_rows.height - n_heard,
            detail="; ".join(filter(None, (counted, detail))),
            links=links,
            figures={"pairs": len(links), "pairs_by_design": by_design, **(figures or {})},
        )

    def _too_short(self, n_heard: int, others_long: Flags) -> str:
        """Return why nothing can be compared; empty where something can."""
        if n_heard == 0:
            return "no file is long enough"
        return "" if others_long.any() else "no file of the other sets is long enough"

    def _versions(self, limit: float, faint: float) -> Iterator[Pair]:
        """Yield pairs above the fainter limit that are no copies."""
        found = find_versions(self._one.chroma, self._other.chroma, same=self._same)
        matches = found.matches
        kept = [
            int(number)
            for number in np.flatnonzero(found.score >= faint)
            if (int(matches.one[number]), int(matches.other[number])) not in self._copies
        ]
        clear = found.score[kept] >= limit
        yield from pair_rows(self._one, self._other, matches.take(kept), self._same, clear)

    def _n_comparisons(self) -> int:
        n = len(self._one)
        return n * (n - 1) // 2 if self._same else n * len(self._other)

    def _n_long(self, long: Flags) -> int:
        return sum(
            len(family) for number in np.flatnonzero(long) for family in self._one.families[number]
        )


def _strangers(audited: Sounds, others: Sounds) -> NDArray[np.float64]:
    """Return the scores of random pairs of sounds of different groups, no pair twice."""
    sounds = [(one, number) for one in (audited, others) for number in range(len(one))]
    rng = np.random.default_rng(_SEED)
    scores: dict[frozenset[str], float] = {}
    for first, second in rng.integers(max(len(sounds), 1), size=(2 * N_STRANGERS, 2)):
        if len(sounds) < 2 or len(scores) == N_STRANGERS:
            break
        (one, a), (other, b) = sounds[first], sounds[second]
        pair = frozenset((one.sha256[a], other.sha256[b]))
        if len(pair) == 2 and pair not in scores and not one.groups[a] & other.groups[b]:
            scores[pair] = align(one.chroma.sequence(a), other.chroma.sequence(b)).score
    return np.array(list(scores.values()))
