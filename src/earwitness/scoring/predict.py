"""Score every item of every manifest with every detector.

One row out per row in. A file in several manifests is decoded and scored once per skip_time.
Logits of windows are averaged. A row that could not be scored has a reason in ``error``.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.cards import DetectorCard, Windows
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import (
    DETAIL_COLUMNS,
    ENCODER_PREFIX,
    PREDICTION_COLUMNS,
    WINDOW_COLUMNS,
    FileScore,
    Predictions,
)
from earwitness.core.remote import absolute_name, shown_name
from earwitness.detectors.base import AnyDetector, FileDetector
from earwitness.detectors.loading import open_detector
from earwitness.scoring.batching import Scorers, Tally
from earwitness.scoring.clips import ClipRequest, DecodedFile, Job
from earwitness.scoring.perturbed import Recipe
from earwitness.scoring.store import RowStore
from earwitness.scoring.stored_scores import StoredScores
from earwitness.scoring.whole_files import FileTally, score_whole_files
from earwitness.scoring.workers import Task, decode_files

AnyTally = Tally | FileTally
PART_ROWS = 1 << 16
"""Rows whose scores are in memory at a time."""

OnFileDone = Callable[[bool], None]
"""Called once per file, with whether its clips could be cut for every detector."""


@dataclass
class Plan:
    """A scoring run.

    Attributes:
        manifests: The manifests.
        jobs: Jobs of their rows, by manifest.
        tallies: One per detector.
        tasks: Decoding tasks of the files that are not finished.
        left: Jobs that some detector has not finished when the run begins.
        n_files: Number of files, including finished ones.
    """

    manifests: Sequence[Manifest]
    jobs: list[list[Job]]
    tallies: list[AnyTally]
    tasks: list[Task]
    left: list[Job]
    n_files: int

    @property
    def waiting(self) -> list[Job]:
        """Jobs that some detector has not finished."""
        return _select(self.left, lack_scores(self.left, self.tallies))

    def parts(self) -> Iterator[tuple[Manifest, list[Job], AnyTally]]:
        """Yield manifest, jobs of its rows and tally of a detector, manifests outermost."""
        for manifest, rows in zip(self.manifests, self.jobs, strict=True):
            for tally in self.tallies:
                yield manifest, rows, tally

    @property
    def is_done(self) -> bool:
        """Whether every detector has a score or an error for every file."""
        return not self.waiting


def predict(
    manifests: Manifest | Sequence[Manifest],
    detectors: Sequence[AnyDetector | str],
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
            is evenly spaced, ``all`` covers the whole file end to end.
        use_skip_time: Skip the manifests' ``skip_time`` for every detector, not only for those that
            require it.
        keep_windows: Keep the score of every window.
        threshold: Decision threshold on ``pred_prob``; ``None`` takes each card's own.
        batch_size: Maximum batch size; ``None`` takes each detector's own. Scores do not depend on
            it.
        n_workers: Decoding processes; see ``decode_files``.
        advance: Called for every finished file.

    Returns:
        One ``Predictions`` per manifest and detector, manifests outermost.

    Raises:
        DetectorError: An unknown detector.
        WeightsError: Weights of a detector are missing or do not fit.
    """
    manifests = [manifests] if isinstance(manifests, Manifest) else manifests
    opened = [open_detector(d, weights=weights) if isinstance(d, str) else d for d in detectors]
    plan = plan_scoring(
        manifests, opened, windows=windows, use_skip_time=use_skip_time, batch_size=batch_size
    )
    score_plan(plan, n_workers=n_workers, advance=advance)
    return tabulate(plan, threshold=threshold, keep_windows=keep_windows)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector, which goes over millions of jobs again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collection()
def plan_scoring(
    manifests: Sequence[Manifest],
    detectors: Sequence[AnyDetector],
    *,
    windows: Windows = "published",
    use_skip_time: bool = False,
    batch_size: int | None = None,
    stores: Sequence[RowStore | StoredScores] = (),
    recipes: Sequence[Recipe] = (),
) -> Plan:
    """Return the plan of a scoring run; see ``predict``.

    Finished rows are taken from ``stores``, one per detector, and added to row stores. Each of
    ``recipes`` perturbs the rows of a manifest; jobs of one file then follow each other.
    """
    tallies: list[AnyTally] = []
    for detector in detectors:
        if isinstance(detector, FileDetector):
            tallies.append(FileTally(detector=detector))
            continue
        contract = detector.card.contract
        request = ClipRequest(contract, windows, use_skip_time or contract.skip_time)
        tallies.append(Tally(detector=detector, request=request, batch_size=batch_size))
    requests = [tally.request for tally in tallies if isinstance(tally, Tally)]
    jobs = [_row_jobs(manifest, requests) for manifest in manifests]
    if recipes:
        jobs = list(map(_perturbed, manifests, jobs, recipes))
    distinct = list(dict.fromkeys(job for rows in jobs for job in rows))
    if recipes:
        first = {path: n for n, path in enumerate(dict.fromkeys(job.path for job in distinct))}
        distinct.sort(key=lambda job: first[job.path])
    for tally, store in zip(tallies, stores, strict=False):
        if isinstance(store, RowStore):
            tally.on_finished, tally.finished = store.add, store.finished
        else:
            tally.finished = store
    left = _select(distinct, lack_scores(distinct, tallies))
    tasks = plan_tasks(left, [tally for tally in tallies if isinstance(tally, Tally)])
    return Plan(manifests, jobs, tallies, tasks, left, len(distinct))


