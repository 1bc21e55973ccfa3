"""What errors cost in a detection cost function.

Conventions: a false alarm is a real called fake, a miss is a fake called real. The field's papers
on spoofing name them the other way round, because there the bona fide speaker is what is sought:
their C_miss is the cost of a false alarm here, their C_fa that of a miss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

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
