"""Whether detectors, or two runs of them, differ on the items that both scored.

Conventions: differences are first minus second; an item is known by its path, or by its place in
the dataset where there are no paths; groups are those of the first. P-values are corrected for
their number over the whole table (Holm).
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
    gather_sides,
    items_of,
    open_sources,
    source_notes,
)
from earwitness.metrics.measures import point_values
from earwitness.metrics.resampling import (
    N_SWAPS,
    Difference,
    compare_by_swaps,
    holm,
)
from earwitness.metrics.sample import Items

COMPARED = (
    *("auroc", "eer", "balanced_accuracy", "recall", "specificity", "accuracy", "f1"),
    *("min_dcf", "cllr", "brier"),
)


@dataclass(frozen=True)
class Line:
    """One metric of both detectors on one set of items.

    Attributes:
        dataset: The dataset; ``overall`` for every common item once.
        metric: The metric.
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
class Pair:
    """Two detectors, or one in two runs, beside each other.

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


@dataclass(frozen=True)
class Comparison:
    """Pairs of detectors, corrected for their number together.

    Attributes:
        pairs: Each with its table.
        notes: What to know of the files, and detectors that have no counterpart.
    """

    pairs: list[Pair]
    notes: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[Line]:
        """The tables of all pairs, one below the other."""
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
    """Compare detectors on their common items.

    Detectors that both sides have are compared with themselves (two runs); where they share none,
    each of one side is compared with the single detector of the other.

    Args:
        first: A prediction file, a folder that is searched for them, predictions, or several.
        second: The same for the other side.
        key: The key file with the labels of ASVspoof score files.
        aggregate: How several rows of one file become one item: ``mean`` or ``max``; ``None``
            refuses them.
        seed: Seed of the permutations.
        threshold: ``pred_prob`` from which on an item is called fake, for both; ``None`` takes the
            labels of the files.
        n_swaps: Permutations of each swap test.
        by_dataset: Compare on each dataset as well.

    Returns:
        For each pair: overall, then by each dataset that both have, if there are several.

    Raises:
        UsageError: Nothing says who is to be compared with whom, or there is no item that both
            scored.
        PredictionsError: A file is not what it should be.
    """
    check_threshold(threshold)
    entrants, notes = pair_up(first, second, key, aggregate)
    pairs = [
        _pair(one, two, seed=seed, threshold=threshold, n_swaps=n_swaps, by_dataset=by_dataset)
        for one, two in entrants
    ]
    corrected = iter(holm([line.difference.p for pair in pairs for line in pair.lines]))
    pairs = [
        replace(pair, lines=[replace(line, p_holm=next(corrected)) for line in pair.lines])
        for pair in pairs
    ]
    return Comparison(pairs, notes)


def _pair(
    one: Entrant,
    two: Entrant,
    *,
    seed: int,
    threshold: float | None,
    n_swaps: int,
    by_dataset: bool,
) -> Pair:
    sides = [one.opened, two.opened]
    if len(sides[0]) == len(sides[1]) == 1:
        sides[1] = [_renamed(sides[1][0], sides[0][0].predictions.dataset)]
    frames = gather_sides(*(Inputs(side, threshold=threshold) for side in sides))
    common = _paired(*(deduplicate(frame) for frame in frames))
    names = [one.name, two.name]
    if one.name == two.name:
        names = [f"{entrant.name} in {entrant.given}" for entrant in (one, two)]
    if common.height == 0:
        raise UsageError(
            f"{names[0]} and {names[1]}: no item that both scored, expected common rows"
        )
    known = pl.concat([frame.select("item", "target") for frame in frames]).unique().height
    lines = [
        line
        for name, pairs in [("overall", common), *(_by_dataset(*frames) if by_dataset else ())]
        for line in _lines(name, pairs, seed, n_swaps)
    ]
    return Pair(names[0], names[1], common.height, known - common.height, lines)


def _renamed(one: Opened, dataset: str) -> Opened:
    return replace(one, predictions=replace(one.predictions, dataset=dataset))


def _by_dataset(first: pl.DataFrame, second: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    shared = [
        name for name in first["dataset"].unique(maintain_order=True) if name in second["dataset"]
    ]
    for name in shared if len(shared) > 1 else []:
        pairs = _paired(
            *(deduplicate(f.filter(pl.col("dataset") == name)) for f in (first, second))
        )
        if pairs.height:
            yield name, pairs


def _paired(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Join the rows that both scored; the second's columns end in ``_2``."""
    scored = (frame.filter(pl.col("state") == "scored") for frame in (first, second))
    one, two = scored
    return one.join(two, on=["item", "target"], suffix="_2", maintain_order="left")


