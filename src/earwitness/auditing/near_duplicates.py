"""Rows that sound alike: copies of a recording, and versions of the same music.

Conventions: both are searched among distinct sounds; rows with the same bytes are another check's.
Inside a set, rows of one group by different makers (a track and its reconstructions) are by design,
versions of one group in any case. Where rows have no ``group_id``, what the file names of known
corpora tell stands in for it. Versions that are hardly more alike than chance makes the best of so
many comparisons are not decidable, and never called clean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from earwitness.auditing.alignment import SHORTEST as SHORTEST_VERSION
from earwitness.auditing.alignment import align
from earwitness.auditing.chance import FALSE_LINKS, UNDECIDED_LINKS, Chance, fit_chance
from earwitness.auditing.contacts import NO_OTHERS
from earwitness.auditing.copymatch import SHORTEST as SHORTEST_COPY
from earwitness.auditing.copymatch import Matches, find_copies
from earwitness.auditing.outcomes import Subject, conclude, not_checked
from earwitness.auditing.pairs import Pair, Sounds, distinct_sounds, judge_pairs, pair_rows
from earwitness.auditing.scene import Outcome, Scene
from earwitness.auditing.versionmatch import find_versions

N_STRANGERS = 2_000
"""Random pairs that tell how alike strangers are."""

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
    outcomes: dict[str, list[Outcome]] = {"copies": [], "versions": []}
    chance = fit_chance(_strangers(audited, others))
    for scope in ("across", "inside"):
        if scope == "across" and not scene.has_others:
            n = scene.audited_rows.height
            for tier, made in outcomes.items():
                made.append(not_checked(_subject(tier, scope), NO_OTHERS, n_unchecked=n))
            continue
        search = _Search(scene, audited, others if scope == "across" else audited)
        copies = search.copies()
        outcomes["copies"].append(search.conclude_copies(copies))
        outcomes["versions"].append(search.conclude_versions(copies, chance))
    return [*outcomes["copies"], *outcomes["versions"]]


def _subject(tier: str, scope: str) -> Subject:
    if scope == "across":
        return Subject(f"{tier}_across", f"{_WORDS[tier]} in another set", "across", _ACROSS)
    return Subject(f"{tier}_inside", f"{_WORDS[tier]} twice in a set", "inside", _INSIDE)


class _Search:
    """One scope: audited sounds against others, or among themselves."""

    def __init__(self, scene: Scene, one: Sounds, other: Sounds) -> None:
        self._scene, self._one, self._other = scene, one, other
        self._same = one is other
        self._scope = "inside" if self._same else "across"

    def copies(self) -> Matches:
        return find_copies(self._one.words, self._other.words, same=self._same)

    def conclude_copies(self, matches: Matches) -> Outcome:
        subject = _subject("copies", self._scope)
        n_heard = self._n_long(self._one.words.lengths() >= SHORTEST_COPY)
        n_rows = self._scene.audited_rows.height
        if n_heard == 0:
            return not_checked(subject, "no file is long enough", n_unchecked=n_rows)
        pairs = list(pair_rows(self._one, self._other, matches, self._same))
        findings, links = judge_pairs(self._scene, subject.name, "copy", pairs)
        by_design = sum(link.relation == "by_design" for link in links)
        return conclude(
            subject,
            findings,
            n_checked=n_heard,
            n_unchecked=n_rows - n_heard,
            detail=f"{by_design} pairs by design" if by_design else "",
            links=links,
            figures={"pairs": len(pairs), "pairs_by_design": by_design},
        )

    def conclude_versions(self, copies: Matches, chance: Chance | None) -> Outcome:
        subject = _subject("versions", self._scope)
        n_heard = self._n_long(self._one.chroma.lengths() >= SHORTEST_VERSION)
        n_rows = self._scene.audited_rows.height
        if n_heard == 0:
            return not_checked(subject, "no file is long enough", n_unchecked=n_rows)
        if chance is None:
            why = "too few strangers in these sets to tell how alike chance makes them"
            return not_checked(subject, why, n_unchecked=n_rows)
        limit, faint = (
            chance.limit(self._n_comparisons(), n) for n in (FALSE_LINKS, UNDECIDED_LINKS)
        )
        pairs = list(self._versions(copies, limit, faint))
        findings, links = judge_pairs(self._scene, subject.name, "version", pairs)
        by_design = sum(link.relation == "by_design" for link in links)
        return conclude(
            subject,
            findings,
            n_checked=n_heard,
            n_unchecked=n_rows - n_heard,
            detail=(f"{by_design} pairs by design; " if by_design else "")
            + f"versions fainter than a score of {limit:.1f} are not decidable "
            f"({chance.n_strangers} strangers, {self._n_comparisons()} comparisons)",
            links=links,
            figures={
                "pairs": len(pairs),
                "pairs_by_design": by_design,
                "limit": limit,
                "undecided_from": faint,
                "n_comparisons": self._n_comparisons(),
                "strangers": {
                    "n": chance.n_strangers,
                    "location": chance.location,
                    "scale": chance.scale,
                },
            },
        )

    def _versions(self, copies: Matches, limit: float, faint: float) -> Iterator[Pair]:
        """Yield pairs of rows above the fainter limit that are no copies."""
        known = set(zip(copies.one.tolist(), copies.other.tolist(), strict=True))
        found = find_versions(self._one.chroma, self._other.chroma, same=self._same)
        matches = found.matches
        kept = [
            number
            for number, pair in enumerate(
                zip(matches.one.tolist(), matches.other.tolist(), strict=True)
            )
            if found.score[number] >= faint and pair not in known
        ]
        clear = found.score[kept] >= limit
        yield from pair_rows(self._one, self._other, matches.take(kept), self._same, clear)

    def _n_comparisons(self) -> int:
        n = len(self._one)
        return n * (n - 1) // 2 if self._same else n * len(self._other)

    def _n_long(self, long: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
        return sum(len(self._one.rows[number]) for number in np.flatnonzero(long))


def _strangers(audited: Sounds, others: Sounds) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the scores of random pairs of sounds of different groups."""
    sounds = [(one, number) for one in (audited, others) for number in range(len(one))]
    rng = np.random.default_rng(_SEED)
    scores: list[float] = []
    if len(sounds) < 2:
        return np.array(scores)
    for first, second in rng.integers(len(sounds), size=(2 * N_STRANGERS, 2)):
        (one, a), (other, b) = sounds[first], sounds[second]
        if one.sha256[a] == other.sha256[b] or one.groups[a] & other.groups[b]:
            continue
        scores.append(align(one.chroma.sequence(a), other.chroma.sequence(b)).score)
        if len(scores) == N_STRANGERS:
            break
    return np.array(scores)
