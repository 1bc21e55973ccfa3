"""Score every item of every manifest with every detector.

Conventions: one row out per row in; a file that several manifests name is decoded and scored
once (once for each skip_time, where that counts); windows are averaged as logits; a row that could
not be scored has its reason in ``error`` and no score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.core.cards import Windows
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.detectors.base import Detector
from earwitness.detectors.loading import open_detector
from earwitness.scoring.batching import Scorers, Tally
from earwitness.scoring.clips import ClipRequest, Job
from earwitness.scoring.frames import prediction_frame, window_frame
from earwitness.scoring.store import RowStore, absolute
from earwitness.scoring.workers import Task, decode_files

OnFileDone = Callable[[bool], None]
"""Called once per file, with whether its clips could be cut for every detector."""


@dataclass
class Plan:
    """The work that is left.

    Attributes:
        manifests: Manifests to score.
        jobs: The file to decode for each row, by manifest.
        tallies: Each detector and its scores so far.
        tasks: Files that some detector has not scored yet.
    """

    manifests: Sequence[Manifest]
    jobs: list[list[Job]]
    tallies: list[Tally]
    tasks: list[Task]

    @property
    def n_files(self) -> int:
        """Number of files, including those that are done."""
        return len({job for rows in self.jobs for job in rows})

    @property
    def is_done(self) -> bool:
        """Whether every detector has a score or an error for every file."""
        return all(
            tally.key(job) in tally.finished
            for tally in self.tallies
            for rows in self.jobs
            for job in rows
        )


def predict(
    manifests: Manifest | Sequence[Manifest],
    detectors: Sequence[Detector | str],
    *,
    weights: Mapping[str, Path] | None = None,
    windows: Windows = "published",
    use_skip_time: bool = False,
    keep_windows: bool = False,
    threshold: float | None = None,
    batch_size: int | None = None,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
) -> list[Predictions]:
    """Score manifests.

    Args:
        manifests: One manifest or several.
        detectors: Detectors; a name, hub id or folder is opened first.
        weights: Paths of the weights of detectors given by name.
        windows: Clips per file: ``published`` is each detector's single published crop, a number
            spreads so many evenly, ``all`` puts one after another over the whole file.
        use_skip_time: Leave out what the manifests' ``skip_time`` says at the start of files, for
            every detector and not only for those that ask for it.
        keep_windows: Keep the score of every window.
        threshold: Decision threshold on the number between 0 and 1; ``None`` takes each
            card's own.
        batch_size: Maximum batch size; ``None`` takes each detector's own.
            Scores do not depend on it.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Called for every file that is done.

    Returns:
        One ``Predictions`` a manifest and detector, manifests outermost.

    Raises:
        DetectorError: A name that is no detector's.
        WeightsError: Weights of a detector given by name are missing or do not fit.
    """
    manifests = [manifests] if isinstance(manifests, Manifest) else manifests
    judges = [open_detector(d, weights=weights) if isinstance(d, str) else d for d in detectors]
    plan = plan_scoring(
        manifests, judges, windows=windows, use_skip_time=use_skip_time, batch_size=batch_size
    )
    score_plan(plan, n_workers=n_workers, advance=advance)
    return tabulate(plan, threshold=threshold, keep_windows=keep_windows)


def plan_scoring(
    manifests: Sequence[Manifest],
    detectors: Sequence[Detector],
    *,
    windows: Windows = "published",
    use_skip_time: bool = False,
    batch_size: int | None = None,
    stores: Sequence[RowStore] = (),
) -> Plan:
    """Return the work that is left; see ``predict``.

    Args:
        manifests: Manifests to score.
        detectors: Detectors to score them with.
        windows: Clips per file.
        use_skip_time: Skip for every detector.
        batch_size: Maximum batch size.
        stores: One store per detector, with its finished rows; without stores, rows are kept in
            memory only.
    """
    contracts = [detector.card.contract for detector in detectors]
    requests = [ClipRequest(c, windows, use_skip_time or c.skip_time) for c in contracts]
    pairs = zip(detectors, requests, strict=True)
    tallies = [Tally(detector, request, batch_size) for detector, request in pairs]
    jobs = [_row_jobs(manifest, requests) for manifest in manifests]
    distinct = list(dict.fromkeys(job for rows in jobs for job in rows))
    for tally, store in zip(tallies, stores, strict=False):
        tally.keep = store.add
        known = ((job, store.finished.get(absolute(job))) for job in map(tally.key, distinct))
        tally.finished = {job: score for job, score in known if score is not None}
    return Plan(manifests, jobs, tallies, _tasks(distinct, tallies))


def score_plan(
    plan: Plan,
    *,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Score the files of a plan; afterwards its tallies hold every file, unless it was stopped.

    Args:
        plan: The work that is left.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Called for every file that is done.
        should_stop: Called before every file; once true, only files in progress are finished.
    """
    n_parts_done: Counter[Job] = Counter()
    with Scorers([tally.detector for tally in plan.tallies]) as scorers:
        for decoded in decode_files(plan.tasks, n_workers=n_workers, should_stop=should_stop):
            for tally in plan.tallies:
                tally.add(decoded)
                for batch in tally.take_batches():
                    scorers.submit(tally, batch)
            n_parts_done[decoded.job] += 1
            if advance and n_parts_done[decoded.job] == decoded.n_parts:
                advance(not any(isinstance(cut, str) for cut in decoded.cuts.values()))
        for tally in plan.tallies:
            for batch in tally.take_batches(rest=True):
                scorers.submit(tally, batch)
        scorers.drain()


def tabulate(
    plan: Plan, *, threshold: float | None = None, keep_windows: bool = False
) -> list[Predictions]:
    """Return one ``Predictions`` a manifest and detector of a plan that was carried out."""
    return [
        Predictions(
            manifest.name,
            tally.detector.card.name,
            prediction_frame(manifest, rows, tally, threshold=threshold),
            window_frame(manifest, rows, tally) if keep_windows else None,
        )
        for manifest, rows in zip(plan.manifests, plan.jobs, strict=True)
        for tally in plan.tallies
    ]


def count_files(
    manifests: Sequence[Manifest], detectors: Sequence[Detector], *, use_skip_time: bool = False
) -> int:
    """Return how often ``predict`` calls ``advance``."""
    return plan_scoring(manifests, detectors, use_skip_time=use_skip_time).n_files


def _row_jobs(manifest: Manifest, requests: Sequence[ClipRequest]) -> list[Job]:
    """Return what has to be decoded for each row; skip_time counts where a request skips."""
    paths = [str(path) for path in manifest.locate_all()]
    if "skip_time" not in manifest.frame.columns or not any(r.skips for r in requests):
        return [Job(path) for path in paths]
    skips = manifest.frame["skip_time"].fill_null(0).to_list()
    return [Job(path, float(skip_s)) for path, skip_s in zip(paths, skips, strict=True)]


def _tasks(jobs: Sequence[Job], tallies: Sequence[Tally]) -> list[Task]:
    """Return the decoding tasks of files that some detector has not scored yet."""
    planned = [set(tally.finished) for tally in tallies]
    tasks = []
    for job in jobs:
        wanted: dict[ClipRequest, None] = {}
        for tally, known in zip(tallies, planned, strict=True):
            key = tally.key(job)
            if key not in known:
                known.add(key)
                wanted[tally.request] = None
        if wanted:
            tasks.append(Task(job, tuple(wanted)))
    return tasks
