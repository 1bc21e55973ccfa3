"""What an evaluation found, and its file, ``metrics.json``.

Conventions: 0 is real, 1 is fake, scores rise with fakeness; the file holds everything a
report shows. ``docs/metrics-json.md`` describes the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from earwitness.audit.schema import AuditReport
from earwitness.core.errors import PredictionsError
from earwitness.core.estimate import Count, Estimate
from earwitness.core.io import read_model, write_text
from earwitness.evaluation.slice_schema import Part, Slice, SliceKind, TableRow
from earwitness.metrics.sample import Costs, Options

SCHEMA_VERSION: Final = 1
"""Version of the file; it rises when a reader of the old form would misread the new one."""

_RETIRED_CHECKS = frozenset({"label_shuffle"})
"""Checks that older files hold and that are no longer shown: they could not fail."""

BaselineName = Literal["container", "channel"]


class Mistake(Part):
    """An item that was decided wrongly, and far from the threshold.

    Attributes:
        filepath: The file as the predictions name it; empty if they name none.
        dataset: The dataset (manifest).
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


class Prevalence(Part):
    """Precision at one prevalence of fakes.

    Attributes:
        prevalence: Share of fakes in what comes in.
        precision: Share of flags that are right. Its interval takes recall and specificity at
            the worse (and the better) ends of theirs, so it is wide rather than narrow.
    """

    prevalence: float
    precision: Estimate


class Claim(Part):
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


class OperatingPoint(Part):
    """What a detector does at its decision threshold.

    Attributes:
        detector: The detector.
        rule: ``file`` (the decisions of the predictions), a number, ``eer``,
            ``fpr=0.01``, ``cost`` or ``cost=10``.
        threshold: ``pred_prob`` from which on an item is called fake (logit where there is no
            ``pred_prob``); ``None`` for ``file`` or where ``reason`` says that none was found.
        fitted_on: What it was fitted on ("calibration half", or the calibration files);
            ``None`` where it was not fitted.
        n_fitted: Items it was fitted on.
        recall: Share of fakes called fake, on the rows reported on.
        specificity: Share of reals called real, on the rows reported on.
        false_flags_per_100k: Reals called fake among 100 000.
        prevalences: Precision at some prevalences.
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


class Transfer(Part):
    """What a threshold that was fitted on one corpus does on another.

    Thresholds are fitted on one half of the groups and applied to the other half, so that
    ``fitted_on`` and ``applied_to`` may be the same corpus without any row in both.

    Attributes:
        detector: The detector.
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


class Calibration(Part):
    """A fitted map from scores to probabilities; metrics are after it.

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


class Baseline(Part):
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


class Check(Part):
    """A check of the predictions.

    Attributes:
        detector: Whose scores; ``None`` for all.
        name: What was checked: ``constant_scores``, ``few_distinct_scores``, ``one_decision``,
            ``below_chance``, ``rows_lost``, ``audit_bound``.
        verdict: ``ok``, ``note`` (for information) or ``warning`` (metrics may mislead).
        detail: What was found, in a sentence.
    """

    detector: str | None
    name: str
    verdict: Literal["ok", "note", "warning"]
    detail: str


class DetectorInfo(Part):
    """A detector.

    Attributes:
        name: The name it goes by in the predictions.
        preprocessing: How audio was fed to it, as the rows say; ``None`` is unknown.
        windows: Which clips of a file were scored, as the rows say.
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


class ManifestInfo(Part):
    """A manifest that was evaluated.

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


class Source(Part):
    """A file that metrics were computed from.

    Attributes:
        path: The file, or names where predictions came from memory.
        sha256: SHA-256 of its bytes; ``None`` for predictions from memory.
        detector: The detector.
        dataset: The dataset.
        n_rows: Rows.
        role: ``evaluation`` or ``calibration``.
        key_sha256: SHA-256 of the key file with the labels of an ASVspoof score file.
    """

    path: str
    sha256: str | None = None
    detector: str
    dataset: str
    n_rows: Count
    role: Literal["evaluation", "calibration"] = "evaluation"
    key_sha256: str | None = None


class Settings(Part):
    """What the evaluation was asked for.

    Attributes:
        confidence: Level of the intervals.
        seed: Seed of resampling and of the halves.
        n_resamples: Resamples of a group bootstrap.
        threshold: The rule of the operating points: ``file``, a number, ``eer``, ``fpr=0.01``,
            ``cost`` (prior and costs below) or ``cost=10`` (a miss costs ten false alarms).
        calibrate: ``temperature``, ``platt`` or ``None``.
        by: Columns that slices were cut by.
        aggregate: How several rows of one file became one item; ``None``: there were none.
        half: Whether metrics are of one half of the groups, the other being for fitting.
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


class Provenance(Part):
    """Versions, files and settings of an evaluation."""

    earwitness: str
    python: str
    libraries: dict[str, str]
    sources: list[Source]
    settings: Settings


class Metrics(Part):
    """Slice × metric → estimate, and everything a report shows beside it.

    Attributes:
        schema_version: ``SCHEMA_VERSION``.
        basis: ``scores``, ``labels`` (decisions without scores) or ``counts`` (a comparison table
            alone).
        metrics: Metrics of the slices, in the order to show them: name → words for people.
        detectors: The detectors.
        manifests: The manifests.
        slices: Metrics of each slice.
        table: The published comparison table.
        operating_points: One a detector.
        transfers: What thresholds do on other corpora.
        calibrations: One a detector, where calibration was asked for.
        checks: Checks of the predictions.
        notes: Notes for the reader, in sentences.
        audit: The audit of these manifests, as ``audit.json`` holds it; ``None`` without one.
        baselines: What files give away unheard, by the audit; empty where it is not of these
            very manifests.
        provenance: Versions, files and settings of an evaluation.
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
