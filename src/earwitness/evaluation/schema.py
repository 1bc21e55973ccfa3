"""What an evaluation found, and its file, ``metrics.json``.

Conventions: 0 is real, 1 is fake, scores rise with fakeness; everything a report shows stands in
here, so that a page can be made from the file alone. ``docs/metrics-json.md`` describes the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from earwitness.audit.schema import AuditReport
from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import Count, Counts, Estimate
from earwitness.core.io import read_model, write_text
from earwitness.metrics.sample import Costs, Options

SCHEMA_VERSION: Final = 1
"""Version of the file; it rises when a reader of the old form would misread the new one."""

_RETIRED_CHECKS = frozenset({"label_shuffle"})
"""Checks that older files hold and that are no longer shown: they could not fail."""

BaselineName = Literal["container", "channel"]
SliceKind = Literal["overall", "dataset", "corpus", "generator", "grid", "sonics", "column"]


def _whole(counts: Counts) -> Counts:
    _COUNTS.validate_python([counts.tp, counts.tn, counts.fp, counts.fn])
    return counts


_COUNTS: Final = TypeAdapter(list[Count])

WholeCounts = Annotated[Counts, AfterValidator(_whole)]
"""Counts from a file."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _same_lengths(*columns: Sequence[float | None]) -> None:
    if len(set(map(len, columns))) > 1:
        raise ValueError(f"lengths {', '.join(str(len(c)) for c in columns)}, expected the same")


