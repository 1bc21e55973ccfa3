"""Judging every item of every manifest with every detector.

Conventions: one row out per row in; a file that several manifests name is decoded and scored
once (once for each skip_time, where that counts); windows are averaged as logits; a row that could
not be scored has its reason in ``error`` and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from earwitness.audio.clips import Windows
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector
from earwitness.detectors.opening import open_detector
from earwitness.inference.frames import prediction_frame, window_frame
from earwitness.inference.tally import Tally
from earwitness.passes.workers import ClipRequest, Job, decode_files

Advance = Callable[[bool], None]
"""Called once a file, with whether every detector could be asked about it."""


def predict(
    manifests: Manifest | Sequence[Manifest],
    detectors: Sequence[Detector | str],
    *,
    weights: Mapping[str, Path] | None = None,
    windows: Windows = "published",
    use_skip_time: bool = False,
    keep_windows: bool = False,
    threshold: float | None = None,
    batch_size: int = 32,
    n_workers: int | None = None,
    advance: Advance | None = None,
) -> list[Predictions]:
    """Score manifests.

    Args:
        manifests: What is judged, one manifest or several.
        detectors: Who judges; a name, hub id or folder is opened first.
        weights: Where the weights of detectors given by name lie.
        windows: Clips per file: ``published`` is each detector's single published crop, a number
            spreads so many evenly, ``all`` puts one after another over the whole file.
        use_skip_time: Leave out what the manifests' ``skip_time`` says at the start of files, for
            every detector and not only for those that ask for it.
        keep_windows: Keep the score of every window.
        threshold: Decision threshold on the number between 0 and 1; ``None`` takes each
            card's own.
        batch_size: Clips that a network sees at once; scores do not depend on it.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Told of every file that is done.

    Returns:
        One ``Predictions`` a manifest and detector, manifests outermost.

    Raises:
        DetectorError: A name that is no detector's.
        WeightsError: Weights of a detector given by name are missing or do not fit.
    """
    manifests = [manifests] if isinstance(manifests, Manifest) else manifests
    judges = [open_detector(d, weights=weights) if isinstance(d, str) else d for d in detectors]
    requests = _requests(judges, windows=windows, use_skip_time=use_skip_time)
    pairs = zip(judges, requests, strict=True)
    tallies = [Tally(detector, request, batch_size) for detector, request in pairs]
    jobs = [_row_jobs(manifest, requests) for manifest in manifests]
    rates_hz: dict[str, int] = {}
    for decoded in decode_files(_distinct(jobs), requests, n_workers=n_workers):
        if decoded.info:
            rates_hz[decoded.job.path] = decoded.info.sample_rate_hz
        for tally, clips in zip(tallies, decoded.clips, strict=True):
            tally.add(decoded, clips)
        if advance:
            advance(not any(isinstance(clips, str) for clips in decoded.clips))
    for tally in tallies:
        tally.flush()
    return [
        Predictions(
            manifest.name,
            tally.detector.card.name,
            prediction_frame(manifest, rows, tally, rates_hz=rates_hz, threshold=threshold),
            window_frame(manifest, rows, tally) if keep_windows else None,
        )
        for manifest, rows in zip(manifests, jobs, strict=True)
        for tally in tallies
    ]


def count_files(
    manifests: Sequence[Manifest], detectors: Sequence[Detector], *, use_skip_time: bool = False
) -> int:
    """Return how many files ``predict`` will tell ``advance`` of."""
    requests = _requests(detectors, windows="published", use_skip_time=use_skip_time)
    return len(_distinct([_row_jobs(manifest, requests) for manifest in manifests]))


def _requests(
    detectors: Sequence[Detector], *, windows: Windows, use_skip_time: bool
) -> tuple[ClipRequest, ...]:
    contracts = [detector.card.contract for detector in detectors]
    return tuple(ClipRequest(c, windows, use_skip_time or c.skip_time) for c in contracts)


def _row_jobs(manifest: Manifest, requests: Sequence[ClipRequest]) -> list[Job]:
    """Return what has to be decoded for each row; skip_time counts where a request skips."""
    paths = [str(path) for path in manifest.locate_all()]
    if "skip_time" not in manifest.frame.columns or not any(r.skips for r in requests):
        return [Job(path) for path in paths]
    skips = manifest.frame["skip_time"].fill_null(0).to_list()
    return [Job(path, float(skip_s)) for path, skip_s in zip(paths, skips, strict=True)]


def _distinct(jobs: Sequence[Sequence[Job]]) -> list[Job]:
    return list(dict.fromkeys(job for rows in jobs for job in rows))
