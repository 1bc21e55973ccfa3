"""What figures are made of: truth, group and what a detector said, one row an item.

Conventions: 0 is real, 1 is fake; scores rise with fakeness. A group is what is not independent (a
track with its reconstructions); it may hold reals, fakes or both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = TypeVar("Values", bound=NDArray[Any])


@dataclass(frozen=True)
class Items:
    """Scored items.

    Attributes:
        target: ``(n_items,)`` of 0 (real) and 1 (fake).
        group: ``(n_items,)`` of the group of each, from 0 up without gaps.
        decision: ``(n_items,)`` of 0 and 1; ``None`` without decisions.
        score: ``(n_items,)``, what items are ordered by; ``None`` without scores.
        logit: ``(n_items,)`` on the whole line; ``None`` without scores.
        prob: ``(n_items,)`` from 0 to 1; ``None`` without scores between 0 and 1.
    """

    target: Ints
    group: Ints
    decision: Ints | None = None
    score: Floats | None = None
    logit: Floats | None = None
    prob: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def n_groups(self) -> int:
        """Groups in all."""
        return int(self.group.max()) + 1 if len(self) else 0

    def groups_of(self, target: int) -> int:
        """Return how many groups hold an item of a class."""
        return len(np.unique(self.group[self.target == target]))

    def where(self, chosen: ArrayLike) -> Items:
        """Return the items that a mask or positions choose, their groups numbered anew."""
        kept = np.asarray(chosen)

        def taken(values: Values | None) -> Values | None:
            return None if values is None else values[kept]

        return Items(
            target=self.target[kept],
            group=numbered(self.group[kept]),
            decision=taken(self.decision),
            score=taken(self.score),
            logit=taken(self.logit),
            prob=taken(self.prob),
        )


def numbered(labels: ArrayLike) -> Ints:
    """Return the groups that labels stand for, numbered from 0 without gaps: ``(n_items,)``."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1).astype(np.int64)
