"""Judging every item of every manifest with every detector.

Conventions: one row out per row in; a file that several manifests name is decoded and scored
once; windows are averaged as logits; a row that could not be scored has its reason in
``error`` and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from earwitness.audio.clips import Clip
from earwitness.core.errors import DetectorError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import ENCODER_PREFIX, PREDICTION_COLUMNS, Predictions
from earwitness.detectors.base import Detector
from earwitness.passes.workers import ClipRequest, decode_files

Advance = Callable[[bool], None]
"""Called once a file, with whether every detector could be asked about it."""

_BATCH_BYTES = 64 * 2**20


@dataclass
class _Tally:
    """Scores of one detector by file, and the batch that waits for it."""

    detector: Detector
    batch_size: int
    logits: dict[str, list[float]] = field(default_factory=dict)
    encoders: dict[str, list[np.ndarray]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    queue: list[tuple[str, Clip]] = field(default_factory=list)
    queued_bytes: int = 0

    def add(self, path: str, clips: list[Clip] | str) -> None:
        """Take what was decoded of one file and score when enough has come together."""
        if isinstance(clips, str):
            self.errors[path] = clips
            return
        for clip in clips:
            self.queue.append((path, clip))
            self.queued_bytes += clip.samples.nbytes
            if len(self.queue) >= self.batch_size or self.queued_bytes >= _BATCH_BYTES:
                self.flush()

    def flush(self) -> None:
        """Score what waits; a clip that the detector refuses costs its own file alone."""
        queue, self.queue, self.queued_bytes = self.queue, [], 0
        if not queue:
            return
        try:
            scores = self.detector.score([clip for _, clip in queue])
        except DetectorError as error:
            if len(queue) == 1:
                self.errors[queue[0][0]] = str(error)
                return
            for path, clip in queue:
                self.queue = [(path, clip)]
                self.flush()
            return
        for position, (path, _) in enumerate(queue):
            self.logits.setdefault(path, []).append(float(scores.logits[position]))
            if scores.encoders is not None:
                self.encoders.setdefault(path, []).append(scores.encoders[position])


def predict(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    *,
    windows: int = 1,
    threshold: float | None = None,
    batch_size: int = 32,
    n_workers: int | None = None,
    advance: Advance | None = None,
) -> list[Predictions]:
    """Score manifests.

    Args:
        manifests: What is judged.
        detectors: Who judges.
        windows: Clips per file, evenly spread; 1 is the centre. Detectors that take whole
            files have one.
        threshold: Decision threshold on the number between 0 and 1; ``None`` takes each
            card's own.
        batch_size: Clips that a network sees at once; scores do not depend on it.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file that is done.

    Returns:
        One ``Predictions`` a manifest and detector, manifests outermost.
    """
    tallies = [_Tally(detector, batch_size) for detector in detectors]
    requests = tuple(ClipRequest(d.card.contract, windows) for d in detectors)
    located = [[str(path) for path in manifest.locate_all()] for manifest in manifests]
    every_file = list(dict.fromkeys(path for paths in located for path in paths))
    for decoded in decode_files(every_file, requests, n_workers=n_workers):
        for tally, clips in zip(tallies, decoded.clips, strict=True):
            tally.add(decoded.path, clips)
        if advance:
            advance(not any(isinstance(clips, str) for clips in decoded.clips))
    for tally in tallies:
        tally.flush()
    return [
        Predictions(
            manifest.name,
            tally.detector.card.name,
            _frame(manifest, paths, tally, windows=windows, threshold=threshold),
        )
        for manifest, paths in zip(manifests, located, strict=True)
        for tally in tallies
    ]


def _frame(
    manifest: Manifest,
    paths: list[str],
    tally: _Tally,
    *,
    windows: int,
    threshold: float | None,
) -> pl.DataFrame:
    card = tally.detector.card
    cut = card.threshold if threshold is None else threshold
    logits = [_mean_logit(tally, path) for path in paths]
    probs = [None if logit is None else _logistic(logit) for logit in logits]
    added = [
        pl.Series("detector", [card.name] * len(paths), dtype=pl.String),
        pl.Series("preprocessing", [card.preprocessing] * len(paths), dtype=pl.String),
        pl.Series("windows", [str(windows)] * len(paths), dtype=pl.String),
        pl.Series("logit", logits, dtype=pl.Float64),
        pl.Series("pred_prob", probs, dtype=pl.Float64),
        pl.Series("pred_label", [None if p is None else int(p >= cut) for p in probs], pl.Int8),
        pl.Series("error", [_error(tally, path) for path in paths], dtype=pl.String),
        *_encoder_columns(tally, paths),
    ]
    replaced = {*PREDICTION_COLUMNS, *(series.name for series in added)}
    return manifest.frame.drop(replaced & set(manifest.frame.columns)).with_columns(added)


def _mean_logit(tally: _Tally, path: str) -> float | None:
    if path in tally.errors or path not in tally.logits:
        return None
    mean = float(np.mean(tally.logits[path]))
    return mean if np.isfinite(mean) else None


def _error(tally: _Tally, path: str) -> str | None:
    if path in tally.errors:
        return tally.errors[path]
    return None if _mean_logit(tally, path) is not None else "the detector gave no finite score"


def _logistic(logit: float) -> float:
    """The logistic function, without overflow at either end."""
    small = float(np.exp(-abs(logit)))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)


def _encoder_columns(tally: _Tally, paths: list[str]) -> list[pl.Series]:
    columns = []
    for position, name in enumerate(tally.detector.card.encoders):
        values = [
            float(np.mean([row[position] for row in tally.encoders[path]]))
            if path in tally.encoders and path not in tally.errors
            else None
            for path in paths
        ]
        columns.append(pl.Series(f"{ENCODER_PREFIX}{name}", values, dtype=pl.Float64))
    return columns
