"""Whether two detectors, or two runs of one, differ on the items that both scored.

Conventions: differences are first minus second; an item is known by its path, or by its place in
the dataset where there are no paths; groups are those of the first. P-values are corrected for
their number over the whole table (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from earwitness.core.errors import UsageError
from earwitness.core.metrics import Settings
from earwitness.core.predictions import Predictions
from earwitness.evaluation.figures import point_values
from earwitness.evaluation.rows import gather, items_of, once
from earwitness.evaluation.sources import Opened, open_sources
from earwitness.evaluation.summarize import check_threshold
from earwitness.metrics.comparisons import (
    N_SWAPS,
    Difference,
    compare_auroc,
    compare_by_swaps,
    holm,
)
from earwitness.metrics.items import Items

COMPARED = (
    *("auroc", "eer", "balanced_accuracy", "recall", "specificity", "accuracy", "f1"),
    *("min_dcf", "cllr", "brier"),
)

Side = str | Path | Predictions | Sequence[str | Path | Predictions]
"""What one detector said: where it lies, or what it is."""


@dataclass(frozen=True)
class Line:
    """One figure of both detectors on one set of items.

    Attributes:
        dataset: What was judged; ``overall`` for every common item once.
        metric: Which figure, of ``metrics.json``'s names.
        first: Of the first detector.
        second: Of the second.
        difference: First minus second, with its test.
        p_holm: P-value corrected for all tests of the table; NaN without a test.
        n_items: Common items.
        n_groups: Their groups.
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
class Comparison:
    """Two detectors beside each other.

    Attributes:
        first: Who the first is.
        second: Who the second is.
        n_common: Items that both scored.
        n_left_out: Items that one of them alone scored, or neither.
        lines: The table.
    """

    first: str
    second: str
    n_common: int
    n_left_out: int
    lines: list[Line]


def compare(
    first: Side,
    second: Side,
    *,
    seed: int = 0,
    threshold: float | None = None,
    n_swaps: int = N_SWAPS,
    by_dataset: bool = True,
) -> Comparison:
    """Compare two detectors on their common items.

    Args:
        first: A prediction file, a folder of those of one detector, predictions, or several.
        second: The same for the other.
        seed: Where the swaps start.
        threshold: ``pred_prob`` from which on an item is called fake, for both; ``None`` takes the
            labels as they stand.
        n_swaps: Permutations of each swap test.
        by_dataset: Compare on each dataset as well.

    Returns:
        Overall, then by each dataset that both have, if there are several.

    Raises:
        UsageError: A side holds several detectors, or there is no item that both scored.
        PredictionsError: A file is not what it should be.
    """
    check_threshold(threshold)
    sides = [_open_one(source) for source in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        sides[1] = [_renamed(sides[1][0], sides[0][0].predictions.dataset)]
    frames = [gather(side, by=[], threshold=threshold) for side in sides]
    common = _paired(*(once(frame) for frame in frames))
    if common.height == 0:
        raise UsageError(f"{first} and {second}: no item that both scored, expected common rows")
    known = pl.concat([frame.select("item", "target") for frame in frames]).unique().height
    names = [side[0].predictions.detector for side in sides]
    if names[0] == names[1]:
        names = [side[0].source for side in sides]
    lines = [
        line
        for name, pairs in [("overall", common), *(_by_dataset(*frames) if by_dataset else ())]
        for line in _lines(name, pairs, seed, n_swaps)
    ]
    corrected = holm([line.difference.p for line in lines])
    lines = [replace(line, p_holm=p) for line, p in zip(lines, corrected, strict=True)]
    return Comparison(names[0], names[1], common.height, known - common.height, lines)


def _open_one(source: Side) -> list[Opened]:
    opened = open_sources([source] if isinstance(source, str | Path | Predictions) else source)
    names = sorted({one.predictions.detector for one in opened})
    if len(names) > 1:
        raise UsageError(f"{source}: detectors {', '.join(names)}; expected one, name its file")
    return opened


def _renamed(one: Opened, dataset: str) -> Opened:
    return replace(one, predictions=replace(one.predictions, dataset=dataset))


def _by_dataset(first: pl.DataFrame, second: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    shared = [
        name for name in first["dataset"].unique(maintain_order=True) if name in second["dataset"]
    ]
    for name in shared if len(shared) > 1 else []:
        pairs = _paired(*(once(f.filter(pl.col("dataset") == name)) for f in (first, second)))
        if pairs.height:
            yield name, pairs


def _paired(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Join the rows that both scored; the second's columns end in ``_2``."""
    scored = (frame.filter(pl.col("state") == "scored") for frame in (first, second))
    one, two = scored
    return one.join(two, on=["item", "target"], suffix="_2", maintain_order="left")


def _lines(name: str, pairs: pl.DataFrame, seed: int, n_swaps: int) -> Iterator[Line]:
    one, two = _items(pairs, ""), _items(pairs, "_2")
    values = [point_values(items, Settings()) for items in (one, two)]
    shared = [metric for metric in COMPARED if all(metric in found for found in values)]
    defined = [m for m in shared if not any(math.isnan(found[m]) for found in values)]
    swapped = [metric for metric in defined if metric != "auroc"]
    differences = compare_by_swaps(one, two, swapped, seed=seed, n_swaps=n_swaps)
    if "auroc" in defined:
        differences["auroc"] = compare_auroc(one, two)
    undefined = Difference(math.nan, reason="undefined on these items")
    for metric in shared:
        yield Line(
            dataset=name,
            metric=metric,
            first=values[0][metric],
            second=values[1][metric],
            difference=differences.get(metric, undefined),
            p_holm=math.nan,
            n_items=len(one),
            n_groups=one.n_groups,
        )


def _items(pairs: pl.DataFrame, suffix: str) -> Items:
    said = ("logit", "pred_prob", "pred_label")
    return items_of(pairs.with_columns(pairs[name + suffix].alias(name) for name in said))
