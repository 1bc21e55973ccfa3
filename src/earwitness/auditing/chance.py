"""How alike strangers come by chance, and how alike is more than that.

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

FALSE_LINKS = 0.01
"""Pairs of strangers expected above the upper limit, in all comparisons of an audit."""

UNDECIDED_LINKS = 0.1
"""Pairs of strangers expected above the lower limit, from which on a pair is worth listening to."""

FEWEST_STRANGERS = 30
"""Pairs of strangers that the law is fitted to at least."""

_SHARES = (0.5, 0.75, 0.9, 0.99, 0.998)
"""Shares of strangers that score less than the points which the law is laid through."""

SLOWEST = 0.65
"""Slowest tail that strangers were seen to have: 0.57, pieces by one synthesiser. What falls more
slowly has pairs in it that are no strangers."""

_HIGHEST_MEDIAN = 3.5
"""Strangers' median was 1.3 for 10 s, 1.7 for 30 s, 2.3 for 120 s and 2.5 for 200 s at most."""


class Chance(NamedTuple):
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


USUAL = Chance(location=1.9, scale=0.6, n_strangers=0)
"""What stands in for a law that a set cannot give: its tail is slower than that of any set of
strangers which was measured (nine collections of game music, 21 to 276 pairs each, 10 to 120 s)."""


def fit_chance(scores: NDArray[np.float64]) -> Chance | None:
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
    return Chance(float(found[last]) - scale * float(reduced[last]), scale, len(scores))
