"""What changed between two run folders: what they were made with, rows, scores, decisions, figures.

Conventions: a run folder is any that ``bench run`` or ``predict --out`` left; options are those of
``bench.yaml`` where both have one, else those of ``run.json``.
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

from earwitness.bench.config_file import BENCH_YAML, read_content
from earwitness.bench.stages import MANIFESTS
from earwitness.core.errors import RunError, UsageError
from earwitness.core.io import file_stem
from earwitness.core.manifest import Manifest
from earwitness.evaluation.compare import Line, compare
from earwitness.evaluation.identity import deduplicate
from earwitness.evaluation.rows import Inputs, gather_sides, open_sources
from earwitness.scoring.run import predictions_path
from earwitness.scoring.run_folder import RUN_JSON, read_run
from earwitness.splits.manifests import read_manifest

_UNLIKE_CARD = ("name", "training_items", "limits", "summary", "weights_from")
_TINY = 1e-9


@dataclass(frozen=True)
class _Run:
    """A run folder, read.

    Attributes:
        folder: Where it lies.
        described: Its ``run.json``.
        manifests: What was judged, by name.
        predictions: Detector → its prediction files.
    """

    folder: Path
    described: dict[str, Any]
    manifests: dict[str, Manifest]
    predictions: dict[str, list[Path]]


def diff_runs(first: Path, second: Path, *, seed: int = 0) -> RunDiff:
    """Tell what changed from one run to another.

    Args:
        first: A run folder.
        second: Another.
        seed: Where the permutations of the tests start.

    Raises:
        RunError: A folder holds no run.
        PredictionsError: A file of predictions is not what it should be.
    """
    one, two = _open(first), _open(second)
    shared = [name for name in one.manifests if name in two.manifests]
    judges = [name for name in one.predictions if name in two.predictions]
    return RunDiff(
        first=str(first),
        second=str(second),
        changes=list(_changes(one, two)),
        rows=[_diff_rows(one.manifests[name], two.manifests[name]) for name in shared],
        scores=[
            _diff_scores(name, one.predictions[name], two.predictions[name], seed)
            for name in judges
        ],
    )


def _open(folder: Path) -> _Run:
    described = read_run(folder / RUN_JSON)
    if described is None:
        raise RunError(f"{folder}: no {RUN_JSON} there, expected a run folder")
    names = list(described["manifests"])
    paths = {name: folder / MANIFESTS / f"{file_stem(name)}.csv" for name in names}
    return _Run(
        folder,
        described,
        {name: read_manifest(path) for name, path in paths.items() if path.is_file()},
        {
            card["name"]: there
            for card in described["detectors"]
            if (there := _existing(folder, names, card["name"]))
        },
    )


def _existing(folder: Path, manifests: list[str], detector: str) -> list[Path]:
    paths = (predictions_path(folder, manifest, detector) for manifest in manifests)
    return [path for path in paths if path.is_file()]


def _changes(one: _Run, two: _Run) -> Iterator[Change]:
    options = [_bench_options(run.folder) for run in (one, two)]
    if None in options:
        options = [run.described["options"] for run in (one, two)]
    yield from _compare("option", options[0] or {}, options[1] or {})
    yield from _compare("version", *(_versions(run.described) for run in (one, two)))
    yield from _compare("detector", *(_cards(run) for run in (one, two)))
    yield from _compare("manifest", *(dict.fromkeys(run.manifests, "there") for run in (one, two)))


def _bench_options(folder: Path) -> dict[str, str] | None:
    try:
        return dict(_flat(read_content(folder / BENCH_YAML), ""))
    except UsageError:
        return None


def _versions(run: Mapping[str, Any]) -> dict[str, str]:
    stated = {name: run.get(name) for name in ("earwitness", "python", "machine")}
    return dict(_flat(stated | dict(run.get("libraries", {})), ""))


def _cards(run: _Run) -> dict[str, str]:
    """Return what decides scores in the cards of detectors that have predictions."""
    found: dict[str, str] = {}
    for card in run.described["detectors"]:
        if card["name"] in run.predictions:
            kept = {key: value for key, value in card.items() if key not in _UNLIKE_CARD}
            found |= dict(_flat(kept, card["name"]))
    return found


def _flat(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield dotted keys and what stands there."""
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
            texts = (None if value is None else str(value) for value in (was, now))
            yield Change(kind=kind, name=name, first=next(texts), second=next(texts))


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
        _scored, gather_sides(*(Inputs(open_sources(p, aggregate="mean")) for p in (first, second)))
    )
    both = one.join(two, on="item", suffix="_2", maintain_order="left")
    gap = pl.coalesce(pl.col("logit_2") - pl.col("logit"), pl.col("prob_2") - pl.col("prob")).abs()
    both = both.with_columns(moved=(pl.col("prob_2") - pl.col("prob")).abs())
    changed = both.filter(gap > _TINY)
    flips = both.filter(pl.col("pred_label") != pl.col("pred_label_2"))
    found = ScoresDiff(
        detector=detector,
        n_common=both.height,
        n_changed=changed.height,
        largest=_number(changed["moved"].max()),
        mean=_number(changed["moved"].mean()),
        n_first_only=one.height - both.height,
        n_second_only=two.height - both.height,
        flips=sorted(map(_flip, flips.iter_rows(named=True)), key=_how_bad),
    )
    if not (changed.height or flips.height):
        return found
    if both.filter(pl.col("target") == pl.col("target_2")).is_empty():
        return found.model_copy(update={"no_figures": "no item that both scored as the same class"})
    lines = compare(first, second, seed=seed, by_dataset=False).lines
    return found.model_copy(update={"figures": [_figure(line) for line in lines]})


