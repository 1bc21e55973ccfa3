"""Results that cross rooms: the counts of decisions and the rows of the comparison table.

Conventions: fake is the positive class, so a true positive is a fake that was called fake.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """How decisions fell out.

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
    """One row of the comparison table: how a detector decided on a dataset.

    Attributes:
        model: Name of the detector; the published table calls this column ``model``.
        dataset: Name of the set that was judged.
        counts: How its decisions fell out; every rate in the table follows from them.
    """

    model: str
    dataset: str
    counts: Counts
