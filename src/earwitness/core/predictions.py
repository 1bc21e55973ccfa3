"""Predictions: a manifest and, for each item and detector, a score or an error.

Conventions: scores rise with fakeness. ``logit`` is any real number, ``pred_prob`` lies between
0 and 1; a row that could not be scored has both empty and says why in ``error``.
``native_rate_hz`` is the file's own rate; ``below_band`` says that it is too low for the band that
the detector looks at. Both are empty where the file could not be read.
"""

from __future__ import annotations

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
    "error",
)
"""Columns that follow a manifest's own in a prediction file."""

WINDOW_COLUMNS = ("filepath", "window", "start_s", "duration_s", "logit", "pred_prob")
"""Columns of a file of scores per window."""

ENCODER_PREFIX = "encoder_"
"""Columns of an encoder head are named ``encoder_<class>``, after all others."""


class WindowScore(NamedTuple):
    """The logit of one window, and where it lies in its file."""

    start_s: float
    duration_s: float
    logit: float


class FileScore(NamedTuple):
    """What one detector said of one file: scores or an error, never neither.

    Attributes:
        windows: Scores in time order, at least one; ``()`` where there is an error.
        encoders: Mean over windows of the rows of the encoder head, ``()`` without such a head.
        native_rate_hz: The file's own rate; ``None`` where it could not be read.
        error: Why there is no score.
    """

    windows: tuple[WindowScore, ...] = ()
    encoders: tuple[float, ...] = ()
    native_rate_hz: int | None = None
    error: str | None = None

    @property
    def logit(self) -> float | None:
        """Mean logit of the windows, or ``None`` where there is an error."""
        if self.error is not None:
            return None
        return sum(window.logit for window in self.windows) / len(self.windows)


@dataclass(frozen=True)
class Predictions:
    """The rows one detector gave for one manifest.

    Attributes:
        dataset: Name of the manifest.
        detector: Name of the detector.
        frame: The manifest's columns, then ``PREDICTION_COLUMNS``, then the encoder columns.
        windows: ``WINDOW_COLUMNS``, one row a window, where they were asked for.
    """

    dataset: str
    detector: str
    frame: pl.DataFrame
    windows: pl.DataFrame | None = None

    @property
    def n_failed(self) -> int:
        """Rows with an error in place of a score."""
        return int(self.frame["error"].is_not_null().sum())

    @property
    def n_scored(self) -> int:
        """Rows with a score."""
        return self.frame.height - self.n_failed
