"""Compare two run folders: options, versions, detectors, rows, scores, decisions and metrics.

Run folders are those of ``bench run`` and ``predict --out``. Options are those of ``bench.yaml`` if
both have one, otherwise those of ``run.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from earwitness.bench.config import BENCH_YAML, parse_yaml
from earwitness.bench.inputs import MANIFESTS
from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.manifest import Manifest
from earwitness.evaluation.compare import Line, compare
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Inputs, load_rows, open_sources
from earwitness.scoring.options import Form
from earwitness.scoring.run import predictions_path
from earwitness.scoring.run_folder import RUN_JSON, read_run
from earwitness.splits.manifests import read_manifest


@dataclass(frozen=True)
class OpenedRun:
    """A run folder: its ``run.json``, manifests by name, and prediction files.

    These are by detector and manifest, of the format that ``run.json`` names.
    """

    folder: Path
    described: dict[str, Any]
    manifests: dict[str, Manifest]
    predictions: dict[str, dict[str, Path]]

    def list_predictions(self, detector: str) -> list[Path]:
        """Return the prediction files of a detector."""
        return list(self.predictions[detector].values())


def diff_runs(first: Path, second: Path, *, seed: int = 0) -> RunDiff:
    """Return the differences between two run folders.

    Args:
        first: A run folder.
        second: Another.
        seed: Random seed of the permutation tests.

    Raises:
        RunError: A folder has no ``run.json``.
        PredictionsError: A prediction file is not valid.
    """
    one, two = open_run(first), open_run(second)
    shared = [name for name in one.manifests if name in two.manifests]
    detectors = [name for name in one.predictions if name in two.predictions]
    return RunDiff(
        first=str(first),
        second=str(second),
        changes=list(_changes(one, two)),
        rows=[_diff_rows(one.manifests[name], two.manifests[name]) for name in shared],
        scores=[
            _diff_scores(d, one.list_predictions(d), two.list_predictions(d), seed)
            for d in detectors
        ],
    )


def open_run(folder: Path) -> OpenedRun:
    """Return what a run folder has; ``RunError`` if it has no ``run.json``."""
    described = read_run(folder / RUN_JSON)
    if described is None:
        raise RunError(f"{folder}: no {RUN_JSON}, expected a run folder")
    names, detectors = list(described["manifests"]), [c["name"] for c in described["detectors"]]
    is_parquet = described["options"].get("format") == "parquet"
    form: Form = "parquet" if is_parquet else "csv"
    paths = {name: folder / MANIFESTS / f"{file_stem(name)}.{form}" for name in names}
    manifests = {name: read_manifest(path) for name, path in paths.items() if path.exists()}
    written = {
        detector: {
            name: path
            for name in names
            if (path := predictions_path(folder, name, detector, form)).exists()
        }
        for detector in detectors
    }
    found = {detector: paths for detector, paths in written.items() if paths}
    return OpenedRun(folder, described, manifests, found)


def _changes(one: OpenedRun, two: OpenedRun) -> Iterator[Change]:
    options = [_bench_options(run.folder) for run in (one, two)]
    if None in options:
        options = [run.described["options"] for run in (one, two)]
    yield from _compare("option", options[0] or {}, options[1] or {})
    yield from _compare("version", *(_versions(run.described) for run in (one, two)))
    yield from _compare("detector", *(_cards(run) for run in (one, two)))
    yield from _compare("manifest", *(dict.fromkeys(run.manifests, "there") for run in (one, two)))


def _bench_options(folder: Path) -> dict[str, str] | None:
    try:
        return dict(_flat(parse_yaml(folder / BENCH_YAML)[0], ""))
    except UsageError:
        return None


def _versions(run: Mapping[str, Any]) -> dict[str, str]:
    stated = {name: run.get(name) for name in ("earwitness", "python", "machine")}
    return dict(_flat(stated | dict(run.get("libraries", {})), ""))


def _cards(run: OpenedRun) -> dict[str, str]:
    """Return the fields that decide scores, of the cards of detectors that have predictions."""
    others = {"name", "training_items", "limits", "summary", "weights_from"}
    others |= {"false_positives", "invariances", "known_kinds", "unknown_kinds"}
    cards = {
        card["name"]: {key: value for key, value in card.items() if key not in others}
        for card in run.described["detectors"]
        if card["name"] in run.predictions
    }
    return dict(pair for name, card in cards.items() for pair in _flat(card, name))


def _flat(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield dotted keys and their values."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{at}.{index}")
    else:
        yield at, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _compare(kind: Any, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Change]:
    for name in [*first, *(name for name in second if name not in first)]:
        was, now = (side.get(name) for side in (first, second))
        if was != now:
            first_text, second_text = (None if v is None else str(v) for v in (was, now))
            yield Change(kind=kind, name=name, first=first_text, second=second_text)


def _diff_rows(first: Manifest, second: Manifest) -> RowsDiff:
    one, two = (
        dict(manifest.frame.select("filepath", "target").iter_rows())
        for manifest in (first, second)
    )
    return RowsDiff(
        manifest=first.name,
        n_first=len(first),
        n_second=len(second),
        added=[path for path in two if path not in one],
        removed=[path for path in one if path not in two],
        relabelled=[path for path in one if path in two and one[path] != two[path]],
    )


def _diff_scores(detector: str, first: list[Path], second: list[Path], seed: int) -> ScoresDiff:
    one, two = map(
        _scored, load_rows(*(Inputs(open_sources(p, aggregate="mean")) for p in (first, second)))
    )
    both = one.join(two, on="item", suffix="_2", maintain_order="left")
    gap = pl.coalesce(pl.col("logit_2") - pl.col("logit"), pl.col("prob_2") - pl.col("prob")).abs()
    both = both.with_columns(moved=(pl.col("prob_2") - pl.col("prob")).abs())
    changed = both.filter(gap > 1e-9)
    flips = both.filter(pl.col("pred_label") != pl.col("pred_label_2")).select(
        filepath="item",
        target="target_2",
        first_prob="prob",
        second_prob="prob_2",
        second_label="pred_label_2",
        is_right_now=pl.col("pred_label_2") == pl.col("target_2"),
    )
    moved = (pl.col("second_prob").fill_null(0) - pl.col("first_prob").fill_null(0)).abs()
    flips = flips.sort("is_right_now", -moved, "filepath")
    found = ScoresDiff(
        detector=detector,
        n_common=both.height,
        n_changed=changed.height,
        largest=_number(changed["moved"].max()),
        mean=_number(changed["moved"].mean()),
        n_first_only=one.height - both.height,
        n_second_only=two.height - both.height,
        flips=[Flip(**row) for row in flips.iter_rows(named=True)],
    )
    if not (changed.height or flips.height):
        return found
    if both.filter(pl.col("target") == pl.col("target_2")).is_empty():
        return found.model_copy(update={"no_metrics": "no item that both scored as the same class"})
    lines = compare(first, second, seed=seed, by_dataset=False).lines
    return found.model_copy(update={"metrics": [_diff_metric(line) for line in lines]})


def _scored(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the scored items, without duplicates."""
    return (
        deduplicate(rows)
        .filter(pl.col("state") == "scored")
        .select("item", "target", "logit", pl.col("pred_prob").alias("prob"), "pred_label")
    )


