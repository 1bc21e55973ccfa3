"""Scores as tables: the rows of a manifest with what a detector said of them.

Conventions: one row out per row in, in order; see ``core.predictions`` for the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from earwitness.core.cards import DetectorCard
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import (
    ENCODER_PREFIX,
    PREDICTION_COLUMNS,
    WINDOW_COLUMNS,
    FileScore,
    Predictions,
)
from earwitness.scoring.batching import Tally
from earwitness.scoring.clips import Job


def prediction_frame(
    manifest: Manifest,
    jobs: Sequence[Job],
    tally: Tally,
    *,
    threshold: float | None,
) -> pl.DataFrame:
    """Return a manifest's columns and ``PREDICTION_COLUMNS``, then the encoder columns.

    Args:
        manifest: What was scored.
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


_SPECTTTRA = "sonics-"


def list_remarks(
    predictions: Sequence[Predictions],
    cards: Sequence[DetectorCard],
    *,
    as_published: bool = False,
) -> list[str]:
    """Return a line for every thing to know about the scores, with the detectors it concerns.

    Files are counted that were not resampled though their rate is another than the detector's, and
    files whose rate is too low for the band that the detector looks at. A file that several
    manifests name is counted once.

    Args:
        predictions: Whatever was scored.
        cards: The cards of the detectors that scored it.
        as_published: Say as well where the published loader gives other scores.
    """
    concerned: dict[str, list[str]] = {}
    for card in cards:
        frames = [p.frame for p in predictions if p.detector == card.name]
        texts = [*_list_texts(frames, card), *(_list_changes(frames, card) if as_published else ())]
        for text in texts:
            concerned.setdefault(text, []).append(card.name)
    return [f"{_detectors(names)}: {text}" for text, names in concerned.items()]


def _list_texts(frames: Sequence[pl.DataFrame], card: DetectorCard) -> Iterator[str]:
    rate_hz = card.contract.sample_rate_hz
    if card.contract.native_rate and (n := _count(frames, pl.col("native_rate_hz") != rate_hz)):
        published = card.preprocessing == "published"
        why = "as published (--preprocessing correct resamples)" if published else "as it was made"
        yield f"{_files(n)} not at {rate_hz} Hz, scored as if at it, {why}"
    if n := _count(frames, pl.col("below_band")):
        yield (
            f"{_files(n)} with a rate below {2 * card.band_hz[1]:g} Hz, empty in part of the band "
            "that it looks at (column below_band)"
        )


def _list_changes(frames: Sequence[pl.DataFrame], card: DetectorCard) -> Iterator[str]:
    """Say where scores differ from those that the published command gives."""
    contract = card.contract
    n = _count(frames, pl.col("native_rate_hz") != contract.sample_rate_hz)
    if n and not contract.native_rate:
        loader = (
            "the published loader does not (--preprocessing published) and gives other scores"
            if card.name.startswith(_SPECTTTRA)
            else "with another resampler the published scores differ a little"
        )
        yield f"{_files(n)} not at {contract.sample_rate_hz} Hz, resampled; {loader}"


def _count(frames: Sequence[pl.DataFrame], told: pl.Expr) -> int:
    """Return how many files are told of; rows without an answer are not."""
    return len({path for frame in frames for path in frame.filter(told)["filepath"].to_list()})


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"


def _detectors(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} detectors (as {names[0]})"
