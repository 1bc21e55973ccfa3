"""Scores as tables: the rows of a manifest with what a detector said of them.

Conventions: one row out per row in, in order; see ``core.predictions`` for the columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from earwitness.core.manifest import Manifest
from earwitness.core.predictions import (
    ENCODER_PREFIX,
    PREDICTION_COLUMNS,
    WINDOW_COLUMNS,
    FileScore,
)
from earwitness.inference.tally import Tally
from earwitness.passes.cutting import Job


def prediction_frame(
    manifest: Manifest,
    jobs: Sequence[Job],
    tally: Tally,
    *,
    threshold: float | None,
) -> pl.DataFrame:
    """Return a manifest's columns and ``PREDICTION_COLUMNS``, then the encoder columns.

    Args:
        manifest: What was judged.
        jobs: What was decoded for each of its rows.
        tally: What the detector said.
        threshold: Decision threshold; ``None`` takes the card's.
    """
    card = tally.detector.card
    cut = card.threshold if threshold is None else threshold
    scores = [tally.finished[tally.key(job)] for job in jobs]
    logits = [score.logit for score in scores]
    probs = [_prob(logit) for logit in logits]
    rates = [score.native_rate_hz for score in scores]
    below = [None if rate is None else rate < 2 * card.band_hz[1] for rate in rates]
    same = {
        "detector": card.name,
        "preprocessing": card.preprocessing,
        "precision": card.precision,
        "windows": str(tally.request.windows),
    }
    added = [
        *(pl.Series(name, [value] * len(jobs), pl.String) for name, value in same.items()),
        pl.Series("native_rate_hz", rates, pl.Int64),
        pl.Series("below_band", below, pl.Boolean),
        pl.Series("logit", logits, pl.Float64),
        pl.Series("pred_prob", probs, pl.Float64),
        pl.Series("pred_label", [None if p is None else int(p >= cut) for p in probs], pl.Int8),
        pl.Series("abstained", [score.abstained for score in scores], pl.String),
        pl.Series("error", [score.error for score in scores], pl.String),
        *_encoder_columns(scores, card.encoders),
    ]
    replaced = {*PREDICTION_COLUMNS, *(series.name for series in added)}
    return manifest.frame.drop(replaced & set(manifest.frame.columns)).with_columns(added)


def window_frame(manifest: Manifest, jobs: Sequence[Job], tally: Tally) -> pl.DataFrame:
    """Return ``WINDOW_COLUMNS``, one row a window of every row without an error.

    Windows are numbered from 1, in time order.
    """
    rows = [
        (filepath, number, start_s, duration_s, logit, _prob(logit), abstained)
        for filepath, job in zip(manifest.frame["filepath"].to_list(), jobs, strict=True)
        for number, (start_s, duration_s, logit, abstained) in enumerate(
            tally.finished[tally.key(job)].windows, 1
        )
    ]
    types = (pl.String, pl.Int64, *[pl.Float64] * 4, pl.String)
    return pl.DataFrame(rows, dict(zip(WINDOW_COLUMNS, types, strict=True)), orient="row")


def _prob(logit: float | None) -> float | None:
    """The logistic function, without overflow at either end."""
    if logit is None:
        return None
    small = float(np.exp(-abs(logit)))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def _encoder_columns(scores: Sequence[FileScore], encoders: Sequence[str]) -> list[pl.Series]:
    columns = []
    for position, name in enumerate(encoders):
        values = [score.encoders[position] if score.encoders else None for score in scores]
        columns.append(pl.Series(f"{ENCODER_PREFIX}{name}", values, dtype=pl.Float64))
    return columns