class Coverage(_Part):
    """Which rows the figures are made of.

    Attributes:
        n_items: Items that were to be judged, missing ones among them.
        n_scored: Items with a score: those the figures are made of.
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


class Roc(_Part):
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
        _same_lengths(self.fpr, self.tpr, self.threshold)
        return self


class Det(_Part):
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
        _same_lengths(self.fpr, self.fnr, self.probit_fpr, self.probit_fnr)
        return self


class Curves(_Part):
    """Curves of one slice."""

    roc: Roc
    det: Det


class Histogram(_Part):
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
        _same_lengths(self.edges[1:], self.real, self.fake)
        return self


class ReliabilityBin(_Part):
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


class Mistake(_Part):
    """An item that was decided wrongly, and far from the threshold.

    Attributes:
        filepath: The file, as it stands in the predictions; empty where they name none.
        dataset: The set (manifest) it was judged in.
        corpus: ``source_dataset``.
        generator: What made it, for a fake.
        target: 0 real, 1 fake.
        pred_prob: Score between 0 and 1, high for fake.
        logit: Score on the whole line.
    """

    filepath: str
    dataset: str
    corpus: str | None = None
    generator: str | None = None
    target: Literal[0, 1]
    pred_prob: float | None = None
    logit: float | None = None


class Slice(_Part):
    """Figures of one detector on some of the items.

    Attributes:
        detector: Who judged.
        kind: ``overall`` (every item once), ``dataset`` (one manifest), ``corpus`` (one
            ``source_dataset``), ``generator`` (fakes of one generator), ``grid`` (reals of one
            corpus against fakes of one generator), ``sonics`` (upstream's partitions), ``column``
            (one value of a column that was asked for).
        name: What people read ("FMA × encodec24").
        keys: What it was cut by: ``dataset``, ``corpus``, ``real_corpus``, ``fake_corpus``,
            ``generator``, ``partition`` and ``value``, or ``column`` and ``value``.
        headline: The metric that speaks for a slice of one kind alone: upstream's choice for a
            SONICS partition (``recall``, ``specificity``, ``f1_macro``); ``None`` elsewhere.
        coverage: Which rows the figures are made of.
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
    estimates: dict[str, Estimate]
    curves: Curves | None = None
    no_curves: str | None = None
    histograms: list[Histogram] = Field(default_factory=list)
    reliability: list[ReliabilityBin] = Field(default_factory=list)


class TableRow(_Part):
    """A row of the published comparison table.

    Attributes:
        model: The detector.
        dataset: What it judged.
        counts: How its decisions fell out.
        values: Column → figure, ``None`` where the published table has an empty cell.
        by_construction: Columns that the lack of one class alone decides; a page marks them.
        n_lost: Rows without a score, which are not counted.
    """

    model: str
    dataset: str
    counts: WholeCounts
    values: dict[str, float | None]
    by_construction: list[str] = Field(default_factory=list)
    n_lost: Count = 0


class Prevalence(_Part):
    """What a flag is worth where this share of what comes in is fake.

    Attributes:
        prevalence: Share of fakes in what comes in.
        precision: Share of flags that are right. Its interval takes recall and specificity at
            the worse (and the better) ends of theirs, so it is wide rather than narrow.
    """

    prevalence: float
    precision: Estimate


class Claim(_Part):
    """How many reals it takes to claim a false positive rate.

    Attributes:
        fpr: The rate to claim, "at most this", with the evaluation's confidence.
        n_reals: Independent reals (groups) that it takes if none of them is flagged.
        n_reals_here: Groups with a real that there are here.
        n_flagged_here: Reals among them that are flagged; ``None`` without decisions.
        n_reals_flagged: Independent reals that it takes with as many flagged; ``None`` likewise.
    """

    fpr: float
    n_reals: Count
    n_reals_here: Count
    n_flagged_here: Count | None = None
    n_reals_flagged: Count | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the reals here, with those that are flagged, bound the rate by ``fpr``."""
        return self.n_reals_flagged is not None and self.n_reals_here >= self.n_reals_flagged


class OperatingPoint(_Part):
    """What a detector does at its decision threshold.

    Attributes:
        detector: Who judges.
        rule: ``file`` (decisions as they stand in the predictions), a number, ``eer``,
            ``fpr=0.01``, ``cost`` or ``cost=10``.
        threshold: ``pred_prob`` from which on an item is called fake (logit where there is no
            ``pred_prob``); ``None`` for ``file`` or where ``reason`` says that none was found.
        fitted_on: What it was fitted on ("calibration half", or the calibration files);
            ``None`` where it was not fitted.
        n_fitted: Items it was fitted on.
        recall: Share of fakes called fake, on the rows reported on.
        specificity: Share of reals called real, on the rows reported on.
        false_flags_per_100k: Reals called fake among 100 000.
        prevalences: What a flag is worth at some prevalences.
        claims: What it takes to claim some false positive rates.
        reason: Why there is no threshold.
    """

    detector: str
    rule: str
    threshold: float | None = None
    fitted_on: str | None = None
    n_fitted: Count = 0
    recall: Estimate
    specificity: Estimate
    false_flags_per_100k: Estimate
    prevalences: list[Prevalence]
    claims: list[Claim]
    reason: str | None = None


class Transfer(_Part):
    """What a threshold that was fitted on one corpus does on another.

    Thresholds are fitted on one half of the groups and applied to the other half, so that
    ``fitted_on`` and ``applied_to`` may be the same corpus without any row in both.

    Attributes:
        detector: Who judges.
        rule: How the threshold was fitted ("fpr=0.05").
        fitted_on: Corpus it was fitted on.
        threshold: What came out; ``None`` where the rule could not be met, with ``reason``.
        applied_to: Corpus that it was applied to.
        fpr: Share of its reals that are called fake.
        recall: Share of its fakes that are called fake.
        reason: Why there is no threshold.
    """

    detector: str
    rule: str
    fitted_on: str
    threshold: float | None = None
    applied_to: str
    fpr: Estimate
    recall: Estimate
    reason: str | None = None


class Calibration(_Part):
    """A map from scores to probabilities that was fitted; figures are after it.

    ``pred_prob`` becomes the logistic function of ``scale * logit + offset``.

    Attributes:
        detector: Whose scores.
        method: ``temperature`` (offset 0) or ``platt``.
        scale: What logits are multiplied by.
        offset: What is added.
        fitted_on: What it was fitted on.
        n_fitted: Items it was fitted on.
        prevalence_fitted: Share of fakes among them: probabilities hold for this share.
        before: Log loss, Brier and ECE on the rows reported on, before.
        after: The same, after.
    """

    detector: str
    method: Literal["temperature", "platt"]
    scale: float
    offset: float
    fitted_on: str
    n_fitted: Count
    prevalence_fitted: float
    before: dict[str, Estimate]
    after: dict[str, Estimate]


class Baseline(_Part):
    """What files give away unheard in one slice: a detector that goes by the file alone.

    Attributes:
        baseline: ``container`` goes by length, rate, codec, tag and level; ``channel`` by
            bandwidth, silence, stereo and the like as well.
        kind: Of the slice.
        name: Of the slice.
        keys: Of the slice.
        auroc: What every detector has to beat there; undefined with the reason.
    """

    baseline: BaselineName
    kind: Literal["overall", "grid"]
    name: str
    keys: dict[str, str] = Field(default_factory=dict)
    auroc: Estimate


class Check(_Part):
    """Something that was looked into beside the figures.

    Attributes:
        detector: Whose scores; ``None`` for all.
        name: What was checked: ``constant_scores``, ``few_distinct_scores``, ``one_decision``,
            ``below_chance``, ``rows_lost``, ``audit_bound``.
        verdict: ``ok``, ``note`` (worth knowing) or ``warning`` (figures may mislead).
        detail: What was found, in a sentence.
    """

    detector: str | None
    name: str
    verdict: Literal["ok", "note", "warning"]
    detail: str


class DetectorInfo(_Part):
    """Who judged.

    Attributes:
        name: The name it goes by in the predictions.
        preprocessing: How audio was fed to it, as the rows say; ``None`` is unknown.
        windows: Which clips of a file were judged, as the rows say.
        weights_sha256: SHA-256 of its weights, where the run folder tells.
        card: Its card, where the run folder tells.
        worst_false_alarms: Reals that it was surest are fake, worst first.
        worst_misses: Fakes that it was surest are real, worst first.
    """

    name: str
    preprocessing: str | None = None
    windows: str | None = None
    weights_sha256: str | None = None
    card: dict[str, Any] | None = None
    worst_false_alarms: list[Mistake] = Field(default_factory=list)
    worst_misses: list[Mistake] = Field(default_factory=list)


class ManifestInfo(_Part):
    """What was judged.

    Attributes:
        name: Its name: what the ``dataset`` column of the tables says.
        digest: SHA-256 of its rows, ``Manifest.digest``; ``None`` where the predictions do not
            hold a manifest's columns.
        n_items: Its items.
        n_real: Reals among them.
        n_fake: Fakes among them.
        roots: Folders that its relative paths start from, where the run folder tells.
    """

    name: str
    digest: str | None = None
    n_items: Count
    n_real: Count
    n_fake: Count
    roots: list[str] = Field(default_factory=list)


class Source(_Part):
    """A file that figures were made from.

    Attributes:
        path: The file, or names where predictions came from memory.
        sha256: SHA-256 of its bytes; ``None`` for predictions from memory.
        detector: Who judged.
        dataset: What was judged.
        n_rows: Rows.
        role: ``evaluation`` or ``calibration``.
        key_sha256: SHA-256 of the key file that told the truth of an ASVspoof score file.
    """

    path: str
    sha256: str | None = None
    detector: str
    dataset: str
    n_rows: Count
    role: Literal["evaluation", "calibration"] = "evaluation"
    key_sha256: str | None = None


class Settings(_Part):
    """What the evaluation was asked for.

    Attributes:
        confidence: Level of the intervals.
        seed: Where resampling and halves start.
        n_resamples: Resamples of a group bootstrap.
        threshold: The rule of the operating points: ``file``, a number, ``eer``, ``fpr=0.01``,
            ``cost`` (prior and costs below) or ``cost=10`` (a miss costs ten false alarms).
        calibrate: ``temperature``, ``platt`` or ``None``.
        by: Columns that slices were cut by.
        aggregate: How several rows of one file became one item; ``None``: there were none.
        half: Whether figures are of one half of the groups, the other being for fitting.
        p_fake: Share of fakes that minDCF and actDCF suppose (ASVspoof 5: 0.05).
        c_false_alarm: What a real called fake costs in them (ASVspoof 5 calls it C_miss: 1).
        c_miss: What a fake called real costs in them (ASVspoof 5 calls it C_fa: 10).
        n_ece_bins: Bins of ECE and of the reliability diagram, of equal width.
    """

    confidence: float = 0.95
    seed: int = 0
    n_resamples: Count = 2000
    threshold: str = "file"
    calibrate: Literal["temperature", "platt"] | None = None
    by: list[str] = Field(default_factory=list)
    aggregate: Literal["mean", "max"] | None = None
    half: bool = False
    p_fake: float = 0.05
    c_false_alarm: float = 1.0
    c_miss: float = 10.0
    n_ece_bins: Count = 15

    @property
    def options(self) -> Options:
        """The options of metrics."""
        costs = Costs(self.p_fake, self.c_false_alarm, self.c_miss)
        return Options(costs, self.n_ece_bins, self.confidence)


class Provenance(_Part):
    """Where the figures come from."""

    earwitness: str
    python: str
    libraries: dict[str, str]
    sources: list[Source]
    settings: Settings


class Metrics(_Part):
    """Slice × metric → estimate, and everything a report shows beside it.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        basis: ``scores``, ``labels`` (decisions without scores) or ``counts`` (a comparison table
            alone).
        metrics: Metrics of the slices, in the order to show them: name → words for people.
        detectors: Who judged.
        manifests: What was judged.
        slices: Figures.
        table: The published comparison table.
        operating_points: One a detector.
        transfers: What thresholds do on other corpora.
        calibrations: One a detector, where calibration was asked for.
        checks: What was looked into beside the figures.
        notes: What a reader of the figures should know, in sentences.
        audit: The audit of what was judged, as ``audit.json`` holds it; ``None`` without one.
        baselines: What files give away unheard, by the audit; empty where it is not of these
            very manifests.
        provenance: Where the figures come from.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    basis: Literal["scores", "labels", "counts"]
    metrics: dict[str, str]
    detectors: list[DetectorInfo]
    manifests: list[ManifestInfo]
    slices: list[Slice]
    table: list[TableRow]
    operating_points: list[OperatingPoint] = Field(default_factory=list)
    transfers: list[Transfer] = Field(default_factory=list)
    calibrations: list[Calibration] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    audit: AuditReport | None = None
    baselines: list[Baseline] = Field(default_factory=list)
    provenance: Provenance

    def where(self, *, kind: SliceKind | None = None, detector: str | None = None) -> list[Slice]:
        """Return the slices of a kind, of a detector or both, in order."""
        return [
            part
            for part in self.slices
            if kind in (None, part.kind) and detector in (None, part.detector)
        ]


def write_metrics(metrics: Metrics, path: str | Path) -> None:
    """Write ``metrics.json``, atomically."""
    write_text(Path(path), metrics.model_dump_json(indent=1) + "\n")


def read_metrics(path: str | Path) -> Metrics:
    """Read ``metrics.json``, without the checks of older versions that are no longer made.

    Raises:
        PredictionsError: The file cannot be read, or is not what ``write_metrics`` writes.
    """
    expected = f"a metrics.json, schema_version {SCHEMA_VERSION}"
    metrics = read_model(Path(path), Metrics, error=PredictionsError, expected=expected)
    kept = [check for check in metrics.checks if check.name not in _RETIRED_CHECKS]
    return metrics.model_copy(update={"checks": kept})
