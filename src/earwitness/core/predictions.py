"""Predictions: a manifest and, for each item and detector, a score or an error.

Conventions: scores rise with fakeness. ``logit`` is any real number, ``pred_prob`` is from 0 to 1.
A row has a score, or ``abstained`` (the clip holds nothing to analyse, such as digital silence), or
``error`` (it could not be scored): exactly one of them, with its reason. ``native_rate_hz`` is the
file's own rate; ``below_band`` says that it is too low for the detector's band. Both are empty
where the file could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import polars as pl

PREDICTION_COLUMNS = (
    "detector",
    "preprocessing",
    "precision",
    "windows",
    "native_rate_hz",
    "below_band",
    "logit",
    "pred_prob",
    "pred_label",
    "abstained",
    "error",
)
"""Columns that follow a manifest's own in a prediction file."""

WINDOW_COLUMNS = (
    "filepath",
    "window",
    "start_s",
    "duration_s",
    "logit",
    "pred_prob",
    "abstained",
)
"""Columns of a file of scores per window."""

ENCODER_PREFIX = "encoder_"
"""Columns of an encoder head are named ``encoder_<class>``, after all others."""


def encoder_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of an encoder head: those named so behind ``PREDICTION_COLUMNS``.

    A manifest may have a column by such a name, too; it comes before them.
    """
    last = max((i for i, name in enumerate(names) if name in PREDICTION_COLUMNS), default=-1)
    return [name for name in names[last + 1 :] if name.startswith(ENCODER_PREFIX)]


class WindowScore(NamedTuple):
    """One window of a file.

    Attributes:
        start_s: Where it begins.
        duration_s: How long it is.
        logit: Its score; ``None`` where the detector abstained from it.
        abstained: Why the detector abstained from it.
    """

    start_s: float
    duration_s: float
    logit: float | None
    abstained: str | None = None


class FileScore(NamedTuple):
    """Result of one detector for one file: windows or an error, never neither.

    Attributes:
        windows: Windows in time order, at least one; ``()`` where there is an error.
        encoders: Mean over scored windows of the rows of the encoder head, ``()`` without such a
            head.
        native_rate_hz: The file's own rate; ``None`` where it could not be read.
        error: Why it could not be scored.
    """

    windows: tuple[WindowScore, ...] = ()
    encoders: tuple[float, ...] = ()
    native_rate_hz: int | None = None
    error: str | None = None

    @property
    def logit(self) -> float | None:
        """Mean logit of the windows that have one, or ``None`` where there is none."""
        logits = [window.logit for window in self.windows if window.logit is not None]
        return sum(logits) / len(logits) if logits else None

    @property
    def abstained(self) -> str | None:
        """Why the detector abstained from all windows; the reason of the first."""
        if not self.windows or any(window.logit is not None for window in self.windows):
            return None
        return self.windows[0].abstained


@dataclass(frozen=True)
class Predictions:
    """The rows one detector gave for one manifest.

    Attributes:
        dataset: Name of the manifest.
        detector: Name of the detector.
        frame: The manifest's columns, then ``PREDICTION_COLUMNS``, then the encoder columns.
        windows: ``WINDOW_COLUMNS``, one row a window, where they were asked for.
        notes: What the reader of the file should know about it, one sentence each.
    """

    dataset: str
    detector: str
    frame: pl.DataFrame
    windows: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_failed(self) -> int:
        """Rows with an error in place of a score."""
        return int(self.frame["error"].is_not_null().sum())

    @property
    def n_abstained(self) -> int:
        """Rows that hold nothing to analyse; none where the frame has no such column."""
        if "abstained" not in self.frame.columns:
            return 0
        return int(self.frame["abstained"].is_not_null().sum())

    @property
    def n_scored(self) -> int:
        """Rows with a score."""
        return self.frame.height - self.n_failed - self.n_abstained
