"""Schema of ``metrics.json``, which holds everything a report shows.

Conventions: 0 is real, 1 is fake, scores rise with fakeness. See ``docs/metrics-json.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from earwitness.audit.schema import AuditReport
from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import Count, Estimate
from earwitness.core.io import read_model, write_text
from earwitness.evaluation.identity import Aggregate
from earwitness.evaluation.slices import Part, Slice, SliceKind, StratumThreshold, TableRow
from earwitness.evaluation.timeline import Localisation
from earwitness.metrics.sample import Costs, Options

SCHEMA_VERSION: Final = 1
"""Version of the file; raised if an old reader would misread a new file."""

BaselineName = Literal["container", "channel"]
CalibrationMethod = Literal["temperature", "platt"]


class Mistake(Part):
    """A wrong decision far from the threshold.

    Attributes:
        filepath: Path in the predictions; empty if unknown.
        dataset: Name of the manifest.
        corpus: ``source_dataset``.
        generator: Generator of a fake.
        target: 0 real, 1 fake.
        pred_prob: Score from 0 to 1.
        logit: Score on the real line.
    """

    filepath: str
    dataset: str
    corpus: str | None = None
    generator: str | None = None
    target: Literal[0, 1]
    pred_prob: float | None = None
    logit: float | None = None


class Flagged(Mistake):
    """A flagged item, rightly or not, with the detector's columns of it, name → value."""

    details: dict[str, float | int | str | None]


class Prevalence(Part):
    """Precision at one prevalence of fakes, with a conservative interval."""

    prevalence: float
    precision: Estimate


class Claim(Part):
    """Number of reals needed to claim a false positive rate.

    Attributes:
        fpr: Claimed upper bound of the rate, at the confidence level of the evaluation.
        n_reals: Independent reals (groups) needed if none is flagged.
        n_reals_here: Groups of reals in the evaluation.
        n_flagged_here: Flagged reals in the evaluation; ``None`` without decisions.
        n_reals_flagged: Independent reals needed with that many flags; ``None`` likewise.
    """

    fpr: float
    n_reals: Count
    n_reals_here: Count
    n_flagged_here: Count | None = None
    n_reals_flagged: Count | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the evaluated reals support the claim."""
        return self.n_reals_flagged is not None and self.n_reals_here >= self.n_reals_flagged


class OperatingPoint(Part):
    """Error rates and precision of a detector at its decision threshold.

    Attributes:
        detector: Name of the detector.
        rule: Threshold rule, or ``file`` (decisions of the predictions).
        threshold: Least ``pred_prob`` (or logit) called fake; ``None`` for ``file``, or with
            ``reason``.
        fitted_on: Name of the rows of the fit; ``None`` without a fit.
        n_fitted: Number of items of the fit.
        recall: Recall on the reported rows.
        specificity: Specificity on the reported rows.
        false_flags_per_100k: Reals called fake per 100 000.
        prevalences: Precision at several prevalences.
        claims: Reals needed to claim several false positive rates.
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


