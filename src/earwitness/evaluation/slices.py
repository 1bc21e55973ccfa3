"""Slices: their schema in ``metrics.json``, their rows, and SONICS's published partitions.

Conventions: every item is in a slice once, except in slices of kind ``dataset``. SONICS's authors
slice fakes by algorithm and by the share of a song that is fake (recall), reals by whether the
singer was in the training set (``artist_overlap``; specificity), both by duration (macro F1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from earwitness.core.estimate import Count, Counts, Estimate
from earwitness.evaluation.identity import deduplicate
from earwitness.splits.grouping import list_cells, list_makers, split_by

SliceKind = Literal["overall", "dataset", "corpus", "generator", "grid", "sonics", "column"]


class Part(BaseModel):
    """A part of ``metrics.json``: frozen, with known fields only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_lengths(*columns: Sequence[float | None]) -> None:
    if len(set(map(len, columns))) > 1:
        raise ValueError(f"lengths {', '.join(str(len(c)) for c in columns)}, expected the same")


class Coverage(Part):
    """Number of rows of a slice by outcome.

    Attributes:
        n_items: Items, including missing ones.
        n_scored: Items with a score, which metrics are computed from.
        n_abstained: Items the detector abstained from.
        n_failed: Items with an error.
        n_missing: Items of the dataset that other detectors scored and this one has no row for.
        n_real: Scored reals.
        n_fake: Scored fakes.
        n_real_lost: Reals without a score.
        n_fake_lost: Fakes without a score.
        n_real_abstained: Reals the detector abstained from.
        n_fake_abstained: Fakes the detector abstained from.
        n_groups: Groups of scored items.
        n_groups_real: Groups with a scored real.
        n_groups_fake: Groups with a scored fake; a group may have both.
        errors: Counts of the most common errors.
        abstentions: Counts of the most common reasons to abstain.
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
    n_real_abstained: Count = 0
    n_fake_abstained: Count = 0
    n_groups: Count
    n_groups_real: Count
    n_groups_fake: Count
    errors: dict[str, Count] = Field(default_factory=dict)
    abstentions: dict[str, Count] = Field(default_factory=dict)

    @property
    def n_lost(self) -> int:
        """Items without a score."""
        return self.n_items - self.n_scored


class Roc(Part):
    """ROC curve, thinned; both rates rise from 0 to 1.

    Attributes:
        fpr: False positive rates.
        tpr: True positive rates.
        threshold: Least ``pred_prob`` (or logit) called fake; ``None`` at the first point, where
            nothing is.
    """

    fpr: list[float]
    tpr: list[float]
    threshold: list[float | None]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        _check_lengths(self.fpr, self.tpr, self.threshold)
        return self


class Det(Part):
    """DET curve, thinned, with probits for linear axes; points with a rate of 0 or 1 are left out.

    Attributes:
        fpr: False positive rates.
        fnr: False negative rates.
        probit_fpr: Probits of ``fpr``.
        probit_fnr: Probits of ``fnr``.
    """

    fpr: list[float]
    fnr: list[float]
    probit_fpr: list[float]
    probit_fnr: list[float]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        _check_lengths(self.fpr, self.fnr, self.probit_fpr, self.probit_fnr)
        return self


class RiskCoverage(Part):
    """Risk-coverage curve, thinned: items by descending confidence.

    Attributes:
        coverage: Share of the items scored or abstained from that are accepted, rising to the
            detector's own coverage.
        risk: Share of errors among the accepted items.
        confidence: Least distance of the logit from that of the threshold that is accepted.
    """

    coverage: list[float]
    risk: list[float]
    confidence: list[float]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        _check_lengths(self.coverage, self.risk, self.confidence)
        return self


class Curves(Part):
    """Curves of one slice."""

    roc: Roc
    det: Det
    risk_coverage: RiskCoverage | None = None


class Histogram(Part):
    """Histogram of scores by class.

    Attributes:
        scale: ``pred_prob`` or ``logit``.
        edges: Bin edges; the last bin includes its upper edge.
        real: Number of reals per bin.
        fake: Number of fakes per bin.
    """

    scale: Literal["pred_prob", "logit"]
    edges: list[float]
    real: list[Count]
    fake: list[Count]

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        _check_lengths(self.edges[1:], self.real, self.fake)
        return self


class ReliabilityBin(Part):
    """One bin of the reliability diagram; empty bins are left out.

    Attributes:
        low: Lower edge, inclusive.
        high: Upper edge, exclusive except in the last bin.
        n: Number of items.
        mean_prob: Mean ``pred_prob``.
        share_fake: Share of fakes.
    """

    low: float
    high: float
    n: Count
    mean_prob: float
    share_fake: Estimate


def _complete(estimates: dict[str, Estimate]) -> dict[str, Estimate]:
    """Add the metrics missing from a file as undefined."""
    from earwitness.metrics.measures import METRICS

    lacking = {name: Estimate(reason="not in the file") for name in METRICS}
    return lacking | estimates if lacking.keys() - estimates.keys() else estimates


class Slice(Part):
    """Metrics of one detector on a subset of the items.

    Attributes:
        detector: Name of the detector.
        kind: ``overall`` (every item once), ``dataset`` (one manifest), ``corpus`` (one
            ``source_dataset``), ``generator`` (fakes of one generator), ``grid`` (reals of one
            corpus and fakes of one generator), ``sonics`` (published partitions) or ``column``.
        name: Display name ("FMA × encodec24").
        keys: Values that select the items: ``dataset``, ``corpus``, ``real_corpus``,
            ``fake_corpus``, ``generator``, ``partition``, ``column`` and ``value``.
        headline: Published metric of a SONICS partition; else ``None``.
        coverage: Number of rows by outcome.
        counts: Confusion counts; ``None`` without decisions.
        estimates: Every metric.
        curves: ROC and DET; ``None`` with a reason in ``no_curves``.
        no_curves: Why there are no curves.
        histograms: Histograms of scores; overall and by dataset only.
        reliability: Reliability diagram; overall and by dataset only.
    """

    detector: str
    kind: SliceKind
    name: str
    keys: dict[str, str] = Field(default_factory=dict)
    headline: str | None = None
    coverage: Coverage
    counts: Counts | None = None
    estimates: Annotated[dict[str, Estimate], AfterValidator(_complete)]
    curves: Curves | None = None
    no_curves: str | None = None
    histograms: list[Histogram] = Field(default_factory=list)
    reliability: list[ReliabilityBin] = Field(default_factory=list)


class StratumThreshold(Part):
    """A threshold fitted within one stratum, with its rates on the reported rows of it.

    Attributes:
        detector: Name of the detector.
        rule: Threshold rule.
        stratum: Value of each column.
        threshold: Fitted threshold; ``None`` with a ``reason``, as the detector then abstains.
        n_fitted: Number of items of the fit.
        fpr: False positive rate.
        recall: Recall.
        reason: Why there is no threshold.
    """

    detector: str
    rule: str
    stratum: dict[str, str]
    threshold: float | None = None
    n_fitted: Count = 0
    fpr: Estimate
    recall: Estimate
    reason: str | None = None


class TableRow(Part):
    """A row of the published comparison table.

    Attributes:
        model: Name of the detector.
        dataset: Name of the dataset.
        counts: Its confusion counts.
        values: Values by column; ``None`` for an empty cell.
        by_construction: Columns determined by the lack of one class.
        n_lost: Number of rows without a score, not counted.
        n_abstained: Number of those that the detector abstained from.
    """

    model: str
    dataset: str
    counts: Counts
    values: dict[str, float | None]
    by_construction: list[str] = Field(default_factory=list)
    n_lost: Count = 0
    n_abstained: Count = 0


@dataclass(frozen=True)
class RowSlice:
    """Rows of one detector in a slice, lost ones included; fields as in ``Slice``."""

    kind: SliceKind
    name: str
    keys: dict[str, str]
    rows: pl.DataFrame
    headline: str | None = None


def slice_rows(frame: pl.DataFrame, by: Sequence[str]) -> Iterator[RowSlice]:
    """Yield the slices of one detector's rows, also by further columns ``by:<column>``."""
    items = deduplicate(frame)
    yield RowSlice("overall", "overall", {}, items)
    for name, rows in split_by(frame, "dataset"):
        yield RowSlice("dataset", name, {"dataset": name}, rows)
    for name, rows in split_by(items, "corpus"):
        yield RowSlice("corpus", name, {"corpus": name}, rows)
    for maker in list_makers(items):
        yield RowSlice("generator", maker.name, maker.keys, maker.rows)
    for cell in list_cells(items):
        yield RowSlice("grid", cell.name, cell.keys, cell.rows)
    for partition, headline in HEADLINES.items():
        column = f"sonics:{partition}"
        for value, rows in split_by(items.drop_nulls(column), column):
            name = f"SONICS {partition.replace('_', ' ')}: {value}"
            yield RowSlice("sonics", name, {"partition": partition, "value": value}, rows, headline)
    for column in by:
        for value, rows in split_by(items, f"by:{column}"):
            yield RowSlice("column", f"{column} {value}", {"column": column, "value": value}, rows)


