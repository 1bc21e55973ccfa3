"""How far an AUROC varies from sample to sample of groups.

Conventions: scores rise with fakeness; a group may hold reals, fakes or both, and then the two
parts vary together. Sources: the placements are those of DeLong, DeLong and Clarke-Pearson
(1988); summing them over groups is Obuchowski's (1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placements:
    """Where items of one class stand among those of the other; ties count half.

    Attributes:
        of_fakes: ``(n_fake,)`` share of reals below each fake.
        of_reals: ``(n_real,)`` share of fakes above each real.
    """

    of_fakes: Floats
    of_reals: Floats

    @property
    def mean(self) -> float:
        """AUROC, or the difference of two."""
        return float(self.of_fakes.mean())

    def minus(self, other: Placements) -> Placements:
        """Return the differences to another detector's placements of the same items."""
        return Placements(self.of_fakes - other.of_fakes, self.of_reals - other.of_reals)


def place(target: Ints, score: Floats) -> Placements:
    """Place every item among those of the other class.

    Args:
        target: ``(n_items,)`` of 0 and 1, both there.
        score: ``(n_items,)`` finite numbers, high for fake.
    """
    fakes, reals = score[target == 1], score[target == 0]
    return Placements(_share_below(fakes, reals), 1 - _share_below(reals, fakes))


def clustered_variance(placements: Placements, target: Ints, group: Ints) -> float:
    """Return the variance of the mean placement over samples of groups.

    Args:
        placements: Of one detector, or differences of two.
        target: ``(n_items,)`` of 0 and 1, in the order that placements were made from.
        group: ``(n_items,)`` group of each, from 0 up.

    Returns:
        NaN unless two groups hold fakes and two hold reals.
    """
    of_fakes, of_reals = _parts(placements, target, group)
    i10, i01 = (len(np.unique(group[target == label])) for label in (1, 0))
    if min(i10, i01) < 2:
        return float("nan")
    alone = i10 / (i10 - 1) * (of_fakes**2).sum() + i01 / (i01 - 1) * (of_reals**2).sum()
    together = len(of_fakes) / (len(of_fakes) - 1) * (of_fakes * of_reals).sum()
    return float(max(alone + 2 * together, 0))


def degrees_of_freedom(placements: Placements, target: Ints, group: Ints) -> float:
    """Return how many degrees of freedom ``clustered_variance`` has on this sample.

    A variance is as uncertain as its terms are uneven: where a few groups make most of it, as
    at an AUROC near 1, it has few degrees of freedom however many groups there are. They follow
    from the fourth moment of the groups' parts (Satterthwaite, 1946); for normal parts they are
    the number of groups.

    Args:
        placements: Of one detector, not all alike.
        target: ``(n_items,)`` of 0 and 1, in the order that placements were made from.
        group: ``(n_items,)`` group of each, from 0 up.
    """
    of_fakes, of_reals = _parts(placements, target, group)
    return freedom_of(of_fakes + of_reals)


def freedom_of(parts: Floats) -> float:
    """Return the degrees of freedom of a variance that is the sum of squared parts.

    Args:
        parts: ``(n_groups,)`` what each group adds to the metric.
    """
    squares = parts**2
    second, fourth = float(squares.sum()), float((squares**2).sum())
    spread = fourth - second**2 / max(len(squares), 1)
    return float("inf") if spread <= 0 else 2 * second**2 / spread


def _parts(placements: Placements, target: Ints, group: Ints) -> tuple[Floats, Floats]:
    """Return what each group adds to the mean placement of fakes, and to that of reals."""
    mean, n_groups = placements.mean, int(group.max()) + 1
    of_fakes, of_reals = (
        np.bincount(group[target == label], values - mean, n_groups) / len(values)
        for label, values in ((1, placements.of_fakes), (0, placements.of_reals))
    )
    return of_fakes, of_reals


def _share_below(values: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(below / (2 * len(others)))
