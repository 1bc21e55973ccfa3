"""Predictions that were opened, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from earwitness.core.predictions import Predictions


@dataclass(frozen=True)
class Opened:
    """Predictions and where they came from.

    Attributes:
        predictions: Rows of one detector on one dataset.
        source: The prediction file, or names where the predictions came from memory.
        path: The file; ``None`` for predictions from memory.
        key: The key file that tells the truth of an ASVspoof score file.
    """

    predictions: Predictions
    source: str
    path: Path | None = None
    key: Path | None = None
