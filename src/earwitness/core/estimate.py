"""Metric estimates, confusion counts, and rows of the comparison table.

Conventions: an undefined value is ``None``, with a ``reason``. Intervals are over groups (a track
and its reconstructions are one group), not items. Fake is the positive class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOO_FEW_GROUPS = "too few groups"
"""Reason of a missing interval with fewer than ``MIN_GROUPS`` groups in a class."""

MIN_GROUPS = 10
"""Minimum number of groups per class for an interval."""

Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""A count that a float holds exactly."""


class Estimate(BaseModel):
    """A metric value with its interval.

    Attributes:
        value: The metric; ``None`` if undefined.
        low: Lower end of the interval; ``None`` without one.
        high: Upper end of the interval.
        n_items: Items that it is computed from.
        n_groups: Groups of these items.
        method: Method of the interval ("Obuchowski, logit"); ``None`` without one.
        reason: Why the value is undefined or has no interval.
        conditional_on: What was fitted and is taken as given ("threshold 0.43, fitted on the
            calibration half"); ``None`` if nothing.
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
        """The value as a float, NaN if undefined."""
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
    *("model", "dataset", "n", "TP", "TN", "FP", "FN", "accuracy", "precision_fake"),
    *("recall_fake_sensitivity", "specificity_real", "f1_fake", "balanced_accuracy"),
)
"""Columns of the comparison CSV, in the order of the published one."""

OWN_COLUMNS = ("n_lost", "n_abstained", "one_sided")
"""Columns after these, only where a row has lost items or is of a one-sided detector."""


@dataclass(frozen=True)
class Counts:
    """Confusion counts; fake is positive."""

    tp: Count
    tn: Count
    fp: Count
    fn: Count

    @property
    def n(self) -> int:
        """All items."""
        return self.n_real + self.n_fake

    @property
    def n_real(self) -> int:
        """Real items."""
        return self.tn + self.fp

    @property
    def n_fake(self) -> int:
        """Fake items."""
        return self.tp + self.fn


@dataclass(frozen=True)
class ComparisonRow:
    """Confusion counts of a detector on a dataset: one row of the comparison table.

    Attributes:
        model: Name of the detector.
        dataset: Name of the dataset.
        counts: Decided items.
        n_lost: Items without a score, which are not counted.
        n_abstained: Those among them that the detector abstained from.
        one_sided: The detector only finds traces: what it does not flag is not called real.
    """

    model: str
    dataset: str
    counts: Counts
    n_lost: Count = field(default=0, compare=False)
    n_abstained: Count = field(default=0, compare=False)
    one_sided: bool = field(default=False, compare=False)
