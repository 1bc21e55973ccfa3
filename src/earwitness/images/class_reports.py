"""Reports on classified CSVs: text, confusion matrix, and JSON of all of them.

Conventions: rows without a label or a score are excluded and counted. Intervals are over
``group_id`` where the CSV has that column, else over rows. A metric that is undefined because one
class is missing is ``nan`` in the text and ``null`` in the JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.metrics import classification_report

from earwitness import __version__
from earwitness.core.cards import DetectorCard
from earwitness.core.estimate import ComparisonRow, Counts, Estimate
from earwitness.core.io import write_json, write_text
from earwitness.core.spectrogram import PUBLISHED_NAMES
from earwitness.evaluation.checks import REVERSED, looks_reversed
from earwitness.evaluation.estimates import count, estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.images.classify import Answers, Table
from earwitness.metrics.measures import METRICS
from earwitness.metrics.sample import Items, numbered
from earwitness.report.comparison import draw_confusion

AGGREGATE_JSON = "aggregate_test_reports.json"
POOLED = "all CSVs together"
_METRICS = ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc")


@dataclass(frozen=True)
class Report:
    """Metrics of one CSV, or of several.

    Attributes:
        name: Path of the CSV, or ``POOLED``.
        items: Rows with a label and a score.
        has_groups: Whether every CSV has a ``group_id``.
        n_failed: Labelled rows without a score.
        n_unlabelled: Rows without a label.
    """

    name: str
    items: Items
    has_groups: bool
    n_failed: int
    n_unlabelled: int

    @property
    def counts(self) -> Counts:
        """Confusion counts."""
        return count(self.items) or Counts(0, 0, 0, 0)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Metrics with their intervals."""
        return estimate_some(_METRICS, self.items, Settings())


def make_report(name: str, tables: Sequence[Table], answers: Answers, threshold: float) -> Report:
    """Return the report on the rows of some tables."""
    targets: list[int] = []
    logits: list[float] = []
    groups: list[str] = []
    n_failed = n_unlabelled = 0
    for table in tables:
        rows = zip(table.images, table.targets, table.groups or table.targets, strict=True)
        for at, (image, target, group) in enumerate(rows):
            if image is None:
                continue
            if target is None:
                n_unlabelled += 1
            elif not isinstance(image, Path) or image not in answers.logits:
                n_failed += 1
            else:
                own = f"{table.path}:{at}" if table.groups is None or not group else f"={group}"
                targets.append(target)
                logits.append(answers.logits[image])
                groups.append(own)
    return Report(
        name,
        make_items(targets, logits, groups, threshold),
        all(table.groups is not None for table in tables),
        n_failed,
        n_unlabelled,
    )


def make_items(
    targets: Sequence[int], logits: Sequence[float], groups: Sequence[str], threshold: float
) -> Items:
    """Return items of an image classifier, whose scores are its logits."""
    scores = np.array(logits, dtype=np.float64)
    probs = expit(scores)
    decisions = (probs >= threshold).astype(np.int64)
    labels = np.array(targets, dtype=np.int64)
    return Items(labels, numbered(groups), decisions, scores, scores, probs)


def format_counts(counts: Counts) -> dict[str, int]:
    """Return confusion counts under the names of the published files."""
    return {"TP": counts.tp, "TN": counts.tn, "FP": counts.fp, "FN": counts.fn}


def polarity_note(report: Report, card: DetectorCard) -> str | None:
    """Return a note where the polarity of the scores looks reversed, else ``None``."""
    auroc = report.estimates["auroc"]
    if not looks_reversed(auroc):
        return None
    names = ",".join(name.lower() for name in card.classes[::-1])
    return (
        f"{report.name}: AUROC {auroc.value:.3f}, far below 0.5: {REVERSED} (here output 0 is "
        f"{card.classes[0]}, output 1 is {card.classes[1]}; --classes {names} swaps them)"
    )


def write_report(report: Report, table: Table, card: DetectorCard) -> list[Path]:
    """Write ``<stem>_report.txt`` and ``<stem>.png`` beside a CSV and return their paths."""
    text = table.path.with_name(f"{table.path.stem}_report.txt")
    write_text(text, describe(report, card))
    row = ComparisonRow(card.name, table.path.stem, report.counts)
    return [text, draw_confusion(row, table.path.with_suffix(".png"))]


def describe(report: Report, card: DetectorCard) -> str:
    """Return a report as text: accuracy, scikit-learn's classification report, intervals."""
    estimates = report.estimates
    unit = "groups" if report.has_groups else "rows, assumed independent"
    lines = [
        f"{report.name}, scored by {card.name}",
        f"{len(report.items)} rows scored, {report.n_failed} without a score, "
        f"{report.n_unlabelled} without a label",
        "",
        f"Accuracy: {format_estimate(estimates['accuracy'])}",
        "",
        _classification(report.items, digits=4),
        f"With intervals of 95 % over {report.items.n_groups} {unit}:",
        *(f"{METRICS[name].label}: {format_estimate(value)}" for name, value in estimates.items()),
    ]
    return "\n".join(lines) + "\n"


def _classification(items: Items, **options: Any) -> Any:
    return classification_report(
        items.target,
        items.decision,
        labels=[0, 1],
        target_names=list(PUBLISHED_NAMES),
        zero_division=np.nan,
        **options,
    )


def format_estimate(estimate: Estimate) -> str:
    """Return a metric with its interval, or why there is none."""
    if estimate.value is None:
        return f"undefined ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f} (no interval: {estimate.reason})"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def write_aggregate(
    reports: Sequence[Report], pooled: Report, card: DetectorCard, path: Path
) -> None:
    """Write the metrics of each CSV and of all together as JSON."""
    write_json(
        path,
        {
            "earwitness": __version__,
            "detector": card.model_dump(
                mode="json", exclude={"training_items": {"item_sha256", "group_sha256"}}
            ),
            "reports": {report.name: _record(report) for report in reports},
            "pooled": _record(pooled),
        },
    )


def _record(report: Report) -> dict[str, Any]:
    items = report.items
    return {
        "n_scored": len(items),
        "n_without_score": report.n_failed,
        "n_without_label": report.n_unlabelled,
        "n_groups": items.n_groups,
        "has_group_id": report.has_groups,
        "confusion": format_counts(report.counts),
        "figures": {n: e.model_dump(mode="json") for n, e in report.estimates.items()},
        "classification_report": _without_nan(_classification(items, output_dict=True)),
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    number = float(value)
    return None if math.isnan(number) else number
