"""What figures are made of: truth, group and what a detector said, one row an item.

Conventions: 0 is real, 1 is fake; scores rise with fakeness. A group is what is not independent (a
track with its reconstructions); it may hold reals, fakes or both.
"""

from __future__ import annotations

import math
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


Rate = TypeVar("Rate", float, NDArray[np.float64])


@dataclass(frozen=True)
class Costs:
    """A prior and two costs; the defaults are those of ASVspoof 5 (Wang et al., 2024).

    Attributes:
        p_fake: Share of fakes that is supposed, between 0 and 1.
        c_false_alarm: What a real called fake costs, more than 0.
        c_miss: What a fake called real costs, more than 0.

    Raises:
        ValueError: A value lies outside its bounds.
    """

    p_fake: float = 0.05
    c_false_alarm: float = 1.0
    c_miss: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.p_fake < 1:
            raise ValueError(f"p_fake {self.p_fake}, expected a number between 0 and 1")
        if not (self.c_false_alarm > 0 and self.c_miss > 0):
            found = f"c_false_alarm {self.c_false_alarm}, c_miss {self.c_miss}"
            raise ValueError(f"{found}, expected numbers above 0")

    @property
    def threshold(self) -> float:
        """Logit above which calling an item fake costs less, if logits are calibrated."""
        return math.log(self._false_alarm / self._miss)

    def normalised(self, fpr: Rate, fnr: Rate) -> Rate:
        """Return the expected cost; 1 is what the better of the two constant answers costs.

        Args:
            fpr: Share of reals called fake.
            fnr: Share of fakes called real.
        """
        return (self._false_alarm * fpr + self._miss * fnr) / min(self._false_alarm, self._miss)

    @property
    def _false_alarm(self) -> float:
        return self.c_false_alarm * (1 - self.p_fake)

    @property
    def _miss(self) -> float:
        return self.c_miss * self.p_fake


ASVSPOOF5 = Costs()
"""Settings of ASVspoof 5: 5 % fakes, and a miss costs ten times what a false alarm does."""