def score_plan(
    plan: Plan,
    *,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Score the files of a plan into its tallies.

    ``should_stop`` is called before every file; once true, only files in progress are finished.
    """
    of_clips = [tally for tally in plan.tallies if isinstance(tally, Tally)]
    progress = Progress(plan, advance)
    with Scorers([tally.detector for tally in of_clips]) as scorers:
        for decoded in decode_files(plan.tasks, n_workers=n_workers, should_stop=should_stop):
            scorers.add(of_clips, decoded)
            progress.decoded(decoded)
        scorers.finish(of_clips)
    for whole in (tally for tally in plan.tallies if isinstance(tally, FileTally)):
        jobs = list({whole.key(job): job for job in progress.jobs}.values())
        score_whole_files(whole, jobs, on_done=progress.done, should_stop=should_stop)


class Progress:
    """Counts down the detectors that each file waits for: all of clips together, others each."""

    def __init__(self, plan: Plan, advance: OnFileDone | None) -> None:
        self.jobs = plan.waiting
        self._advance = advance
        self._n_left = Counter(task.job for task in plan.tasks)
        self._n_parts: Counter[Job] = Counter()
        self._is_fine: dict[Job, bool] = {}
        for tally in plan.tallies:
            if isinstance(tally, FileTally):
                left = {tally.key(j): j for j in self.jobs if tally.key(j) not in tally.finished}
                self._n_left.update(left.values())

    def decoded(self, decoded: DecodedFile) -> None:
        """Count a part of a file, whose clips need not be scored yet."""
        is_cut = not any(isinstance(cut, str) for cut in decoded.cuts.values())
        self._is_fine[decoded.job] = self._is_fine.get(decoded.job, True) and is_cut
        self._n_parts[decoded.job] += 1
        if self._n_parts[decoded.job] == decoded.n_parts:
            self.done(decoded.job, True)

    def done(self, job: Job, is_fine: bool) -> None:
        """Count a detector, or all of clips, that has finished a file."""
        self._is_fine[job] = self._is_fine.get(job, True) and is_fine
        self._n_left[job] -= 1
        if self._advance and not self._n_left[job]:
            self._advance(self._is_fine[job])


def tabulate(
    plan: Plan, *, threshold: float | None = None, keep_windows: bool = False
) -> list[Predictions]:
    """Return one ``Predictions`` per manifest and detector of a finished plan."""
    return [
        replace(
            tabulate_rows(manifest, rows, tally, threshold=threshold),
            windows=pl.concat(window_parts(manifest, rows, tally)) if keep_windows else None,
        )
        for manifest, rows, tally in plan.parts()
    ]


def tabulate_rows(
    manifest: Manifest, jobs: Sequence[Job], tally: AnyTally, *, threshold: float | None = None
) -> Predictions:
    """Return the predictions of a detector for a manifest, without windows."""
    card = tally.detector.card
    cut = card.threshold if threshold is None else threshold
    notes = _Notes(tally)
    parts = []
    for part in _parts(jobs):
        scores = tally.read([tally.key(job) for job in jobs[part]])
        parts.append(_scores_frame(scores, card, cut))
        notes.add(jobs[part], scores)
    scored = pl.concat(parts, how="diagonal_relaxed")
    same = {
        "detector": card.name,
        "preprocessing": card.preprocessing,
        "precision": card.precision,
        "windows": str(tally.windows),
    }
    replaced = {*PREDICTION_COLUMNS, *scored.columns} & set(manifest.frame.columns)
    constant = [pl.lit(value, pl.String).alias(name) for name, value in same.items()]
    frame = manifest.frame.drop(replaced).with_columns(*constant, *scored.get_columns())
    return Predictions(manifest.name, card.name, frame, notes=notes.texts(len(jobs)))


def _parts(jobs: Sequence[Job]) -> Iterator[slice]:
    """Yield parts of rows, at least one."""
    for start in range(0, max(1, len(jobs)), PART_ROWS):
        yield slice(start, start + PART_ROWS)


def _perturbed(manifest: Manifest, jobs: Sequence[Job], recipe: Recipe) -> list[Job]:
    items = [shown_name(filepath) for filepath in manifest.frame["filepath"]]
    return [
        job._replace(recipe=recipe._replace(item=item))
        for job, item in zip(jobs, items, strict=True)
    ]


def _row_jobs(manifest: Manifest, requests: Sequence[ClipRequest]) -> list[Job]:
    """Return the job of each row, with its absolute path and its skip_time if a request skips."""
    jobs = [Job(absolute_name(path)) for path in manifest.files]
    if "skip_time" not in manifest.frame.columns or not any(r.skips for r in requests):
        return jobs
    skips = manifest.frame["skip_time"].fill_null(0).to_list()
    return [job._replace(skip_s=float(skip_s)) for job, skip_s in zip(jobs, skips, strict=True)]


def lack_scores(jobs: Sequence[Job], tallies: Sequence[AnyTally]) -> NDArray[np.bool_]:
    """Return which jobs some detector has not scored yet."""
    lacking = np.zeros(len(jobs), bool)
    for tally in tallies:
        lacking |= tally.lacks(map(tally.key, jobs))
    return lacking


def _select(jobs: Sequence[Job], mask: NDArray[np.bool_]) -> list[Job]:
    return [jobs[at] for at in np.flatnonzero(mask).tolist()]


def plan_tasks(jobs: Sequence[Job], tallies: Sequence[Tally]) -> list[Task]:
    """Return the decoding tasks of files that some detector has not scored yet."""
    planned: list[set[Job]] = [set() for _ in tallies]
    tasks = []
    for job in _select(jobs, lack_scores(jobs, tallies)):
        wanted: dict[ClipRequest, None] = {}
        for tally, known in zip(tallies, planned, strict=True):
            key = tally.key(job)
            if key not in known and key not in tally.finished:
                known.add(key)
                wanted[tally.request] = None
        if wanted:
            tasks.append(Task(job, tuple(wanted)))
    return tasks


def _scores_frame(scores: Sequence[FileScore], card: DetectorCard, cut: float) -> pl.DataFrame:
    """Return the columns of scores, of an encoder head and of details."""
    logits = [score.logit for score in scores]
    probs = [_prob(logit) for logit in logits]
    rates = [score.native_rate_hz for score in scores]
    band_hz = card.band_hz
    below = [None if rate is None or band_hz is None else rate < 2 * band_hz[1] for rate in rates]
    return pl.DataFrame(
        [
            pl.Series("native_rate_hz", rates, pl.Int64),
            pl.Series("below_band", below, pl.Boolean),
            pl.Series("logit", logits, pl.Float64),
            pl.Series("pred_prob", probs, pl.Float64),
            pl.Series("pred_label", [None if p is None else int(p >= cut) for p in probs], pl.Int8),
            pl.Series("abstained", [score.abstained for score in scores], pl.String),
            pl.Series("error", [score.error for score in scores], pl.String),
            *(
                pl.Series(
                    f"{ENCODER_PREFIX}{name}",
                    [score.encoders[at] if score.encoders else None for score in scores],
                    pl.Float64,
                )
                for at, name in enumerate(card.encoders)
            ),
            *_detail_columns(scores),
        ]
    )


def _detail_columns(scores: Sequence[FileScore]) -> list[pl.Series]:
    """Return the further columns that a detector gave for any of its rows."""
    details = [score.details or {} for score in scores]
    names = dict.fromkeys(name for each in details for name in each)
    types = {name: pl.DataType.from_python(kind) for name, kind in DETAIL_COLUMNS.items()}
    return [pl.Series(n, [each.get(n) for each in details], types.get(n)) for n in names]


def window_parts(
    manifest: Manifest, jobs: Sequence[Job], tally: AnyTally
) -> Iterator[pl.DataFrame]:
    """Yield parts of ``WINDOW_COLUMNS``: one row per window, numbered from 1 in time order."""
    types = (pl.String, pl.Int64, *[pl.Float64] * 4, pl.String)
    for part in _parts(jobs):
        scores = tally.read([tally.key(job) for job in jobs[part]])
        rows = [
            (filepath, number, start_s, duration_s, logit, _prob(logit), abstained)
            for filepath, score in zip(manifest.frame["filepath"][part], scores, strict=True)
            for number, (start_s, duration_s, logit, abstained) in enumerate(score.windows, 1)
        ]
        yield pl.DataFrame(rows, dict(zip(WINDOW_COLUMNS, types, strict=True)), orient="row")


class _Notes:
    """The notes of a detector on files, each once, with the number of files."""

    def __init__(self, tally: AnyTally) -> None:
        self._tally = tally
        self._counts: Counter[str] = Counter()
        self._seen: set[Job] = set()

    def add(self, jobs: Sequence[Job], scores: Sequence[FileScore]) -> None:
        """Count the notes of files."""
        for job, score in zip(jobs, scores, strict=True):
            if score.note is not None and (key := self._tally.key(job)) not in self._seen:
                self._seen.add(key)
                self._counts[score.note] += 1

    def texts(self, n_rows: int) -> tuple[str, ...]:
        """Return the notes; that of a single row has no number."""
        if n_rows == 1:
            return tuple(self._counts)
        counts = self._counts.items()
        return tuple(f"{n} {'file' if n == 1 else 'files'}: {note}" for note, n in counts)


def _prob(logit: float | None) -> float | None:
    """Return the logistic function, without overflow at either end."""
    if logit is None:
        return None
    small = float(np.exp(-abs(logit)))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)
