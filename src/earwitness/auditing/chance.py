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

_SHARES = (0.5, 0.9, 0.99, 0.998)
"""Shares of strangers that score less than the points which the law is laid through."""

_ANCHOR = 2


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


def fit_chance(scores: NDArray[np.float64]) -> Chance | None:
    """Fit the law to the scores of strangers, ``None`` where they are too few.

    Quantiles are fitted, not moments, so that a few pairs that are no strangers after all change
    little. The law passes through the 99 % point, with a tail as slow as the slowest of the
    stretches between points says: music by one hand has a slower one than the law.

    Args:
        scores: ``(n,)``, not finite for pairs that are too short to tell.
    """
    scores = scores[np.isfinite(scores)]
    if len(scores) < FEWEST_STRANGERS:
        return None
    reduced = [-math.log(-math.log(share)) for share in _SHARES]
    found = np.quantile(scores, _SHARES)
    scale = max(float((np.diff(found) / np.diff(reduced)).max()), 1e-6)
    return Chance(float(found[_ANCHOR]) - scale * reduced[_ANCHOR], scale, len(scores))