def _diff_metric(line: Line) -> MetricDiff:
    found = line.difference  # first minus second
    return MetricDiff(
        metric=line.metric,
        first=_number(line.first),
        second=_number(line.second),
        difference=_number(-found.value),
        low=_number(-found.high),
        high=_number(-found.low),
        p=_number(found.p),
        p_holm=_number(line.p_holm),
        test=found.method or found.reason or "",
    )


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value) + 0.0  # no minus zero


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, serialize_by_alias=True, validate_by_name=True
    )


class Change(_Part):
    """A difference in how two runs were made.

    Attributes:
        kind: ``option``, ``version``, ``detector`` or ``manifest``.
        name: A key of ``bench.yaml``, a library, or a field of a detector's card.
        first: Value in the first run, ``None`` if it has none.
        second: Value in the second run.
    """

    kind: Literal["option", "version", "detector", "manifest"]
    name: str
    first: str | None
    second: str | None


class RowsDiff(_Part):
    """Differences between the rows of a manifest that both runs have; each list holds files."""

    manifest: str
    n_first: int
    n_second: int
    added: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)
    relabelled: list[str] = Field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether files and targets are the same."""
        return not (self.added or self.removed or self.relabelled)


class Flip(_Part):
    """An item with another decision.

    Attributes:
        target: 0 real, 1 fake, in the second run.
        first_prob: ``pred_prob`` in the first run.
        second_label: ``pred_label`` in the second run.
        is_right_now: Whether that is its target.
    """

    filepath: str
    target: int
    first_prob: float | None
    second_prob: float | None
    second_label: int
    is_right_now: bool


class MetricDiff(_Part):
    """A metric in both runs, on the items that both scored.

    Attributes:
        metric: Its name in ``metrics.json``.
        first: Value in the first run.
        second: Value in the second run.
        difference: Second minus first.
        low: Lower end of the 95 % interval of the difference, if the test gives one.
        high: Upper end.
        p: P-value of no difference.
        p_holm: P-value corrected for all metrics of the detector.
        test: Method of the test, or why there is none.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    test: str = Field(validation_alias="told", serialization_alias="told")


class ScoresDiff(_Part):
    """Differences between the scores of one detector.

    Attributes:
        detector: Its name.
        n_common: Items that both runs scored.
        n_changed: Items among them with another score.
        largest: Largest absolute difference of ``pred_prob``.
        mean: Mean absolute difference over the changed items.
        n_first_only: Items scored in the first run only.
        n_second_only: Items scored in the second run only.
        flips: Items with another decision: wrong ones first, then by difference.
        metrics: Metrics on the common items, if scores, decisions or targets differ.
        no_metrics: Why there are none.
    """

    detector: str
    n_common: int
    n_changed: int
    largest: float | None
    mean: float | None
    n_first_only: int
    n_second_only: int
    flips: list[Flip] = Field(default_factory=list)
    metrics: list[MetricDiff] = Field(
        default_factory=list, validation_alias="figures", serialization_alias="figures"
    )
    no_metrics: str | None = Field(
        default=None, validation_alias="no_figures", serialization_alias="no_figures"
    )

    @property
    def is_same(self) -> bool:
        """Whether items, scores and decisions are the same."""
        moved = self.n_changed or self.n_first_only or self.n_second_only
        return not (moved or self.flips)


class RunDiff(_Part):
    """Differences between two runs: how they were made, common manifests and detectors."""

    first: str
    second: str
    changes: list[Change]
    rows: list[RowsDiff]
    scores: list[ScoresDiff]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        rows, scores = (all(part.is_same for part in parts) for parts in (self.rows, self.scores))
        return rows and scores and not self.changes
