"""One slice of ``metrics.json``: its rows, metrics and curves, and rows of the comparison table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from earwitness.core.estimate import Count, Counts, Estimate

SliceKind = Literal["overall", "dataset", "corpus", "generator", "grid", "sonics", "column"]


_COUNTS: Final = TypeAdapter(list[Count])


def _whole(counts: Counts) -> Counts:
    _COUNTS.validate_python([counts.tp, counts.tn, counts.fp, counts.fn])
    return counts


WholeCounts = Annotated[Counts, AfterValidator(_whole)]
"""Counts from a file."""


class Part(BaseModel):
    """A part of ``metrics.json``: frozen, with known fields only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def check_same_lengths(*columns: Sequence[float | None]) -> None:
    """Raise ``ValueError`` unless all columns have the same length."""
    if len(set(map(len, columns))) > 1:
        raise ValueError(f"lengths {', '.join(str(len(c)) for c in columns)}, expected the same")


class Coverage(Part):
    """The rows that metrics are computed from.

    Attributes:
        n_items: Items to be scored, missing ones among them.
        n_scored: Items with a score: those that metrics are computed from.
        n_abstained: Items that hold nothing to analyse, for the detector abstained.
        n_failed: Items with an error in place of a score.
        n_missing: Items that other detectors have on these data sets, and this one has no row of.
        n_real: Scored reals.
        n_fake: Scored fakes.
        n_real_lost: Reals without a score, for whatever reason.
        n_fake_lost: Fakes without a score, for whatever reason.
        n_groups: Groups of the scored items.
        n_groups_real: Groups that hold a scored real.
        n_groups_fake: Groups that hold a scored fake; a group may hold both.
        errors: The commonest errors and how many items have them.
        abstentions: The commonest reasons to abstain and how many items have them.
    """

    n_items: Count
    n_scored: Count
    n_abstained: Count = 0
    n_failed: Count
    n_missing: Count
    n_real: Count
    n_fake: Count
    n_real_lost: Count
    n_fake_lost: Count
    n_groups: Count
    n_groups_real: Count
    n_groups_fake: Count
    errors: dict[str, Count] = Field(default_factory=dict)
    abstentions: dict[str, Count] = Field(default_factory=dict)

    @property
    def n_lost(self) -> int:
        """Items without a score, for whatever reason."""
        return self.n_items - self.n_scored


class Roc(Part):
    """Receiver operating characteristic, thinned; both rates rise from 0 to 1.

    Attributes:
        fpr: Share of reals called fake.
        tpr: Share of fakes called fake.
        threshold: ``pred_prob`` (the logit where there is no ``pred_prob``) from which on an item
            is called fake; ``None`` at the first point, where nothing is.
    """

    fpr: list[float]
    tpr: list[float]
    threshold: list[float | None]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        check_same_lengths(self.fpr, self.tpr, self.threshold)
        return self


class Det(Part):
    """Detection error trade-off, thinned: rates and their probits, for axes that are linear.

    Points at which a rate is 0 or 1 have no probit and are left out.

    Attributes:
        fpr: Share of reals called fake.
        fnr: Share of fakes called real.
        probit_fpr: Quantile of the standard normal distribution at ``fpr``.
        probit_fnr: The same at ``fnr``.
    """

    fpr: list[float]
    fnr: list[float]
    probit_fpr: list[float]
    probit_fnr: list[float]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        check_same_lengths(self.fpr, self.fnr, self.probit_fpr, self.probit_fnr)
        return self


class Curves(Part):
    """Curves of one slice."""

    roc: Roc
    det: Det


class Histogram(Part):
    """How scores are spread, real against fake.

    Attributes:
        scale: ``pred_prob`` (from 0 to 1) or ``logit``.
        edges: Edges of the bins, one more than there are bins; the last bin holds its upper edge.
        real: Reals in each bin.
        fake: Fakes in each bin.
    """

    scale: Literal["pred_prob", "logit"]
    edges: list[float]
    real: list[Count]
    fake: list[Count]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        check_same_lengths(self.edges[1:], self.real, self.fake)
        return self


class ReliabilityBin(Part):
    """One bin of the reliability diagram; bins without items are left out.

    Attributes:
        low: Lower edge; the bin holds it.
        high: Upper edge; the last bin alone holds it.
        n: Items.
        mean_prob: Their mean ``pred_prob``.
        share_fake: How many of them are fake.
    """

    low: float
    high: float
    n: Count
    mean_prob: float
    share_fake: Estimate


def _complete(estimates: dict[str, Estimate]) -> dict[str, Estimate]:
    """Add the metrics that a file lacks as undefined, so that each can be looked up."""
    from earwitness.metrics.measures import METRICS

    lacking = {name: Estimate(reason="not in the file") for name in METRICS}
    return lacking | estimates if lacking.keys() - estimates.keys() else estimates


class Slice(Part):
    """Metrics of one detector on some of the items.

    Attributes:
        detector: The detector.
        kind: ``overall`` (every item once), ``dataset`` (one manifest), ``corpus`` (one
            ``source_dataset``), ``generator`` (fakes of one generator), ``grid`` (reals of one
            corpus against fakes of one generator), ``sonics`` (upstream's partitions), ``column``
            (one value of a column that was asked for).
        name: What people read ("FMA × encodec24").
        keys: What it was cut by: ``dataset``, ``corpus``, ``real_corpus``, ``fake_corpus``,
            ``generator``, ``partition`` and ``value``, or ``column`` and ``value``.
        headline: The metric that speaks for a slice of one kind alone: upstream's choice for a
            SONICS partition (``recall``, ``specificity``, ``f1_macro``); ``None`` elsewhere.
        coverage: The rows that metrics are computed from.
        counts: How decisions fell out; ``None`` where there are no decisions.
        estimates: Metric → estimate; the same metrics in every slice.
        curves: ROC and DET; ``None`` where there are none, and ``no_curves`` says why.
        no_curves: Why there are no curves.
        histograms: How scores are spread; overall and per data set only.
        reliability: Bins of the reliability diagram; overall and per data set only.
    """

    detector: str
    kind: SliceKind
    name: str
    keys: dict[str, str] = Field(default_factory=dict)
    headline: str | None = None
    coverage: Coverage
    counts: WholeCounts | None = None
    estimates: Annotated[dict[str, Estimate], AfterValidator(_complete)]
    curves: Curves | None = None
    no_curves: str | None = None
    histograms: list[Histogram] = Field(default_factory=list)
    reliability: list[ReliabilityBin] = Field(default_factory=list)


class TableRow(Part):
    """A row of the published comparison table.

    Attributes:
        model: The detector.
        dataset: The dataset.
        counts: How its decisions fell out.
        values: Column → value, ``None`` where the published table has an empty cell.
        by_construction: Columns that the lack of one class alone decides; a page marks them.
        n_lost: Rows without a score, which are not counted.
    """

    model: str
    dataset: str
    counts: WholeCounts
    values: dict[str, float | None]
    by_construction: list[str] = Field(default_factory=list)
    n_lost: Count = 0
