"""Classify images listed in CSVs: scores written into the CSVs, reports beside them.

Conventions: ``img_path`` is relative to a base folder, which it must not leave. Rows and other
columns stay as they are. An image is scored once, however many rows name it. Rows without a label
or a score are excluded from metrics; intervals are over ``group_id`` if the CSV has that column,
else over rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import classification_report

from earwitness import __version__
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DatasetError, ImageError, StoppedError, UsageError
from earwitness.core.estimate import ComparisonRow, Counts, Estimate
from earwitness.core.io import missing, write_json, write_text
from earwitness.core.spectrogram import PUBLISHED_NAMES
from earwitness.detectors.nets.resnet18 import ResnetDetector
from earwitness.evaluation.checks import REVERSED, looks_reversed
from earwitness.evaluation.estimates import count, estimate_some
from earwitness.evaluation.schema import Settings
from earwitness.images import csv_columns
from earwitness.images.csv_columns import RawCsv
from earwitness.images.png import Picture, read_image
from earwitness.metrics.measures import METRICS
from earwitness.metrics.sample import Items, numbered
from earwitness.report.comparison import draw_confusion
from earwitness.scoring.workers import usable_processors

DECISION, PROB, ERROR = "predicted_output", "prob_fake", "prediction_error"
AGGREGATE_JSON = "aggregate_test_reports.json"


@dataclass(frozen=True)
class Table:
    """A CSV to classify.

    Attributes:
        path: As given.
        csv: The file.
        images: Image of each row, or why it has none; ``None`` for a blank row.
        targets: Label of each row, ``None`` without one.
        groups: Group of each row; ``None`` without such a column.
    """

    path: Path
    csv: RawCsv
    images: list[Path | str | None]
    targets: list[int | None]
    groups: list[str] | None

    @property
    def is_labelled(self) -> bool:
        """Whether any row has a label."""
        return any(target is not None for target in self.targets)


@dataclass(frozen=True)
class Scores:
    """Scores of images.

    Attributes:
        logits: Logit of the deepfake, by image.
        errors: Why an image has none.
        differences: Difference from the training images → images that have it.
        notes: Anomaly of an image file → images that have it.
    """

    logits: dict[Path, float] = field(default_factory=dict)
    errors: dict[Path, str] = field(default_factory=dict)
    differences: dict[str, list[Path]] = field(default_factory=dict)
    notes: dict[str, list[Path]] = field(default_factory=dict)

    def error_of(self, image: Path | str) -> str | None:
        """Return why a row's image has no score, or ``None`` if it has one."""
        return image if isinstance(image, str) else self.errors.get(image)

    def describe_differences(self) -> list[str]:
        """Return a line per difference from the training images."""
        return self._describe(self.differences, " are not as those of the training")

    def describe_notes(self) -> list[str]:
        """Return a line per anomaly of image files."""
        return self._describe(self.notes)

    def _describe(self, found: Mapping[str, list[Path]], verb: str = "") -> list[str]:
        return [
            f"{len(paths)} of {len(self.logits)} images{verb}: {text} (as {paths[0]})"
            for text, paths in found.items()
        ]


def read_tables(paths: Sequence[Path], base: Path) -> list[Table]:
    """Read CSVs and locate their images, without opening any.

    ``UsageError`` without a base folder or CSVs, ``DatasetError`` for a CSV that cannot be read.
    """
    if not paths:
        raise UsageError("no CSV given, expected --csv FILE")
    if not base.is_dir():
        raise UsageError(f"--base {missing(base)}; expected the folder that img_path starts from")
    return [_read_table(path, base) for path in dict.fromkeys(paths)]


def _read_table(path: Path, base: Path) -> Table:
    csv = csv_columns.read_image_csv(path)
    images = [
        None if row.is_blank else csv_columns.locate_image(base, text)
        for row, text in zip(csv.rows, csv.values(csv_columns.PATH), strict=True)
    ]
    if all(image is None for image in images):
        raise DatasetError(f"{path}: no rows, expected at least one image")
    groups = csv.values(csv_columns.GROUP) if csv_columns.GROUP in csv else None
    return Table(path, csv, images, csv_columns.read_targets(csv), groups)


def list_images(tables: Sequence[Table]) -> list[Path]:
    """Return the distinct images of tables."""
    images = (image for table in tables for image in table.images if isinstance(image, Path))
    return list(dict.fromkeys(images))


