"""Find copies of a recording and versions of the same music.

Conventions: both are searched among distinct sounds; rows with the same bytes are another check's.
Inside a set, rows of one group by different makers (a track and its reconstructions) are by design,
versions of one group in any case. Where rows have no ``group_id``, what the file names of known
corpora say is used instead. Versions that are hardly more alike than chance makes the best of so
many comparisons are not decidable, and never called clean; nor is a set that does not tell how
alike strangers are. Versions are searched for as they are, and with pitch and speed changed
(``variants``); each of the two has half of the false alarms that are allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from earwitness.audit.checks import (
    AuditContext,
    CheckSpec,
    Outcome,
    make_result,
    not_checked,
)
from earwitness.audit.near_duplicates.alignment import MARGIN, UNCHANGED, VARIANTS
from earwitness.audit.near_duplicates.alignment import SHORTEST as SHORTEST_VERSION
from earwitness.audit.near_duplicates.copies import SHORTEST as SHORTEST_COPY
from earwitness.audit.near_duplicates.copies import find_copies
from earwitness.audit.near_duplicates.index import InvertedIndex
from earwitness.audit.near_duplicates.null_model import Limits, Null, fit_null
from earwitness.audit.near_duplicates.pairs import (
    Family,
    Pair,
    PairKind,
    Place,
    Sounds,
    Tier,
    distinct_sounds,
    flag_rows,
    pair_rows,
)
from earwitness.audit.near_duplicates.versions import find_versions, shares_backing
from earwitness.audit.overlap import NO_OTHERS
from earwitness.splits.grouping import UNKNOWN

Flags = NDArray[np.bool_]

_WORDS = {
    "copies": "the same recording, coded or cut otherwise,",
    "versions": "the same music in another recording or coding,",
}
_NOT_LOOKED_FOR: dict[Tier, str] = {
    "copy": "not looked for: reversed sound, crops under 2 s, parts under 5 s",
    "version": (
        "not looked for: reversed sound, less than 5 s in common, pitch changed by more than "
        "2 semitones, speed by more than 12 % or tempo by more than 10 %"
    ),
}
"""What a check does not find; its detail says so."""

_ACROSS = "drop these rows, or train without the others"
_INSIDE = (
    "keep one row of each; where one is made of the other, give both one group_id; else find out "
    "which label is right"
)


def check_near_duplicates(scene: AuditContext) -> list[Outcome]:
    """Search for copies and, apart from these, for versions."""
    audited = distinct_sounds(scene, scene.audited_rows)
    others = distinct_sounds(scene, scene.rows.slice(scene.audited_rows.height))
    null = fit_null(audited, others)
    inside = _Search(scene, audited, audited)
    searches = [_Search(scene, audited, others), inside] if scene.has_others else [inside]
    copies = [search.find_copies() for search in searches]
    versions = [search.find_versions(null) for search in searches]
    if not scene.has_others:
        for tier, found in (("copies", copies), ("versions", versions)):
            n = scene.audited_rows.height
            found.insert(0, not_checked(_spec(tier, "across"), NO_OTHERS, n_unchecked=n))
    return [*copies, *versions, compare_reconstructions(scene, audited, inside.linked)]


def _spec(tier: str, scope: str) -> CheckSpec:
    if scope == "across":
        return CheckSpec(f"{tier}_across", f"{_WORDS[tier]} in another set", "across", _ACROSS)
    return CheckSpec(f"{tier}_inside", f"{_WORDS[tier]} twice in a set", "inside", _INSIDE)


class _Search:
    """One scope: audited sounds against others, or among themselves.

    Attributes:
        linked: Pairs that were found, those that may be chance left out.
    """

    def __init__(self, scene: AuditContext, one: Sounds, other: Sounds) -> None:
        self.linked: list[Pair] = []
        self._scene, self._one, self._other = scene, one, other
        self._same = one is other
        self._scope = "inside" if self._same else "across"
        self._copies: set[tuple[int, int]] = set()

    def find_copies(self) -> Outcome:
        """Search for copies."""
        subject = _spec("copies", self._scope)
        n_checked_rows = self._count_rows(_is_long(self._one.words, SHORTEST_COPY))
        if why := self._too_short(n_checked_rows, _is_long(self._other.words, SHORTEST_COPY)):
            return not_checked(subject, why, n_unchecked=self._scene.audited_rows.height)
        matches = find_copies(self._one.words, self._other.words, same=self._same)
        whole = matches.take(np.flatnonzero(~matches.partial).tolist())
        self._copies = set(zip(whole.one.tolist(), whole.other.tolist(), strict=True))
        kinds = [
            PairKind(is_partial=bool(partial) or self._shares_backing(first, second, offset_s))
            for first, second, offset_s, _, partial in zip(*matches, strict=True)
        ]
        pairs = list(pair_rows(self._one, self._other, matches, self._same, kinds))
        return self._conclude(subject, "copy", pairs, n_checked_rows=n_checked_rows)

    def find_versions(self, null: Null) -> Outcome:
        """Search for versions that are no copies, which are to be searched for before."""
        subject = _spec("versions", self._scope)
        n_checked_rows = self._count_rows(_is_long(self._one.chroma, SHORTEST_VERSION))
        if why := self._too_short(n_checked_rows, _is_long(self._other.chroma, SHORTEST_VERSION)):
            return not_checked(subject, why, n_unchecked=self._scene.audited_rows.height)
        n = self._n_comparisons()
        limits = null.limits(n)
        detail = (
            f"versions with a score below {limits.clear:.1f} ({null.plain.n_strangers} unrelated "
            f"pairs, {n} comparisons), or hardly above that at another place of the same pair (a "
            "shared chord progression), are not decidable"
        )
        figures: dict[str, JsonValue] = {
            "limit": limits.clear,
            "undecided_from": limits.faint,
            "limit_changed": limits.changed,
            "n_comparisons": n,
            "strangers": null.plain.figures(),
            "decidable": not null.unknown,
        }
        outcome = self._conclude(
            subject,
            "version",
            list(self._versions(limits)),
            n_checked_rows=n_checked_rows,
            detail=null.unknown or detail,
            figures=figures,
        )
        if null.unknown and outcome.result.verdict == "pass":
            n_rows = self._scene.audited_rows.height
            return not_checked(subject, null.unknown, n_unchecked=n_rows, figures=figures)
        return outcome

    def _conclude(
        self,
        subject: CheckSpec,
        tier: Tier,
        pairs: Sequence[Pair],
        *,
        n_checked_rows: int,
        detail: str = "",
        figures: Mapping[str, JsonValue] | None = None,
    ) -> Outcome:
        self.linked += [pair for pair in pairs if pair.kind.is_clear]
        findings, links = flag_rows(self._scene, subject.name, tier, pairs)
        by_design = sum(link.relation == "by_design" for link in links)
        counted = f"{by_design} pairs by design" if by_design else ""
        return make_result(
            subject,
            findings,
            n_checked=n_checked_rows,
            n_unchecked=self._scene.audited_rows.height - n_checked_rows,
            detail="; ".join(filter(None, (counted, detail, _NOT_LOOKED_FOR[tier]))),
            links=links,
            figures={"pairs": len(links), "pairs_by_design": by_design, **(figures or {})},
        )

    def _too_short(self, n_checked_rows: int, others_long: Flags) -> str:
        """Return why nothing can be compared; empty where something can."""
        if n_checked_rows == 0:
            return "no file is long enough"
        return "" if others_long.any() else "no file of the other sets is long enough"

    def _versions(self, limits: Limits) -> Iterator[Pair]:
        """Yield pairs above the limits that are no copies."""
        one, other, same = self._one, self._other, self._same
        found = []
        for least, clear, variants in (
            (limits.faint, limits.clear, (UNCHANGED,)),
            (limits.changed, limits.changed, VARIANTS),
        ):
            scored = find_versions(
                one.chroma, other.chroma, same=same, least=least, variants=variants
            )
            for number in range(len(scored.score)):
                is_clear = bool(scored.score[number] >= clear and scored.margin[number] >= MARGIN)
                change = variants[scored.variant[number]]
                found.append((is_clear, scored.matches.take([number]), change))
        known = set(self._copies)
        for is_clear, match, change in sorted(found, key=lambda one: not one[0]):
            first, second, offset_s = int(match.one[0]), int(match.other[0]), match.offset_s[0]
            if not known.isdisjoint(_both_ways(first, second)):
                continue
            known.add((first, second))
            partial = change == UNCHANGED and self._shares_backing(first, second, offset_s)
            kind = PairKind(is_clear, partial, change.describe())
            yield from pair_rows(one, other, match, same, [kind])

    def _shares_backing(self, first: int, second: int, offset_s: float) -> bool:
        return shares_backing(
            (self._one.words.sequence(first), self._other.words.sequence(second)),
            (self._one.chroma.sequence(first), self._other.chroma.sequence(second)),
            offset_s,
        )

    def _n_comparisons(self) -> int:
        n = len(self._one)
        return n * (n - 1) // 2 if self._same else n * len(self._other)

    def _count_rows(self, long: Flags) -> int:
        return sum(
            len(family) for number in np.flatnonzero(long) for family in self._one.families[number]
        )


def _is_long(library: InvertedIndex, shortest: int) -> Flags:
    """Return which sounds have enough frames that are not silent."""
    values = library.values
    loud: Flags = np.asarray(np.atleast_2d(values.T != 0).any(axis=0), dtype=np.bool_)
    return library.counts(loud) >= shortest


def _both_ways(first: int, second: int) -> set[tuple[int, int]]:
    return {(int(first), int(second)), (int(second), int(first))}


RECONSTRUCTIONS = CheckSpec(
    "reconstructions", "reconstructions recognised as their own track", "inside", ""
)


class Recognition(NamedTuple):
    """How many reconstructions of one generator are recognised.

    Attributes:
        n: Reconstructions that could be compared.
        n_linked: Those that sound like their track.
        n_own: Pairs with their track that sound alike.
        n_strange: Pairs with another real that sound alike.
    """

    n: int
    n_linked: int
    n_own: int
    n_strange: int

    def describe(self) -> str:
        """Return recall and precision in words."""
        recall = f"recall {self.n_linked} of {self.n}"
        n_pairs = self.n_own + self.n_strange
        return f"{recall}, precision {self.n_own} of {n_pairs}" if n_pairs else recall


def compare_reconstructions(scene: AuditContext, sounds: Sounds, pairs: Iterable[Pair]) -> Outcome:
    """Compare linked pairs with what ``group_id`` says, generator by generator.

    Args:
        scene: What is looked at.
        sounds: Those of audited rows.
        pairs: Families of one set that sound alike, beyond chance.
    """
    recognised = _count_recognised(sounds, pairs)
    figures: dict[str, JsonValue] = {name: dict(one._asdict()) for name, one in recognised.items()}
    n = sum(one.n for one in recognised.values())
    n_linked = sum(one.n_linked for one in recognised.values())
    if not n_linked:
        why = "none is recognised as its track" if n else "no fake has the group_id of a real"
        n_rows = scene.audited_rows.height
        return not_checked(RECONSTRUCTIONS, why, n_unchecked=n_rows, figures=figures)
    alike: dict[str, list[str]] = {}
    for generator, one in recognised.items():
        alike.setdefault(one.describe(), []).append(generator)
    return make_result(
        RECONSTRUCTIONS,
        verdict="pass",
        detail="; ".join(f"{', '.join(names)}: {words}" for words, names in alike.items()),
        n_checked=n_linked,
        n_unchecked=n - n_linked,
        figures=figures,
    )


def _count_recognised(sounds: Sounds, pairs: Iterable[Pair]) -> dict[str, Recognition]:
    """Return the counts of each generator, in alphabetical order."""
    families = [family for kin in sounds.families for family in kin]
    tracks = {_track(family) for family in families if not _is_fake(family)} - {None}
    made = [family for family in families if _is_fake(family) and _track(family) in tracks]
    n: Counter[str] = Counter()
    for family in made:
        n[_generator(family)] += len(family)
    linked: dict[str, set[Place]] = {name: set() for name in n}
    own, strange = Counter[str](), Counter[str]()
    for fake, real in _fakes_with_reals(pairs):
        name = _generator(fake)
        if name in n and _track(fake) == _track(real) is not None:
            own[name] += len(fake) * len(real)
            linked[name] |= {(row["set"], row["row"]) for row in fake}
        else:
            strange[name] += len(fake) * len(real)
    return {
        name: Recognition(n[name], len(linked[name]), own[name], strange[name])
        for name in sorted(n)
    }


def _fakes_with_reals(pairs: Iterable[Pair]) -> Iterator[tuple[Family, Family]]:
    for pair in pairs:
        if _is_fake(pair.one) != _is_fake(pair.other):
            yield (pair.one, pair.other) if _is_fake(pair.one) else (pair.other, pair.one)


def _is_fake(family: Family) -> bool:
    return bool(family[0]["target"])


def _track(family: Family) -> tuple[int, str] | None:
    first = family[0]
    return (first["set"], first["group"]) if first["group"] else None


def _generator(family: Family) -> str:
    return family[0]["generator"] or UNKNOWN