def _lines(name: str, pairs: pl.DataFrame, seed: int, n_swaps: int) -> Iterator[Line]:
    one, two = _items(pairs, ""), _items(pairs, "_2")
    values = [point_values(items, COMPARED) for items in (one, two)]
    shared = [metric for metric in COMPARED if all(metric in found for found in values)]
    defined = [m for m in shared if not any(math.isnan(found[m]) for found in values)]
    differences = compare_by_swaps(one, two, defined, seed=seed, n_swaps=n_swaps)
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


Side = str | Path | Predictions | Sequence[str | Path | Predictions]
"""What detectors said: a file or folder, predictions, or several of these."""


@dataclass(frozen=True)
class Entrant:
    """What one detector of a side said.

    Attributes:
        name: The detector.
        given: What was given that holds it.
        opened: Its predictions, one a dataset.
    """

    name: str
    given: str
    opened: list[Opened]

    @property
    def files(self) -> set[Path]:
        """Paths of the prediction files; empty for predictions from memory."""
        return {one.path.resolve() for one in self.opened if one.path is not None}


Sides = tuple[dict[str, Entrant], dict[str, Entrant]]


def pair_up(
    first: Side,
    second: Side,
    key: str | Path | None = None,
    aggregate: Aggregate | None = None,
) -> tuple[list[tuple[Entrant, Entrant]], list[str]]:
    """Open both sides and say who is compared with whom.

    Args:
        first: One side.
        second: The other.
        key: The key file of those that are ASVspoof score files.
        aggregate: How several rows of one file become one; ``None`` refuses them.

    Returns:
        The pairs, and notes: on the files, and on each detector that has no counterpart.

    Raises:
        UsageError: Both sides hold several detectors and share none, or are the same files.
        PredictionsError: A file is not what it should be.
    """
    sides = _entrants(first, key, aggregate), _entrants(second, key, aggregate)
    if len(sides[0]) == len(sides[1]) == 1:
        pairs = list(zip(sides[0].values(), sides[1].values(), strict=True))
    else:
        sides = _without(sides[0], sides[1]), _without(sides[1], sides[0])
        pairs = _with_itself(*sides) or _with_the_one(*sides)
    for one, two in pairs:
        if one.files and one.files == two.files:
            raise UsageError(
                f"{one.given} and {two.given}: the same files of {one.name}, expected two "
                "detectors or two runs"
            )
    paired = {id(entrant) for pair in pairs for entrant in pair}
    alone = [e for side in sides for e in side.values() if id(e) not in paired]
    notes = source_notes(one for pair in pairs for entrant in pair for one in entrant.opened)
    return pairs, notes + [f"{e.name} in {e.given} has no counterpart" for e in alone]


def _entrants(
    side: Side, key: str | Path | None, aggregate: Aggregate | None
) -> dict[str, Entrant]:
    sources = [side] if isinstance(side, str | Path | Predictions) else side
    by_name: dict[str, list[Opened]] = {}
    for one in open_sources(sources, key=key, aggregate=aggregate):
        by_name.setdefault(one.predictions.detector, []).append(one)
    return {
        name: Entrant(name, str(side) if isinstance(side, str | Path) else opened[0].source, opened)
        for name, opened in by_name.items()
    }


def _without(side: dict[str, Entrant], other: dict[str, Entrant]) -> dict[str, Entrant]:
    """Leave the single detector of the other side out, where this side has its very files too."""
    if len(other) != 1:
        return side
    return {
        name: entrant
        for name, entrant in side.items()
        if not (name in other and other[name].files and other[name].files <= entrant.files)
    }


def _with_itself(
    first: dict[str, Entrant], second: dict[str, Entrant]
) -> list[tuple[Entrant, Entrant]]:
    return [(first[name], second[name]) for name in first if name in second]


def _with_the_one(
    first: dict[str, Entrant], second: dict[str, Entrant]
) -> list[tuple[Entrant, Entrant]]:
    if len(first) > 1 and len(second) > 1:
        told = "; ".join(
            f"{next(iter(side.values())).given}: detectors {', '.join(side)}"
            for side in (first, second)
        )
        raise UsageError(f"{told}; expected a detector that both have, or one alone on a side")
    return [(one, two) for one in first.values() for two in second.values()]
