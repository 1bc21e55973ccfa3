"""Paired comparison of detectors, or of two runs of them, on their common items.

Conventions: differences are first minus second; groups are those of the first side; p-values are
Holm-corrected over the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.identity import Aggregate, deduplicate
from earwitness.evaluation.rows import (
    Inputs,
    Opened,
    check_threshold,
    items_of,
    load_rows,
    open_sources,
    source_notes,
)
from earwitness.metrics.measures import point_values
from earwitness.metrics.resampling import N_SWAPS, Difference, compare_by_swaps, holm

COMPARED = (
    *("auroc", "eer", "balanced_accuracy", "recall", "specificity", "accuracy", "f1"),
    *("min_dcf", "cllr", "brier"),
)

Side = str | Path | Predictions | Sequence[str | Path | Predictions]
"""A prediction file, a folder, predictions, or several of these."""


@dataclass(frozen=True)
class Line:
    """One metric of two detectors on one set of items; ``overall`` is every common item once.

    ``difference`` is first minus second. ``p_holm`` is corrected for all tests of the table, NaN
    without a test.
    """

    dataset: str
    metric: str
    first: float
    second: float
    difference: Difference
    p_holm: float
    n_items: int
    n_groups: int


@dataclass(frozen=True)
class Pair:
    """Two detectors, or one in two runs, with the items scored by both and the number of others."""

    first: str
    second: str
    n_common: int
    n_left_out: int
    lines: list[Line]


@dataclass(frozen=True)
class Comparison:
    """Compared pairs, corrected for multiple testing together, and notes on files and detectors."""

    pairs: list[Pair]
    notes: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[Line]:
        """Lines of all pairs."""
        return [line for pair in self.pairs for line in pair.lines]


def compare(
    first: Side,
    second: Side,
    *,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
    seed: int = 0,
    threshold: float | None = None,
    n_swaps: int = N_SWAPS,
    by_dataset: bool = True,
) -> Comparison:
    """Compare detectors on their common items, overall and by dataset.

    Detectors of both sides are compared with themselves (two runs). If there are none, each
    detector of one side is compared with the single detector of the other.

    Args:
        first: A prediction file, a folder of them, predictions, or several of these.
        second: The same for the other side.
        key: Key file with the labels of ASVspoof score files.
        aggregate: How several rows of one file become one item; ``None`` refuses them.
        seed: Random seed of the permutations.
        threshold: Least ``pred_prob`` called fake; ``None`` takes the labels of the files.
        n_swaps: Number of permutations.
        by_dataset: Compare also on each common dataset, if there are several.

    Raises:
        UsageError: The pairs are ambiguous, or a pair has no common items.
        PredictionsError: A file is malformed.
    """
    check_threshold(threshold)
    entrants, notes = _pair_up(
        _open_side(first, key, aggregate), _open_side(second, key, aggregate)
    )
    pairs = [
        _compare_pair(
            one, two, seed=seed, threshold=threshold, n_swaps=n_swaps, by_dataset=by_dataset
        )
        for one, two in entrants
    ]
    corrected = iter(holm([line.difference.p for pair in pairs for line in pair.lines]))
    pairs = [
        replace(pair, lines=[replace(line, p_holm=next(corrected)) for line in pair.lines])
        for pair in pairs
    ]
    return Comparison(pairs, notes)


@dataclass(frozen=True)
class _Entrant:
    """Predictions of one detector on one side, and where they come from."""

    name: str
    source: str
    opened: list[Opened]

    @property
    def files(self) -> set[Path]:
        """Paths of the prediction files; empty for predictions from memory."""
        return {one.path.resolve() for one in self.opened if one.path is not None}


def _open_side(
    side: Side, key: str | Path | None, aggregate: Aggregate | None
) -> dict[str, _Entrant]:
    sources = [side] if isinstance(side, str | Path | Predictions) else side
    by_name: dict[str, list[Opened]] = {}
    for one in open_sources(sources, key=key, aggregate=aggregate):
        by_name.setdefault(one.predictions.detector, []).append(one)
    return {
        name: _Entrant(name, str(side) if isinstance(side, str | Path) else own[0].source, own)
        for name, own in by_name.items()
    }


def _pair_up(
    first: dict[str, _Entrant], second: dict[str, _Entrant]
) -> tuple[list[tuple[_Entrant, _Entrant]], list[str]]:
    """Return the pairs to compare, and notes; ``UsageError`` if they are ambiguous."""
    sides = [first, second]
    if len(first) > 1 or len(second) > 1:
        sides = [_without_files_of(second, first), _without_files_of(first, second)]
    one, two = sides
    shared = [(one[name], two[name]) for name in one if name in two]
    if not shared:
        if len(one) > 1 and len(two) > 1:
            found = "; ".join(
                f"{next(iter(side.values())).source}: detectors {', '.join(side)}" for side in sides
            )
            raise UsageError(f"{found}; expected a common detector, or a single one on one side")
        shared = [(a, b) for a in one.values() for b in two.values()]
    for a, b in shared:
        if a.files and a.files == b.files:
            raise UsageError(
                f"{a.source} and {b.source}: the same files of {a.name}, expected two "
                "detectors or two runs"
            )
    paired = {id(entrant) for pair in shared for entrant in pair}
    alone = [e for side in sides for e in side.values() if id(e) not in paired]
    notes = source_notes(one for pair in shared for entrant in pair for one in entrant.opened)
    return shared, notes + [f"{e.name} in {e.source} has no counterpart" for e in alone]


def _without_files_of(other: dict[str, _Entrant], side: dict[str, _Entrant]) -> dict[str, _Entrant]:
    """Return a side without the single detector of the other, if it includes the same files."""
    if len(other) != 1:
        return side
    return {
        name: entrant
        for name, entrant in side.items()
        if not (name in other and other[name].files and other[name].files <= entrant.files)
    }


def _compare_pair(
    one: _Entrant,
    two: _Entrant,
    *,
    seed: int,
    threshold: float | None,
    n_swaps: int,
    by_dataset: bool,
) -> Pair:
    sides = [one.opened, two.opened]
    if len(one.opened) == len(two.opened) == 1:  # datasets may go by different names
        dataset = one.opened[0].predictions.dataset
        renamed = replace(two.opened[0].predictions, dataset=dataset)
        sides[1] = [replace(two.opened[0], predictions=renamed)]
    frames = load_rows(*(Inputs(side, threshold=threshold) for side in sides))
    common = _join(*frames)
    names = [one.name, two.name]
    if one.name == two.name:
        names = [f"{entrant.name} in {entrant.source}" for entrant in (one, two)]
    if common.height == 0:
        raise UsageError(
            f"{names[0]} and {names[1]}: no item that both scored, expected common rows"
        )
    known = pl.concat([frame.select("item", "target") for frame in frames]).unique().height
    tables = [("overall", common)]
    datasets = frames[0]["dataset"].unique(maintain_order=True)
    shared = [name for name in datasets if name in frames[1]["dataset"]]
    if by_dataset and len(shared) > 1:
        tables += [(name, _join(*(f.filter(dataset=name) for f in frames))) for name in shared]
    lines = [
        line
        for name, pairs in tables
        if pairs.height
        for line in _lines(name, pairs, seed, n_swaps)
    ]
    return Pair(names[0], names[1], common.height, known - common.height, lines)


def _join(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Join the items scored by both; columns of the second end in ``_2``."""
    one, two = (deduplicate(frame).filter(state="scored") for frame in (first, second))
    return one.join(two, on=["item", "target"], suffix="_2", maintain_order="left")


def _lines(name: str, pairs: pl.DataFrame, seed: int, n_swaps: int) -> Iterator[Line]:
    outputs = ("logit", "pred_prob", "pred_label")
    one = items_of(pairs)
    two = items_of(pairs.with_columns(pairs[f"{column}_2"].alias(column) for column in outputs))
    values = [point_values(items, COMPARED) for items in (one, two)]
    shared = [metric for metric in COMPARED if all(metric in found for found in values)]
    defined = [m for m in shared if not any(math.isnan(found[m]) for found in values)]
    differences = compare_by_swaps(one, two, defined, seed=seed, n_swaps=n_swaps)
    for metric in shared:
        yield Line(
            dataset=name,
            metric=metric,
            first=values[0][metric],
            second=values[1][metric],
            difference=differences.get(metric)
            or Difference(math.nan, reason="undefined on these items"),
            p_holm=math.nan,
            n_items=len(one),
            n_groups=one.n_groups,
        )
