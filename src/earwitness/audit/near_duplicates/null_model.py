"""Null model: scores of unrelated pairs, and the limits that follow.

Conventions: scores of random pairs of sounds, each the highest over all places, follow a Gumbel
distribution, the law of extremes. Of ``n`` comparisons chance is expected to give ``n`` times its
tail. A pair is linked where chance would give ``FALSE_LINKS`` such pairs in all comparisons. Below
that it is not decidable; pairs where chance would give ``UNDECIDED_LINKS`` are named.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from earwitness.audit.near_duplicates.alignment import VARIANTS, align_pairs, vary
from earwitness.audit.near_duplicates.fingerprints import Chroma
from earwitness.audit.near_duplicates.pairs import Sounds

FALSE_LINKS = 0.01
"""Pairs of strangers expected above the upper limit, in all comparisons of an audit."""

UNDECIDED_LINKS = 0.1
"""Pairs of strangers expected above the lower limit, from which on a pair is named."""

FEWEST_STRANGERS = 30
"""Pairs of strangers that the law is fitted to at least."""

_SHARES = (0.5, 0.75, 0.9, 0.99, 0.998)
"""Shares of strangers that score less than the points which the law is laid through."""

SLOWEST = 0.65
"""Slowest tail that strangers were seen to have: 0.57, pieces by one synthesiser. What falls more
slowly has pairs in it that are no strangers."""

_HIGHEST_MEDIAN = 3.5
"""Strangers' median was 1.3 for 10 s, 1.7 for 30 s, 2.3 for 120 s and 2.5 for 200 s at most."""


class Gumbel(NamedTuple):
    """The law of strangers' scores.

    Attributes:
        location: Its mode.
        scale: How slowly its tail falls.
        n_strangers: Pairs it was fitted to.
    """

    location: float
    scale: float
    n_strangers: int

    def figures(self) -> dict[str, JsonValue]:
        """Return it as ``audit.json`` holds it."""
        return {"n": self.n_strangers, "location": self.location, "scale": self.scale}

    def limit(self, n_comparisons: int, expected: float) -> float:
        """Return the score that ``expected`` of so many comparisons exceed by chance."""
        share = min(expected / max(n_comparisons, 1), 0.5)
        return self.location - self.scale * math.log(-math.log1p(-share))


USUAL = Gumbel(location=1.9, scale=0.6, n_strangers=0)
"""Used where a set cannot give a law: its tail is slower than that of any set of
strangers which was measured (nine collections of game music, 21 to 276 pairs each, 10 to 120 s)."""


def fit_gumbel(scores: NDArray[np.float64]) -> Gumbel | None:
    """Fit the law to scores of random pairs, ``None`` where these cannot tell it.

    Some of the pairs may be no strangers. Quantiles are fitted, from the median upwards, and only
    as far as the tail falls as strangers' does: where it falls more slowly than ``SLOWEST``, pairs
    that are alike begin. The law passes through the last point before that, with a tail as slow as
    the slowest of the stretches up to there.

    Args:
        scores: ``(n,)``, not finite for pairs that are too short to tell.

    Returns:
        ``None`` where there are too few, or where so many are alike that the median tells nothing.
    """
    scores = scores[np.isfinite(scores)]
    if len(scores) < FEWEST_STRANGERS:
        return None
    reduced = np.array([-math.log(-math.log(share)) for share in _SHARES])
    found = np.quantile(scores, _SHARES)
    slopes = np.diff(found) / np.diff(reduced)
    usual = np.cumprod(slopes <= SLOWEST).astype(np.bool_)
    if not usual[0] or found[0] > _HIGHEST_MEDIAN:
        return None
    last = min(int(usual.sum()), len(_SHARES) - 2)
    scale = max(float(slopes[usual].max()), 1e-6)
    return Gumbel(float(found[last]) - scale * float(reduced[last]), scale, len(scores))


N_STRANGERS = 2_000
"""Random pairs that tell how alike strangers are, where there are so many."""

_SEED = 0
_TOO_FEW = "too few strangers in these sets to tell how alike chance makes them"
_UNUSUAL = (
    "not decidable: random pairs of these sets are more alike than strangers are, so that they do "
    "not tell how alike chance makes them"
)

Scores = NDArray[np.float64]


class Limits(NamedTuple):
    """Scores from which on pairs are linked.

    Attributes:
        clear: Gumbel can be left out.
        faint: From here on a pair may be no chance.
        changed: Gumbel can be left out for pairs whose pitch or speed was changed.
    """

    clear: float
    faint: float
    changed: float


class Null(NamedTuple):
    """Laws of scores of unrelated pairs.

    Attributes:
        plain: Law of scores of sounds as they are.
        changed: Law where one of them is changed.
        unknown: Why the sets do not tell these; empty where they do.
    """

    plain: Gumbel
    changed: Gumbel
    unknown: str

    def limits(self, n: int) -> Limits:
        """Return the limits for a number of comparisons; each search has half of the links."""
        clear, faint = (self.plain.limit(n, few / 2) for few in (FALSE_LINKS, UNDECIDED_LINKS))
        return Limits(clear, faint, self.changed.limit(n * len(VARIANTS), FALSE_LINKS / 2))


def fit_null(audited: Sounds, others: Sounds) -> Null:
    """Fit the laws to random pairs of two sets, or take the usual ones."""
    scores = _strangers(audited, others)
    plain, changed = (fit_gumbel(column) for column in scores.T)
    if plain is None or changed is None:
        n = int(np.isfinite(scores[:, 0]).sum())
        return Null(USUAL, USUAL, _TOO_FEW if n < FEWEST_STRANGERS else _UNUSUAL)
    return Null(plain, changed, "")


def _strangers(audited: Sounds, others: Sounds) -> Scores:
    """Return ``(n, 2)`` scores of random pairs of different groups, no pair twice.

    The second column has one of the two changed, in one of all ways.
    """
    sounds = [(one, number) for one in (audited, others) for number in range(len(one))]
    rng = np.random.default_rng(_SEED)
    pairs: dict[frozenset[str], tuple[Chroma, Chroma]] = {}
    for first, second in rng.integers(max(len(sounds), 1), size=(2 * N_STRANGERS, 2)):
        if len(sounds) < 2 or len(pairs) == N_STRANGERS:
            break
        (one, a), (other, b) = sounds[first], sounds[second]
        pair = frozenset((one.sha256[a], other.sha256[b]))
        if len(pair) == 2 and pair not in pairs and not one.groups[a] & other.groups[b]:
            pairs[pair] = one.chroma.sequence(a), other.chroma.sequence(b)
    firsts, seconds = [one for one, _ in pairs.values()], [other for _, other in pairs.values()]
    changed = [vary(c, VARIANTS[k % len(VARIANTS)])[0] for k, c in enumerate(firsts)]
    return np.stack([align_pairs(side, seconds).score for side in (firsts, changed)], axis=1)
