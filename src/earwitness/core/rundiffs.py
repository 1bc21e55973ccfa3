"""What differs between two run folders.

Conventions: differences are second minus first; paths are those of the manifests; an item that
several manifests name counts once for a detector; ``None`` is undefined.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
        told: How it was tested, or why not.
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
