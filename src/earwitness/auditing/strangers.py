"""How alike the strangers of some sets are, as they are and with pitch and speed changed.

Conventions: strangers are random pairs of sounds of different groups. They may not all be: see
``chance.fit_chance``. Where the sets tell nothing, the usual law of strangers takes their place,
so that what is plainly alike is found; but then nothing is called clean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.auditing.alignment import align
from earwitness.auditing.chance import (
    FALSE_LINKS,
    FEWEST_STRANGERS,
    UNDECIDED_LINKS,
    USUAL,
    Chance,
    fit_chance,
)
from earwitness.auditing.pairs import Sounds
from earwitness.auditing.variants import VARIANTS, vary

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
        clear: Chance can be left out.
        faint: From here on a pair may be no chance.
        changed: Chance can be left out for pairs whose pitch or speed was changed.
    """

    clear: float
    faint: float
    changed: float


class Null(NamedTuple):
    """What chance does.

    Attributes:
        plain: Law of scores of sounds as they are.
        changed: Law where one of them is changed.
        unknown: Why the sets do not tell these; empty where they do.
    """

    plain: Chance
    changed: Chance
    unknown: str

    def limits(self, n: int) -> Limits:
        """Return the limits for a number of comparisons; each search has half of the links."""
        clear, faint = (self.plain.limit(n, few / 2) for few in (FALSE_LINKS, UNDECIDED_LINKS))
        return Limits(clear, faint, self.changed.limit(n * len(VARIANTS), FALSE_LINKS / 2))


def fit_null(audited: Sounds, others: Sounds) -> Null:
    """Fit the laws to random pairs of two sets, or take the usual ones."""
    scores = _strangers(audited, others)
    plain, changed = (fit_chance(column) for column in scores.T)
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
    scores: dict[frozenset[str], tuple[float, float]] = {}
    for first, second in rng.integers(max(len(sounds), 1), size=(2 * N_STRANGERS, 2)):
        if len(sounds) < 2 or len(scores) == N_STRANGERS:
            break
        (one, a), (other, b) = sounds[first], sounds[second]
        pair = frozenset((one.sha256[a], other.sha256[b]))
        if len(pair) == 2 and pair not in scores and not one.groups[a] & other.groups[b]:
            chroma = one.chroma.sequence(a), other.chroma.sequence(b)
            varied, _ = vary(chroma[0], VARIANTS[len(scores) % len(VARIANTS)])
            scores[pair] = (align(*chroma).score, align(varied, chroma[1]).score)
    return np.array(list(scores.values()), dtype=np.float64).reshape(-1, 2)
