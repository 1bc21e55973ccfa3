"""Predictions: a manifest with a score or an error per item.

Conventions: scores rise with fakeness; ``logit`` is any real number, ``pred_prob`` is from 0 to 1.
A row has exactly one of a score, ``abstained`` (the reason why there is nothing to analyse, such
as digital silence) and ``error``. ``native_rate_hz`` is the file's own rate; ``below_band`` means
that it is too low for the detector's band. Both are empty if the file cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import polars as pl

PREDICTION_COLUMNS = (
    *("detector", "preprocessing", "precision", "windows", "native_rate_hz", "below_band"),
    *("logit", "pred_prob", "pred_label", "abstained", "error"),
)
"""Columns that follow a manifest's own in a prediction file."""

WINDOW_COLUMNS = ("filepath", "window", "start_s", "duration_s", "logit", "pred_prob", "abstained")
"""Columns of a file of scores per window."""

Details = Mapping[str, float | int | str | None]
"""Further columns of a row, which follow those of an encoder head: name → value."""

DETAIL_COLUMNS = {"decoder_period_hz": float, "decoder_guess": str, "n_teeth": int}
"""Columns of ``Details`` that detectors of this package give, and their types."""

ENCODER_PREFIX = "encoder_"
"""Prefix of an encoder head's columns, which follow all others: ``encoder_<class>``."""


def encoder_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of an encoder head, which follow ``PREDICTION_COLUMNS``."""
    # A manifest may have columns of such names, too, but they come first.
    last = max((i for i, name in enumerate(names) if name in PREDICTION_COLUMNS), default=-1)
    return [name for name in names[last + 1 :] if name.startswith(ENCODER_PREFIX)]


class WindowScore(NamedTuple):
    """Score of one window of a file, or why the detector abstained."""

    start_s: float
    duration_s: float | None  # None: to the end of a file that the detector read itself
    logit: float | None
    abstained: str | None = None


class FileScore(NamedTuple):
    """Result of one detector for one file: at least one window, or an error.

    Attributes:
        windows: Windows in time order.
        encoders: Output of the encoder head, averaged over scored windows; may be empty.
        native_rate_hz: The file's own rate; ``None`` if it could not be read.
        error: Why it could not be scored.
        details: Further columns of its row, from the window with the highest logit.
        note: Note of the detector for the user, from the first window that has one.
    """

    windows: tuple[WindowScore, ...] = ()
    encoders: tuple[float, ...] = ()
    native_rate_hz: int | None = None
    error: str | None = None
    details: Details | None = None
    note: str | None = None

    @property
    def logit(self) -> float | None:
        """Mean logit of the scored windows; ``None`` without any."""
        logits = [window.logit for window in self.windows if window.logit is not None]
        return sum(logits) / len(logits) if logits else None

    @property
    def abstained(self) -> str | None:
        """Why the detector abstained, if from all windows: the reason of the first."""
        if not self.windows or any(window.logit is not None for window in self.windows):
            return None
        return self.windows[0].abstained


@dataclass(frozen=True)
class Predictions:
    """Predictions of one detector for one manifest.

    Attributes:
        dataset: Name of the manifest.
        detector: Name of the detector.
        frame: The manifest's columns, then ``PREDICTION_COLUMNS``, then the encoder columns
            and those of ``Details``.
        windows: ``WINDOW_COLUMNS``, one row per window, if requested.
        notes: Notes from reading the file.
    """

    dataset: str
    detector: str
    frame: pl.DataFrame
    windows: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_failed(self) -> int:
        """Rows with an error."""
        return int(self.frame["error"].is_not_null().sum())

    @property
    def n_abstained(self) -> int:
        """Rows with nothing to analyse; 0 if the frame has no such column."""
        if "abstained" not in self.frame.columns:
            return 0
        return int(self.frame["abstained"].is_not_null().sum())

    @property
    def n_scored(self) -> int:
        """Rows with a score."""
        return self.frame.height - self.n_failed - self.n_abstained