class Transfer(Part):
    """A threshold fitted on one corpus and applied to another.

    It is fitted on one half of the groups and applied to the other half, also within a corpus.

    Attributes:
        detector: Name of the detector.
        rule: Threshold rule ("fpr=0.05").
        fitted_on: Corpus of the fit.
        threshold: Fitted threshold; ``None`` with a ``reason``.
        applied_to: Corpus that it is applied to.
        fpr: False positive rate there.
        recall: Recall there.
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


class Calibration(Part):
    """A fitted map from scores to probabilities; metrics are computed after it.

    ``pred_prob`` becomes the logistic function of ``scale * logit + offset``.

    Attributes:
        detector: Name of the detector.
        method: ``temperature`` (offset 0) or ``platt``.
        scale: Factor of the logits.
        offset: Offset of the logits.
        fitted_on: Name of the rows of the fit.
        n_fitted: Number of items of the fit.
        prevalence_fitted: Share of fakes among them, for which the probabilities hold.
        before: Log loss, Brier score and ECE of the reported rows before calibration.
        after: The same after calibration.
    """

    detector: str
    method: CalibrationMethod
    scale: float
    offset: float
    fitted_on: str
    n_fitted: Count
    prevalence_fitted: float
    before: dict[str, Estimate]
    after: dict[str, Estimate]


class Baseline(Part):
    """AUROC of a metadata-only baseline on one slice.

    Attributes:
        baseline: ``container`` (length, rate, codec, tags, level) or ``channel`` (also bandwidth,
            silence, stereo and the like).
        kind: Kind of the slice.
        name: Name of the slice.
        keys: Keys of the slice.
        auroc: Its AUROC, which a detector has to exceed.
    """

    baseline: BaselineName
    kind: Literal["overall", "grid"]
    name: str
    keys: dict[str, str] = Field(default_factory=dict)
    auroc: Estimate


class Check(Part):
    """A check of the predictions.

    Attributes:
        detector: Name of the detector; ``None`` for all.
        name: ``constant_scores``, ``few_distinct_scores``, ``one_decision``, ``below_chance``,
            ``rows_lost`` or ``audit_bound``.
        verdict: ``ok``, ``note`` (for information) or ``warning`` (metrics may mislead).
        detail: The result in a sentence.
    """

    detector: str | None
    name: str
    verdict: Literal["ok", "note", "warning"]
    detail: str


class DetectorInfo(Part):
    """A detector.

    Attributes:
        name: Name in the predictions.
        preprocessing: Preprocessing of all rows; ``None`` is unknown.
        windows: Scored windows of all rows; ``None`` is unknown.
        weights_sha256: SHA-256 of its weights, if recorded in the run folder.
        card: Its card, if recorded in the run folder.
        one_sided: It only finds traces: what it does not flag is not called real.
        worst_false_alarms: Reals with the highest scores, highest first.
        worst_misses: Fakes with the lowest scores, lowest first.
        flagged: Items in which it says what it found: of each corpus and generator in turn the one
            with the highest score, reals first.
    """

    name: str
    preprocessing: str | None = None
    windows: str | None = None
    weights_sha256: str | None = None
    card: dict[str, Any] | None = None
    one_sided: bool = False
    worst_false_alarms: list[Mistake] = Field(default_factory=list)
    worst_misses: list[Mistake] = Field(default_factory=list)
    flagged: list[Flagged] = Field(default_factory=list)


class ManifestInfo(Part):
    """An evaluated manifest.

    Attributes:
        name: Name in the ``dataset`` column of the tables.
        digest: ``Manifest.digest``; ``None`` if the predictions lack a manifest's columns.
        n_items: Number of items.
        n_real: Number of reals.
        n_fake: Number of fakes.
        roots: Roots of relative paths, if recorded in the run folder.
    """

    name: str
    digest: str | None = None
    n_items: Count
    n_real: Count
    n_fake: Count
    roots: list[str] = Field(default_factory=list)


class Source(Part):
    """A file of predictions.

    Attributes:
        path: The file, or names for predictions from memory.
        sha256: SHA-256 of the file; ``None`` for predictions from memory.
        detector: Name of the detector.
        dataset: Name of the dataset.
        n_rows: Number of rows.
        role: ``evaluation`` or ``calibration``.
        key_sha256: SHA-256 of the key file of an ASVspoof score file.
    """

    path: str
    sha256: str | None = None
    detector: str
    dataset: str
    n_rows: Count
    role: Literal["evaluation", "calibration"] = "evaluation"
    key_sha256: str | None = None


class Settings(Part):
    """Options of an evaluation.

    Attributes:
        confidence: Confidence level of the intervals.
        seed: Random seed of resampling and of the calibration half.
        n_resamples: Number of bootstrap resamples.
        threshold: Threshold rule, see ``thresholds.EXPECTED``; ``cost`` takes the costs below.
        within: Columns of the strata with a threshold each.
        calibrate: Calibration method.
        by: Columns of further slices.
        aggregate: How several rows of one file became one item; ``None``: each file had one row.
        half: Whether metrics are of one half of the groups, the other being used for the fit.
        p_fake: Assumed prevalence of fakes of minDCF and actDCF (ASVspoof 5: 0.05).
        c_false_alarm: Cost of a real called fake (``C_miss`` of ASVspoof 5: 1).
        c_miss: Cost of a fake called real (``C_fa`` of ASVspoof 5: 10).
        n_ece_bins: Number of equal-width bins of ECE and of the reliability diagram.
    """

    confidence: float = 0.95
    seed: int = 0
    n_resamples: Count = 2000
    threshold: str = "file"
    calibrate: CalibrationMethod | None = None
    within: list[str] = Field(default_factory=list)
    by: list[str] = Field(default_factory=list)
    aggregate: Aggregate | None = None
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


class Provenance(Part):
    """Versions, files and settings of an evaluation."""

    earwitness: str
    python: str
    libraries: dict[str, str]
    sources: list[Source]
    settings: Settings


class Metrics(Part):
    """Metrics of every slice, and everything else a report shows.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        basis: ``scores``, ``labels`` (decisions alone) or ``counts`` (a comparison table alone).
        metrics: Label of each metric, in display order.
        detectors: The detectors.
        manifests: The manifests.
        slices: Metrics of each slice.
        table: The published comparison table.
        operating_points: Operating point of each detector.
        transfers: Thresholds applied to other corpora.
        strata: Thresholds fitted within strata.
        localisation: Scores over time against labelled segments.
        calibrations: Calibration of each detector, if any.
        checks: Checks of the predictions.
        notes: Notes for the reader.
        audit: Audit of these manifests, as in ``audit.json``.
        baselines: Metadata-only baselines, if the audit is of exactly these manifests.
        provenance: Versions, files and options.
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
    strata: list[StratumThreshold] = Field(default_factory=list)
    localisation: list[Localisation] = Field(default_factory=list)
    calibrations: list[Calibration] = Field(default_factory=list)
    checks: list[Check] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    audit: AuditReport | None = None
    baselines: list[Baseline] = Field(default_factory=list)
    provenance: Provenance

    def where(self, *, kind: SliceKind | None = None, detector: str | None = None) -> list[Slice]:
        """Return the slices of a kind, a detector or both, in order."""
        return [
            part
            for part in self.slices
            if kind in (None, part.kind) and detector in (None, part.detector)
        ]


def write_metrics(metrics: Metrics, path: str | Path) -> None:
    """Write ``metrics.json``, atomically."""
    write_text(Path(path), metrics.model_dump_json(indent=1) + "\n")


def read_metrics(path: str | Path) -> Metrics:
    """Read ``metrics.json``, without checks that are retired.

    Raises:
        PredictionsError: The file cannot be read or is not a ``metrics.json``.
    """
    expected = f"a metrics.json, schema_version {SCHEMA_VERSION}"
    metrics = read_model(Path(path), Metrics, error=PredictionsError, expected=expected)
    kept = [check for check in metrics.checks if check.name != "label_shuffle"]  # it cannot fail
    return metrics.model_copy(update={"checks": kept})
