"""Scores as tables: the rows of a manifest with what a detector said of them.

Conventions: one row out per row in, in order; see ``core.predictions`` for the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from earwitness.core.manifest import Manifest
from earwitness.core.predictions import ENCODER_PREFIX, PREDICTION_COLUMNS, WINDOW_COLUMNS
from earwitness.inference.tally import Tally
from earwitness.passes.workers import Job


def prediction_frame(
    manifest: Manifest,
    jobs: Sequence[Job],
    tally: Tally,
    *,
    rates_hz: Mapping[str, int],
    threshold: float | None,
) -> pl.DataFrame:
    """Return a manifest's columns and ``PREDICTION_COLUMNS``, then the encoder columns.

    Args:
        manifest: What was judged.
        jobs: What was decoded for each of its rows.
        tally: What the detector said.
        rates_hz: Native rates of the files that could be read.
        threshold: Decision threshold; ``None`` takes the card's.
    """
    card = tally.detector.card
    cut = card.threshold if threshold is None else threshold
    probs = [_prob(tally.logit(job)) for job in jobs]
    rates = [rates_hz.get(job.path) for job in jobs]
    below = [None if rate is None else rate < 2 * card.band_hz[1] for rate in rates]
    same = {
        "detector": card.name,
        "preprocessing": card.preprocessing,
        "windows": str(tally.request.windows),
    }
    added = [
        *(pl.Series(name, [value] * len(jobs), pl.String) for name, value in same.items()),
        pl.Series("native_rate_hz", rates, pl.Int64),
        pl.Series("below_band", below, pl.Boolean),
        pl.Series("logit", [tally.logit(job) for job in jobs], pl.Float64),
        pl.Series("pred_prob", probs, pl.Float64),
        pl.Series("pred_label", [None if p is None else int(p >= cut) for p in probs], pl.Int8),
        pl.Series("error", [tally.error(job) for job in jobs], pl.String),
        *_encoder_columns(tally, jobs),
    ]
    replaced = {*PREDICTION_COLUMNS, *(series.name for series in added)}
    return manifest.frame.drop(replaced & set(manifest.frame.columns)).with_columns(added)


def window_frame(manifest: Manifest, jobs: Sequence[Job], tally: Tally) -> pl.DataFrame:
    """Return ``WINDOW_COLUMNS``, one row a window of every row that has a score.

    Windows are numbered from 1, in time order.
    """
    rows = [
        (filepath, number, start_s, duration_s, logit, _prob(logit))
        for filepath, job in zip(manifest.frame["filepath"].to_list(), jobs, strict=True)
        if tally.error(job) is None
        for number, (start_s, duration_s, logit) in enumerate(tally.windows[tally.key(job)], 1)
    ]
    types = (pl.String, pl.Int64, *[pl.Float64] * 4)
    return pl.DataFrame(rows, dict(zip(WINDOW_COLUMNS, types, strict=True)), orient="row")


def _prob(logit: float | None) -> float | None:
    """The logistic function, without overflow at either end."""
    if logit is None:
        return None
    small = float(np.exp(-abs(logit)))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def _encoder_columns(tally: Tally, jobs: Sequence[Job]) -> list[pl.Series]:
    keys = [tally.key(job) for job in jobs]
    columns = []
    for position, name in enumerate(tally.detector.card.encoders):
        values = [
            float(np.mean([row[position] for row in tally.encoders[key]]))
            if key in tally.encoders and key not in tally.errors
            else None
            for key in keys
        ]
        columns.append(pl.Series(f"{ENCODER_PREFIX}{name}", values, dtype=pl.Float64))
    return columns