def _scored(rows: pl.DataFrame) -> pl.DataFrame:
    """Return every item that was scored, once."""
    return (
        deduplicate(rows)
        .filter(pl.col("state") == "scored")
        .select("item", "target", "logit", pl.col("pred_prob").alias("prob"), "pred_label")
    )


def _flip(row: dict[str, Any]) -> Flip:
    return Flip(
        filepath=row["item"],
        target=row["target_2"],
        first_prob=row["prob"],
        second_prob=row["prob_2"],
        second_label=row["pred_label_2"],
        is_right_now=row["pred_label_2"] == row["target_2"],
    )


def _how_bad(flip: Flip) -> tuple[bool, float, str]:
    moved = abs((flip.second_prob or 0) - (flip.first_prob or 0))
    return flip.is_right_now, -moved, flip.filepath


def _figure(line: Line) -> FigureDiff:
    """Return a line of a comparison, which is first minus second, turned round."""
    found = line.difference
    return FigureDiff(
        metric=line.metric,
        first=_number(line.first),
        second=_number(line.second),
        difference=_number(-found.value),
        low=_number(-found.high),
        high=_number(-found.low),
        p=_number(found.p),
        p_holm=_number(line.p_holm),
        told=found.method or found.reason or "",
    )


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value) + 0.0  # no minus zero


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Part):
    """Something a run was made with that is another in the other run.

    Attributes:
        kind: ``option``, ``version``, ``detector`` or ``manifest``.
        name: What it is: a key of ``bench.yaml``, a library, a part of a detector's card.
        first: In the first run; ``None`` where it has none.
        second: In the second.
    """

    kind: Literal["option", "version", "detector", "manifest"]
    name: str
    first: str | None
    second: str | None


class RowsDiff(_Part):
    """Rows of a manifest that both runs have.

    Attributes:
        manifest: Its name.
        n_first: Rows in the first run.
        n_second: Rows in the second.
        added: Files in the second alone.
        removed: Files in the first alone.
        relabelled: Files whose target changed.
    """

    manifest: str
    n_first: int
    n_second: int
    added: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)
    relabelled: list[str] = Field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether the same files are there with the same targets."""
        return not (self.added or self.removed or self.relabelled)


class Flip(_Part):
    """An item that was decided otherwise.

    Attributes:
        filepath: The file.
        target: 0 real, 1 fake, in the second run.
        first_prob: ``pred_prob`` in the first run.
        second_prob: In the second.
        second_label: What it was called in the second run.
        is_right_now: Whether that is its target.
    """

    filepath: str
    target: int
    first_prob: float | None
    second_prob: float | None
    second_label: int
    is_right_now: bool


class FigureDiff(_Part):
    """A figure in both runs, on the items that both scored.

    Attributes:
        metric: Its name in ``metrics.json``.
        first: In the first run.
        second: In the second.
        difference: Second minus first.
        low: Lower end of the difference's 95 % interval, where the test gives one.
        high: Upper end.
        p: P-value of no difference.
        p_holm: The same, corrected for all figures of the detector.
        told: Method of the test, or why there is none.
    """

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    told: str


class ScoresDiff(_Part):
    """What one detector said in both runs.

    Attributes:
        detector: Its name.
        n_common: Items that both runs scored.
        n_changed: Items among them whose score differs.
        largest: Largest difference of ``pred_prob``, without its sign.
        mean: Mean of it over the items that changed.
        n_first_only: Items that the first run alone scored.
        n_second_only: Items that the second run alone scored.
        flips: Items decided otherwise: those that are wrong now first, then by how far they moved.
        figures: Figures on the common items, where scores, decisions or targets differ.
        no_figures: Why there are none.
    """

    detector: str
    n_common: int
    n_changed: int
    largest: float | None
    mean: float | None
    n_first_only: int
    n_second_only: int
    flips: list[Flip] = Field(default_factory=list)
    figures: list[FigureDiff] = Field(default_factory=list)
    no_figures: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether the same items have the same scores and decisions."""
        moved = self.n_changed or self.n_first_only or self.n_second_only
        return not (moved or self.flips)


class RunDiff(_Part):
    """Two runs beside each other.

    Attributes:
        first: The first run folder.
        second: The second.
        changes: What they were made with.
        rows: Manifests that both have.
        scores: Detectors that both have.
    """

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
