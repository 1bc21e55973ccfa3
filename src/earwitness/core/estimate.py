"""An estimate: a figure, how far it can be trusted, and why not where it cannot.

Conventions: ``None`` is undefined, never 0, 1 or NaN, and ``reason`` says why. An interval is
over groups (a track with its reconstructions is one group), not over items.
"""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOO_FEW_GROUPS = "too few groups"
"""Why there is no interval where a class has fewer than ``MIN_GROUPS`` groups."""

MIN_GROUPS = 10
"""Groups a class must have before an interval is given."""

Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""A number of things; none that a file states is larger."""


class Estimate(BaseModel):
    """One figure with its interval.

    Attributes:
        value: The figure; ``None`` is undefined, and ``reason`` says why.
        low: Lower end of the interval; ``None`` where none is given.
        high: Upper end of the interval.
        n_items: Items that the figure is made of.
        n_groups: Groups that these items fall into.
        method: How the interval was made ("Obuchowski, logit"); ``None`` without one.
        reason: Why the figure is undefined, or, where it is defined, why it has no interval.
        conditional_on: What the figure and its interval take for granted ("threshold 0.43, fitted
            on the calibration half"); ``None`` where nothing was fitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_items: Count = 0
    n_groups: Count = 0
    method: str | None = None
    reason: str | None = None
    conditional_on: str | None = None

    @property
    def is_defined(self) -> bool:
        """Whether there is a figure at all."""
        return self.value is not None

    @property
    def number(self) -> float:
        """The figure as a float, NaN where it is undefined."""
        return math.nan if self.value is None else self.value

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("one end of an interval, expected both or neither")
        if self.value is None and (self.low is not None or not self.reason):
            raise ValueError("no value, expected a reason and no interval")
        if self.value is not None and self.low is None and not self.reason:
            raise ValueError("no interval, expected a reason")
        return self