def count_rows(rows: pl.DataFrame) -> Coverage:
    """Count the rows of one detector by outcome."""
    scored = rows.filter(pl.col("state") == "scored")
    lost = rows.filter(pl.col("state") != "scored")
    real, fake = (scored.filter(pl.col("target") == label) for label in (0, 1))
    failed, abstained = (rows.filter(pl.col("state") == s) for s in ("failed", "abstained"))
    return Coverage(
        n_items=rows.height,
        n_scored=scored.height,
        n_abstained=abstained.height,
        n_failed=failed.height,
        n_missing=lost.height - failed.height - abstained.height,
        n_real=real.height,
        n_fake=fake.height,
        n_real_lost=int((lost["target"] == 0).sum()),
        n_fake_lost=int((lost["target"] == 1).sum()),
        n_real_abstained=int((abstained["target"] == 0).sum()),
        n_fake_abstained=int((abstained["target"] == 1).sum()),
        n_groups=scored["group"].n_unique(),
        n_groups_real=real["group"].n_unique(),
        n_groups_fake=fake["group"].n_unique(),
        errors=_most_common(failed, "error"),
        abstentions=_most_common(abstained, "abstained"),
    )


def _most_common(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counted = rows.group_by(column).len().sort(["len", column], descending=[True, False])
    return {str(reason): int(n) for reason, n in counted.head(5).rows()}


HEADLINES = {
    "algorithm": "recall",
    "singer": "specificity",
    "fake_type": "recall",
    "length": "f1_macro",
}
"""Published metric of each SONICS partition."""


def partition_columns(frame: pl.DataFrame) -> list[pl.Expr]:
    """Return the columns ``sonics:<partition>``; null in rows outside the partition."""
    if "source_dataset" in frame.columns and frame["source_dataset"].count():
        source = pl.col("source_dataset").cast(pl.String).str.strip_chars().str.to_lowercase()
        is_sonics = (source == "sonics").fill_null(value=False)
    else:
        is_sonics = pl.lit("artist_overlap" in frame.columns)  # a column of SONICS alone
    fake = pl.col("target") == 1
    overlap = _text(frame, "artist_overlap").str.to_lowercase()
    seen, unseen = ("true", "1", "1.0"), ("false", "0", "0.0")
    singer = (
        pl.when(overlap.is_in(seen))
        .then(pl.lit("seen"))
        .when(overlap.is_in(unseen))
        .then(pl.lit("unseen"))
    )
    label = _text(frame, "label").str.to_lowercase().str.replace_all("_", " ")
    duration_s = pl.coalesce(
        _text(frame, name).cast(pl.Float64, strict=False) for name in ("duration_s", "duration")
    )
    length = (
        pl.when(duration_s <= 60)
        .then(pl.lit("short"))
        .when(duration_s > 120)
        .then(pl.lit("long"))
        .when(duration_s.is_not_null())
        .then(pl.lit("medium"))
    )
    fake_types = ("full fake", "half fake", "mostly fake")
    values = {
        "algorithm": pl.when(fake).then(
            pl.coalesce(_text(frame, "algorithm"), _text(frame, "generator"))
        ),
        "singer": pl.when(~fake).then(singer),
        "fake_type": pl.when(fake & label.is_in(fake_types)).then(label),
        "length": length,
    }
    return [
        pl.when(is_sonics).then(value).cast(pl.String).alias(f"sonics:{name}")
        for name, value in values.items()
    ]


def _text(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String)
    stripped = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)
