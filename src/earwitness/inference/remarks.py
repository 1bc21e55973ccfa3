"""What a user should know of how files were scored, said once a run and not once a file."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from earwitness.core.cards import DetectorCard
from earwitness.core.predictions import Predictions


def list_remarks(predictions: Sequence[Predictions], cards: Sequence[DetectorCard]) -> list[str]:
    """Return a line for every detector and every thing to know about its scores.

    Told are files that were not resampled though their rate is another than the detector's, and
    files whose rate is too low for the band that the detector looks at. A file that several
    manifests name is counted once.

    Args:
        predictions: Whatever was scored.
        cards: The cards of the detectors that scored it.
    """
    remarks = []
    for card in cards:
        frames = [p.frame for p in predictions if p.detector == card.name]
        if card.contract.native_rate:
            rate_hz = card.contract.sample_rate_hz
            if n := _count(frames, pl.col("native_rate_hz") != rate_hz):
                remarks.append(
                    f"{card.name}: {_files(n)} not at {rate_hz} Hz, scored as if at it, as "
                    "published (--preprocessing correct resamples)"
                )
        if n := _count(frames, pl.col("below_band")):
            remarks.append(
                f"{card.name}: {_files(n)} with a rate below {2 * card.band_hz[1]:g} Hz, empty in "
                "part of the band that it looks at (column below_band)"
            )
    return remarks


def _count(frames: Sequence[pl.DataFrame], told: pl.Expr) -> int:
    """Return how many files are told of; rows without an answer are not."""
    return len({path for frame in frames for path in frame.filter(told)["filepath"].to_list()})


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"
