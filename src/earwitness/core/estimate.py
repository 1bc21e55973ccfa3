"""Results that cross rooms: metric estimates, confusion counts, rows of the comparison table.

Conventions: ``None`` is undefined, never 0, 1 or NaN, and ``reason`` says why. An interval is
over groups (a track with its reconstructions is one group), not over items. Fake is the positive
class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOO_FEW_GROUPS = "too few groups"
"""Why there is no interval where a class has fewer than ``MIN_GROUPS`` groups."""

MIN_GROUPS = 10
"""Groups a class must have before an interval is given."""

Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""A number of things; none that a file states is larger."""


class Estimate(BaseModel):
    """A metric value with its interval.

    Attributes:
        value: The metric; ``None`` is undefined, and ``reason`` says why.
        low: Lower end of the interval; ``None`` where none is given.
        high: Upper end of the interval.
        n_items: Items that it is computed from.
        n_groups: Groups that these items fall into.
        method: How the interval was made ("Obuchowski, logit"); ``None`` without one.
        reason: Why the value is undefined or, where it is defined, why it has no interval.
        conditional_on: What the value and its interval assume ("threshold 0.43, fitted
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
        """Whether there is a value."""
        return self.value is not None

    @property
    def number(self) -> float:
        """The value as a float, NaN where it is undefined."""
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


COMPARISON_COLUMNS = (
    "model",
    "dataset",
    "n",
    "TP",
    "TN",
    "FP",
    "FN",
    "accuracy",
    "precision_fake",
    "recall_fake_sensitivity",
    "specificity_real",
    "f1_fake",
    "balanced_accuracy",
)
"""Columns of the comparison CSV, in the order of the published one."""


@dataclass(frozen=True)
class Counts:
    """Confusion counts.

    Attributes:
        tp: Fakes called fake.
        tn: Reals called real.
        fp: Reals called fake.
        fn: Fakes called real.
    """

    tp: int
    tn: int
    fp: int
    fn: int

    @property
    def n(self) -> int:
        """Decisions in all."""
        return self.n_real + self.n_fake

    @property
    def n_real(self) -> int:
        """Decisions on reals."""
        return self.tn + self.fp

    @property
    def n_fake(self) -> int:
        """Decisions on fakes."""
        return self.tp + self.fn


@dataclass(frozen=True)
class ComparisonRow:
    """One row of the comparison table: a detector on a dataset.

    Attributes:
        model: Name of the detector; the published table calls this column ``model``.
        dataset: Name of the evaluated set.
        counts: Its confusion counts; every rate in the table follows from them.
    """

    model: str
    dataset: str
    counts: Counts
