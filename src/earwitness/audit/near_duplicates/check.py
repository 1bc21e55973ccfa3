"""Check for copies of a recording and versions of the same music.

Inside a set, versions in one group are by design, and so are copies in one group by different
makers (a track and its reconstructions). A version is linked where its score exceeds those of
unrelated pairs; one that chance may explain is undecided, and a set whose unrelated pairs are not
known never passes. Unchanged and changed versions each have half of the allowed false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import JsonValue

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_result, not_checked
from earwitness.audit.near_duplicates import alignment, copies, versions
from earwitness.audit.near_duplicates.alignment import UNCHANGED, VARIANTS, align_pairs, vary
from earwitness.audit.near_duplicates.fingerprints import Chroma, Floats
from earwitness.audit.near_duplicates.neighbours import describe_missing
from earwitness.audit.near_duplicates.pairs import (
    Pair,
    PairKind,
    Recordings,
    Tier,
    compare_reconstructions,
    distinct_recordings,
    flag_rows,
    pair_clusters,
)
from earwitness.audit.overlap import NO_OTHERS

FEWEST_PAIRS = 30
"""Minimum number of unrelated pairs that the null distribution is fitted to."""


def check_near_duplicates(context: AuditContext) -> list[Outcome]:
    """Search for copies, and for versions that are no copies."""
    audited = distinct_recordings(context, context.audited_rows)
    others = distinct_recordings(context, context.rows.slice(context.audited_rows.height))
    null = fit_null(audited, others)
    inside = _Search(context, audited, audited)
    searches = [_Search(context, audited, others), inside] if context.has_others else [inside]
    copied = [search.find_copies() for search in searches]
    versioned = [search.find_versions(null) for search in searches]
    if not context.has_others:
        for tier, found in (("copies", copied), ("versions", versioned)):
            n = context.audited_rows.height
            found.insert(0, not_checked(_spec(tier, "across"), NO_OTHERS, n_unchecked=n))
    return [*copied, *versioned, compare_reconstructions(context, audited, inside.linked)]


def _spec(tier: str, scope: str) -> CheckSpec:
    words = {
        "copies": "the same recording, coded or cut otherwise,",
        "versions": "the same music in another recording or coding,",
    }[tier]
    if scope == "across":
        advice = "drop these rows, or train without the others"
        return CheckSpec(f"{tier}_across", f"{words} in another set", "across", advice)
    advice = (
        "keep one row of each; where one is made of the other, give both one group_id; else find "
        "out which label is right"
    )
    return CheckSpec(f"{tier}_inside", f"{words} twice in a set", "inside", advice)


class _Search:
    """The search in one scope: audited recordings against others, or among themselves.

    Attributes:
        linked: Pairs found, without those that may be chance.
    """

    def __init__(self, context: AuditContext, one: Recordings, other: Recordings) -> None:
        self.linked: list[Pair] = []
        self._context, self._one, self._other = context, one, other
        self._same = one is other
        self._scope = "inside" if self._same else "across"
        self._copies: set[tuple[int, int]] = set()

    def find_copies(self) -> Outcome:
        """Search for copies."""
        spec = _spec("copies", self._scope)
        n_checked, why = self._count_long("words", copies.SHORTEST)
        if why:
            return not_checked(spec, why, n_unchecked=self._context.audited_rows.height)
        matches = copies.find_copies(
            self._one.words, self._other.words, same=self._same, scratch=self._context.scratch
        )
        kinds = []
        for first, second, offset_s, _, partial in zip(*matches, strict=True):
            kinds.append(
                PairKind(is_partial=bool(partial) or self._shares_backing(first, second, offset_s))
            )
            if not partial:
                self._copies.add((int(first), int(second)))
        pairs = list(pair_clusters(self._one, self._other, matches, kinds))
        return self._conclude(spec, "copy", pairs, n_checked=n_checked)

    def find_versions(self, null: Null) -> Outcome:
        """Search for versions; copies have to be searched before."""
        spec = _spec("versions", self._scope)
        n_checked, why = self._count_long("chroma", alignment.SHORTEST)
        if why:
            return not_checked(spec, why, n_unchecked=self._context.audited_rows.height)
        n = len(self._one)
        n_comparisons = n * (n - 1) // 2 if self._same else n * len(self._other)
        limits = null.limits(n_comparisons)
        detail = (
            f"versions with a score below {limits.clear:.1f} ({null.plain.n_pairs} unrelated "
            f"pairs, {n_comparisons} comparisons), or hardly above that at another place of the "
            "same pair (a shared chord progression), are not decidable"
        )
        missing = describe_missing(self._other.chroma)
        values: dict[str, JsonValue] = {
            "limit": limits.clear,
            "undecided_from": limits.faint,
            "limit_changed": limits.changed,
            "n_comparisons": n_comparisons,
            "strangers": {
                "n": null.plain.n_pairs,
                "location": null.plain.location,
                "scale": null.plain.scale,
            },
            "decidable": not null.unknown,
        }
        outcome = self._conclude(
            spec,
            "version",
            list(self._versions(limits)),
            n_checked=n_checked,
            detail="; ".join(filter(None, (missing, null.unknown or detail))),
            values=values,
        )
        if null.unknown and outcome.result.verdict == "pass":
            n_rows = self._context.audited_rows.height
            return not_checked(spec, null.unknown, n_unchecked=n_rows, figures=values)
        return outcome

    def _conclude(
        self,
        spec: CheckSpec,
        tier: Tier,
        pairs: Sequence[Pair],
        *,
        n_checked: int,
        detail: str = "",
        values: Mapping[str, JsonValue] | None = None,
    ) -> Outcome:
        self.linked += [pair for pair in pairs if pair.kind.is_clear]
        findings, links = flag_rows(self._context, spec.name, tier, pairs)
        by_design = sum(link.relation == "by_design" for link in links)
        counted = f"{by_design} pairs by design" if by_design else ""
        not_searched = {
            "copy": "not looked for: reversed sound, crops under 2 s, parts under 5 s",
            "version": (
                "not looked for: reversed sound, less than 5 s in common, pitch changed by more "
                "than 2 semitones, speed by more than 12 % or tempo by more than 10 %"
            ),
        }[tier]
        return make_result(
            spec,
            findings,
            n_checked=n_checked,
            n_unchecked=self._context.audited_rows.height - n_checked,
            detail="; ".join(filter(None, (counted, detail, not_searched))),
            links=links,
            figures={"pairs": len(links), "pairs_by_design": by_design, **(values or {})},
        )

    def _count_long(self, name: Literal["words", "chroma"], shortest: int) -> tuple[int, str]:
        """Return the number of rows that are long enough, and why nothing can be compared."""
        one, other = (getattr(of, name).count_loud() >= shortest for of in (self._one, self._other))
        n = sum(len(cluster) for own in np.flatnonzero(one) for cluster in self._one.clusters[own])
        if n == 0:
            return 0, "no file is long enough"
        return n, "" if other.any() else "no file of the other sets is long enough"

    def _versions(self, limits: Limits) -> Iterator[Pair]:
        """Yield the pairs above the limits that are no copies, clear ones first."""
        one, other, same = self._one, self._other, self._same
        found = []
        for least, clear, variants in (
            (limits.faint, limits.clear, (UNCHANGED,)),
            (limits.changed, limits.changed, VARIANTS),
        ):
            scored = versions.find_versions(
                one.chroma,
                other.chroma,
                same=same,
                least=least,
                variants=variants,
                scratch=self._context.scratch,
            )
            is_clear = (scored.score >= clear) & (scored.margin >= alignment.MARGIN)
            for number, variant in enumerate(scored.variant):
                match = scored.matches.take([number])
                found.append((bool(is_clear[number]), match, variants[variant]))
        known = set(self._copies)
        for clearly, match, change in sorted(found, key=lambda one: not one[0]):
            first, second, offset_s = int(match.one[0]), int(match.other[0]), match.offset_s[0]
            if not known.isdisjoint({(first, second), (second, first)}):
                continue
            known.add((first, second))
            partial = change == UNCHANGED and self._shares_backing(first, second, offset_s)
            kind = PairKind(clearly, partial, change.describe())
            yield from pair_clusters(one, other, match, [kind])

    def _shares_backing(self, first: int, second: int, offset_s: float) -> bool:
        return versions.shares_backing(
            (self._one.words.sequence(first), self._other.words.sequence(second)),
            (self._one.chroma.sequence(first), self._other.chroma.sequence(second)),
            offset_s,
        )


class Gumbel(NamedTuple):
    """A Gumbel distribution, that of the maximum score over all shifts of an unrelated pair."""

    location: float
    scale: float
    n_pairs: int

    def limit(self, n_comparisons: int, expected: float) -> float:
        """Return the score that ``expected`` of so many comparisons exceed by chance."""
        share = min(expected / max(n_comparisons, 1), 0.5)
        return self.location - self.scale * math.log(-math.log1p(-share))


class Limits(NamedTuple):
    """Minimum scores of a pair.

    Attributes:
        clear: Chance would give 0.005 such pairs in all comparisons.
        faint: Chance would give 0.05; undecided up to ``clear``.
        changed: As ``clear``, for pairs whose pitch or speed was changed.
    """

    clear: float
    faint: float
    changed: float


class Null(NamedTuple):
    """Null distributions of scores.

    Attributes:
        plain: Of unchanged pairs.
        changed: Of pairs of which one is changed.
        unknown: Why the sets do not give these; empty where they do.
    """

    plain: Gumbel
    changed: Gumbel
    unknown: str

    def limits(self, n: int) -> Limits:
        """Return the limits for a number of comparisons."""
        clear, faint = self.plain.limit(n, 0.005), self.plain.limit(n, 0.05)
        return Limits(clear, faint, self.changed.limit(n * len(VARIANTS), 0.005))


def fit_null(audited: Recordings, others: Recordings) -> Null:
    """Fit null distributions to random pairs of two sets."""
    scores = _score_unrelated(audited, others)
    plain, changed = (fit_gumbel(column) for column in scores.T)
    if plain is not None and changed is not None:
        return Null(plain, changed, "")
    # its tail is longer than any measured (nine collections of game music, 10 to 120 s)
    usual = Gumbel(location=1.9, scale=0.6, n_pairs=0)
    if int(np.isfinite(scores[:, 0]).sum()) < FEWEST_PAIRS:
        why = "too few unrelated pairs in these sets to estimate how similar they are by chance"
    else:
        why = (
            "not decidable: random pairs of these sets are more similar than unrelated music, so "
            "that they do not give what is similar by chance"
        )
    return Null(usual, usual, why)


def fit_gumbel(scores: Floats) -> Gumbel | None:
    """Fit a Gumbel distribution to scores of random pairs, some of which may be related.

    Quantiles from the median upwards are fitted, up to where the tail is longer than that of
    unrelated pairs, with the longest tail up to there.

    Args:
        scores: ``(n,)``, not finite for pairs that are too short.

    Returns:
        ``None`` for too few pairs, or where even the median is that of related ones.
    """
    shares = (0.5, 0.75, 0.9, 0.99, 0.998)
    most_scale, most_median = 0.65, 3.5  # largest seen: 0.57 (one synthesiser), 2.5 (200 s)
    scores = scores[np.isfinite(scores)]
    if len(scores) < FEWEST_PAIRS:
        return None
    reduced = np.array([-math.log(-math.log(share)) for share in shares])
    found = np.quantile(scores, shares)
    slopes = np.diff(found) / np.diff(reduced)
    usual = np.cumprod(slopes <= most_scale).astype(np.bool_)
    if not usual[0] or found[0] > most_median:
        return None
    last = min(int(usual.sum()), len(shares) - 2)
    scale = max(float(slopes[usual].max()), 1e-6)
    return Gumbel(float(found[last]) - scale * float(reduced[last]), scale, len(scores))


def _score_unrelated(audited: Recordings, others: Recordings) -> Floats:
    """Return ``(n, 2)`` scores of up to 2 000 random pairs of different groups.

    In the second column the first recording of each pair is changed.
    """
    most = 2_000
    n = len(audited) + len(others)
    rng = np.random.default_rng(0)
    pairs: dict[frozenset[str], tuple[Chroma, Chroma]] = {}
    for drawn in rng.integers(max(n, 1), size=(2 * most, 2)):
        if n < 2 or len(pairs) == most:
            break
        (one, a), (other, b) = (
            (audited, number) if number < len(audited) else (others, number - len(audited))
            for number in drawn
        )
        pair = frozenset((one.sha256[a], other.sha256[b]))
        if len(pair) == 2 and pair not in pairs and not one.groups[a] & other.groups[b]:
            pairs[pair] = one.chroma.sequence(a), other.chroma.sequence(b)
    firsts, seconds = [one for one, _ in pairs.values()], [other for _, other in pairs.values()]
    changed = [vary(c, VARIANTS[k % len(VARIANTS)])[0] for k, c in enumerate(firsts)]
    return np.stack([align_pairs(side, seconds).score for side in (firsts, changed)], axis=1)