def score_images(
    images: Sequence[Path],
    detector: ResnetDetector,
    *,
    advance: Callable[[bool], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scores:
    """Return the scores of images; ``StoppedError`` if ``should_stop``, called per batch."""
    scores = Scores()
    with ThreadPoolExecutor(usable_processors(), "reader") as pool:
        for start in range(0, len(images), detector.batch_size):
            if should_stop():
                raise StoppedError("stopped; no CSV was changed")
            paths = images[start : start + detector.batch_size]
            inputs = pool.map(lambda path: _read_input(path, detector), paths)
            read = dict(zip(paths, inputs, strict=True))
            good = {path: one for path, one in read.items() if isinstance(one, _Input)}
            logits = detector.score_images([one.pixels for one in good.values()])
            scores.logits.update(zip(good, map(float, logits), strict=True))
            for path, one in read.items():
                if isinstance(one, str):
                    scores.errors[path] = one
                else:
                    for text in one.differences:
                        scores.differences.setdefault(text, []).append(path)
                    for text in one.notes:
                        scores.notes.setdefault(text, []).append(path)
                advance(path in good)
    return scores


@dataclass(frozen=True, eq=False)
class _Input:
    pixels: NDArray[np.uint8]
    differences: list[str]
    notes: tuple[str, ...]


def _read_input(path: Path, detector: ResnetDetector) -> _Input | str:
    try:
        picture = read_image(path)
    except ImageError as error:
        return error.reason
    pixels = picture.resized(detector.image_size)
    return _Input(pixels, list(_list_differences(picture, detector)), picture.notes)


def _list_differences(picture: Picture, detector: ResnetDetector) -> Iterator[str]:
    """Yield how an image differs from the training images."""
    trained = detector.card.images
    if picture.size != detector.image_size:
        sizes = (" × ".join(map(str, size)) for size in (picture.size, detector.image_size))
        known = trained is not None or "height" in detector.card.details
        yield "{} pixels and not {}".format(*sizes) + ("" if known else ", the usual size (--size)")
    if trained is None:
        return
    if picture.mode != trained.mode:
        yield f"pixels of kind {picture.mode} and not {trained.mode}"
    if picture.contract is None:
        yield "no rendering parameters in their metadata"
    else:
        yield from (f"rendered with {d}" for d in picture.contract.list_differences(trained))


def write_scores(table: Table, scores: Scores, threshold: float) -> None:
    """Write decisions and scores into a CSV, see ``RawCsv.write``."""
    decisions, probs, errors = [], [], []
    for image in table.images:
        logit = scores.logits.get(image) if isinstance(image, Path) else None
        prob = None if logit is None else float(expit(logit))
        decisions.append("" if prob is None else PUBLISHED_NAMES[int(prob >= threshold)])
        probs.append("" if prob is None else f"{prob:.9g}")
        errors.append("" if image is None else scores.error_of(image) or "")
    table.csv.set_column(DECISION, decisions)
    table.csv.set_column(PROB, probs)
    if any(errors) or ERROR in table.csv:
        table.csv.set_column(ERROR, errors)
    table.csv.write()


@dataclass(frozen=True)
class Report:
    """Metrics of the labelled and scored rows of one CSV, or of several."""

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
        names = ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc")
        return estimate_some(names, self.items, Settings())


def make_report(name: str, tables: Sequence[Table], scores: Scores, threshold: float) -> Report:
    """Return the report on the rows of some tables."""
    rows: list[tuple[int, float, str]] = []
    n_failed = n_unlabelled = 0
    for table in tables:
        columns = (table.images, table.targets, table.groups or table.targets)
        for at, (image, target, group) in enumerate(zip(*columns, strict=True)):
            if image is None:
                continue
            if target is None:
                n_unlabelled += 1
            elif not isinstance(image, Path) or image not in scores.logits:
                n_failed += 1
            else:
                own = f"{table.path}:{at}" if table.groups is None or not group else f"={group}"
                rows.append((target, scores.logits[image], own))
    targets, logits, groups = zip(*rows, strict=True) if rows else ((), (), ())
    items = make_items(targets, logits, groups, threshold)
    has_groups = all(table.groups is not None for table in tables)
    return Report(name, items, has_groups, n_failed, n_unlabelled)


def make_items(
    targets: Sequence[int], logits: Sequence[float], groups: Sequence[str], threshold: float
) -> Items:
    """Return the items of an image classifier, whose scores are its logits."""
    scores = np.array(logits, dtype=np.float64)
    probs = expit(scores)
    decisions = (probs >= threshold).astype(np.int64)
    labels = np.array(targets, dtype=np.int64)
    return Items(labels, numbered(groups), decisions, scores, scores, probs)


def format_counts(counts: Counts) -> dict[str, int]:
    """Return confusion counts with the keys of the published files."""
    return {"TP": counts.tp, "TN": counts.tn, "FP": counts.fp, "FN": counts.fn}


def polarity_note(report: Report, card: DetectorCard) -> str | None:
    """Return a note if the polarity of the scores looks reversed, else ``None``."""
    auroc = report.estimates["auroc"]
    if not looks_reversed(auroc):
        return None
    names = ",".join(name.lower() for name in card.classes[::-1])
    return (
        f"{report.name}: AUROC {auroc.value:.3f}, far below 0.5: {REVERSED} (here output 0 is "
        f"{card.classes[0]}, output 1 is {card.classes[1]}; --classes {names} swaps them)"
    )


def write_report(report: Report, table: Table, card: DetectorCard) -> list[Path]:
    """Write ``<stem>_report.txt`` and ``<stem>.png`` next to a CSV and return their paths."""
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
    text = table.path.with_name(f"{table.path.stem}_report.txt")
    write_text(text, "\n".join(lines) + "\n")
    row = ComparisonRow(card.name, table.path.stem, report.counts)
    return [text, draw_confusion(row, table.path.with_suffix(".png"))]


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
    hashes = {"training_items": {"item_sha256", "group_sha256"}}
    content = {
        "earwitness": __version__,
        "detector": card.model_dump(mode="json", exclude=hashes),
        "reports": {report.name: _record(report) for report in reports},
        "pooled": _record(pooled),
    }
    write_json(path, content)


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
