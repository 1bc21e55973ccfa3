"""Which detector of one side is compared with which of the other.

Conventions: a detector that both sides have is compared with itself, as in two runs; where they
share none and one side holds a single detector, each of the other side is compared with it. A
single detector whose own files lie on the other side too is not compared with itself: ``compare
runs/a runs/a/preds/fma/cnn.csv`` holds all others of the run against ``cnn``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.errors import UsageError
from earwitness.core.predictions import Predictions
from earwitness.evaluation.opened import Opened
from earwitness.evaluation.repeats import Aggregate
from earwitness.evaluation.sources import open_sources, source_notes

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
        """Where the predictions lie; empty for predictions from memory."""
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
    """Leave the single detector of the other side out, where its very files lie here too."""
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
